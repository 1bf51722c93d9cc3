"""`inoc evaluate`: sample the trained checkpoints and judge the answers."""

from pathlib import Path

import click

from inoc.cli.stage_options import names, open_study, stage_options


@click.command()
@stage_options
@click.option("--runs", help="Only these runs, separated by commas.")
def evaluate(study: Path, store: Path, backend_name: str | None, as_json: bool, runs: str | None) -> None:
    """Ask every checkpoint of a STUDY the held-out instructions and judge its answers.

    What is in the store is not asked or judged again.
    """
    import json

    from inoc.cli.watch import StageProgress
    from inoc.stages.evaluate import evaluate as run_stage

    opened = open_study(study, store, backend_name)
    with StageProgress() as progress:
        done = run_stage(opened, names(runs), progress)
    if as_json:
        click.echo(
            json.dumps({"store": str(store), "judged": done.judged, "already": done.already}, indent=2)
        )
    else:
        click.echo(
            f"{store}: {done.judged} evaluations (run, step, condition) judged, {done.already} were there."
        )
