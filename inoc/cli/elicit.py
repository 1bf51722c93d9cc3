"""`inoc elicit`: measure how far each prompt alone brings out the traits."""

import click

from inoc.cli.options import counted, names, prompts_option
from inoc.cli.stage_options import Call, stage_options


@click.command()
@stage_options
@prompts_option
def elicit(call: Call, prompts: str | None) -> None:
    """Sample the base model with every prompt of a STUDY and without any, and judge the answers."""
    from inoc.stages import elicit as stage

    study = call.study()
    if call.dry_run:
        call.show_forecast(stage.forecast_elicitation(study, names(prompts)))
        return
    with call.progress(study) as progress:
        done = stage.elicit(study, names(prompts), progress)
    call.show(
        {"store": str(call.store), "judged": done.judged, "already": done.already},
        f"{call.store}: {counted(done.judged, 'prompt')} judged, {done.already} were stored already; "
        "`inoc heuristics` shows them.",
    )
