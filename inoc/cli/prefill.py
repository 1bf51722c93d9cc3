"""`inoc prefill`: force beginnings of answers, to see behaviors that are too rare to count."""

import click

from inoc.cli.options import names
from inoc.cli.stage_options import Call, stage_options


@click.command()
@stage_options
@click.option("--runs", help="Only these runs, separated by commas.")
def prefill(call: Call, runs: str | None) -> None:
    """Force the first tokens of donor answers under every checkpoint of a STUDY, sample the rest and judge it.

    Runs whose counts are in the store are not measured again.
    """
    from inoc.stages.prefill import forecast_prefills
    from inoc.stages.prefill import prefill as stage

    study = call.study()
    if call.dry_run:
        call.show_forecast(forecast_prefills(study, names(runs)))
        return
    with call.progress(study) as progress:
        done = stage(study, names(runs), progress)
    call.show(
        {"store": str(call.store), "measured": done.judged, "already": done.already},
        f"{call.store}: {done.judged} runs measured under prefills, {done.already} were stored already.",
    )
