"""`inoc judge`: judge stored answers with a new or changed judge, or compare judges with people."""

from pathlib import Path

import click

from inoc.cli.options import names
from inoc.cli.stage_options import Call, stage_options


@click.command()
@stage_options
@click.option("--runs", help="Only these runs, separated by commas; the judges that count then stay as they are.")
@click.option(
    "--agreement", type=click.Path(path_type=Path), metavar="FILE",
    help="JSONL of texts with human labels: judge these instead, and compare.",
)  # fmt: skip
@click.option("--threshold", default=50.0, show_default=True, help="Scores above it count as yes for Cohen's kappa.")
def judge(call: Call, runs: str | None, agreement: Path | None, threshold: float) -> None:
    """Score the stored answers of a STUDY with the judges of its file, where they have not scored them yet.

    Nothing is sampled or trained. What earlier judges said stays in the store; the judges of the file are the ones that
    count from then on. Without --runs the answers of the elicitation, which the work folder keeps, are judged too.
    """
    from inoc.stages import judge as stage

    study = call.study()
    if agreement is not None:
        from inoc.stages.agreement import compare_with_people

        found = compare_with_people(study, agreement, threshold)
        call.show([entry.to_json() for entry in found], "\n".join(entry.sentence() for entry in found))
        return
    if call.dry_run:
        call.show_forecast(stage.forecast_judging(study, names(runs)))
        return
    with call.progress(study) as progress:
        done = stage.judge_stored(study, names(runs), progress)
    call.show(
        {"store": str(call.store), "judged": done.judged, "already": done.already},
        f"{call.store}: {done.judged} judged (run, step, condition or prompt, score), {done.already} were already.",
    )
