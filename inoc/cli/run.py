"""`inoc run`: run all stages of a study in order."""

import click

from inoc.cli.options import names
from inoc.cli.stage_options import Call, stage_options


@click.command()
@stage_options
@click.option(
    "--stages", help="Only these stages, separated by commas: generate, score, describe, elicit, train, evaluate."
)
def run(call: Call, stages: str | None) -> None:
    """Run a whole STUDY: completion sets, scores, elicitation, training, evaluation.

    The same command resumes; nothing is computed or paid for twice.
    """
    from inoc.stages.pipeline import forecast_study, run_study, stages_named

    wanted = stages_named(names(stages))
    study = call.study()
    if call.dry_run:
        call.show_forecast(forecast_study(study, wanted))
        return
    with call.progress(study) as progress:
        done = run_study(study, wanted, progress)
    call.show(
        {"store": str(call.store), "stages": {entry.stage: entry.what for entry in done}},
        f"{call.store}: `inoc heuristics`, `inoc outcomes`, `inoc predict` and `inoc figures` read it.",
    )
