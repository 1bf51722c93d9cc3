"""`inoc evaluate`: sample the trained checkpoints and judge the answers."""

import click

from inoc.cli.options import names
from inoc.cli.stage_options import Call, stage_options


@click.command()
@stage_options
@click.option("--runs", help="Only these runs, separated by commas.")
def evaluate(call: Call, runs: str | None) -> None:
    """Ask every checkpoint of a STUDY the held-out instructions and judge its answers.

    What is in the store is not asked or judged again.
    """
    from inoc.stages import evaluate as stage

    study = call.study()
    if call.dry_run:
        call.show_forecast(stage.forecast_evaluation(study, names(runs)))
        return
    with call.progress(study) as progress:
        done = stage.evaluate(study, names(runs), progress)
    call.show(
        {"store": str(call.store), "judged": done.judged, "already": done.already},
        f"{call.store}: {done.judged} evaluations (run, step, condition) judged, {done.already} were stored already.",
    )
