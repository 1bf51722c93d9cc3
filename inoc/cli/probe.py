"""`inoc probe`: gradients, hidden states and first tokens of the base model, with and without every prompt."""

import click

from inoc.cli.options import Choice, counted, names, prompts_option
from inoc.cli.stage_options import Call, stage_options


@click.command()
@stage_options
@click.option(
    "--kind", "kinds", multiple=True, type=Choice(["gradient", "activation", "logits"]),
    help="Only this probe (repeatable).",
)  # fmt: skip
@click.option(
    "--prefix-type", "prefix_types", multiple=True, type=Choice(["fixed", "mix"]), help="Only this prefix type."
)
@prompts_option
def probe(call: Call, kinds: tuple[str, ...], prefix_types: tuple[str, ...], prompts: str | None) -> None:
    """Look inside the base model of a STUDY: what every prompt changes in gradients, hidden states and first tokens.

    What the heuristics made of it predict is open: they are experimental. With --dry-run two examples are tried, so
    that the time is known.
    """
    from inoc.stages.probe import forecast_probes
    from inoc.stages.probe import probe as stage

    study, keys = call.study(), names(prompts)
    if call.dry_run:
        call.show_forecast(forecast_probes(study, kinds, prefix_types, keys))
        return
    with call.progress(study) as progress:
        done = stage(study, kinds=kinds, prefix_types=prefix_types, prompts=keys, watcher=progress)
    call.show(
        {"store": str(call.store), "probed": done.probed, "already": done.already},
        f"{call.store}: {counted(done.probed, 'unit')} probed, {done.already} were stored already; "
        "`inoc heuristics` shows what they say.",
    )
