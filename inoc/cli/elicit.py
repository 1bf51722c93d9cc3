"""`inoc elicit`: measure how far each prompt alone brings out the traits."""

from pathlib import Path

import click

from inoc.cli.counted import counted
from inoc.cli.stage_options import names, open_study, stage_options


@click.command()
@stage_options
@click.option("--prompts", help="Only these prompts: keys or groups, separated by commas.")
def elicit(study: Path, store: Path, backend_name: str | None, as_json: bool, prompts: str | None) -> None:
    """Sample the base model with every prompt of a STUDY and without any, and judge the answers."""
    import json

    from inoc.cli.watch import StageProgress
    from inoc.stages.elicit import elicit as run_stage

    opened = open_study(study, store, backend_name)
    with StageProgress() as progress:
        done = run_stage(opened, names(prompts), progress)
    if as_json:
        click.echo(
            json.dumps({"store": str(store), "judged": done.judged, "already": done.already}, indent=2)
        )
    else:
        click.echo(
            f"{store}: {counted(done.judged, 'prompt')} judged, {done.already} were there; "
            "`inoc heuristics` shows them."
        )
