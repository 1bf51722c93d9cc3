"""`inoc score`: token log-probabilities of every completion, with and without every prompt."""

from typing import TYPE_CHECKING

import click

from inoc.cli.options import Choice, names, prompts_option
from inoc.cli.stage_options import Call, stage_options

if TYPE_CHECKING:
    from inoc.values import Recipe


@click.command()
@stage_options
@click.option("--set", "sets", multiple=True, help="Only this completion set (repeatable).")
@click.option(
    "--prefix-type", "prefix_types", multiple=True, type=Choice(["fixed", "mix"]), help="Only this prefix type."
)
@prompts_option
@click.option(
    "--recipe",
    type=Choice(["corrected", "published"]),
    help="Which tokens are scored: one end-of-turn token (corrected), or all that the template writes. By default the "
    "store's, corrected for a new one; training follows it.",
)
@click.option("--verify", is_flag=True, help="Then read every unit again and compare checksums.")
def score(
    call: Call,
    sets: tuple[str, ...],
    prefix_types: tuple[str, ...],
    prompts: str | None,
    recipe: "Recipe | None",
    verify: bool,
) -> None:
    """Score the completions of a STUDY (experiment file) token by token, with and without its prompts.

    The same command resumes, whatever stopped it.
    """
    from inoc.plan.texts import sets_to_make
    from inoc.stages.generate import generate
    from inoc.stages.score import forecast_scores
    from inoc.stages.score import score as run_stage

    study, keys = call.study(recipe), names(prompts)
    if call.dry_run:
        call.show_forecast(forecast_scores(study, sets, prefix_types, keys))
        return
    with call.progress(study) as progress:
        if sets_to_make(study, sets):
            generate(study, sets, progress)
        report = run_stage(study, sets=sets, prefix_types=prefix_types, prompts=keys, watcher=progress)
        rate = progress.rate
    if verify:
        from inoc.store.validate import verify_units

        click.echo(f"verified {verify_units(call.store)} units of {call.store}", err=True)
    speed = f" at {rate:,.0f} tokens/s" if report.scored else ""
    rest = f"; {report.left} units of the experiment are still pending" if report.left else ""
    call.show(
        {
            "store": str(call.store),
            "scored": report.scored,
            "already": report.already,
            "pending": report.left,
            "tokens": report.tokens,
        },
        f"{call.store}: scored {report.scored} units, {report.tokens:,} tokens{speed}; {report.already} were stored "
        f"already{rest}.",
    )
