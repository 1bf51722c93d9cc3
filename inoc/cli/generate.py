"""`inoc generate`: sample completion sets from the base model."""

from pathlib import Path

import click

from inoc.cli.stage_options import names, open_study, stage_options


@click.command()
@stage_options
@click.option("--set", "sets", help="Only these sets, separated by commas.")
def generate(study: Path, store: Path, backend_name: str | None, as_json: bool, sets: str | None) -> None:
    """Sample the completion sets of a STUDY that have `generate` and no file yet."""
    import json

    from inoc.cli.watch import StageProgress
    from inoc.stages.generate import generate as run_stage

    opened = open_study(study, store, backend_name)
    with StageProgress() as progress:
        made = run_stage(opened, names(sets), progress)
    if as_json:
        rows = [{**entry._asdict(), "path": str(entry.path)} for entry in made]
        click.echo(json.dumps(rows, indent=2))
        return
    for entry in made:
        click.echo(
            f"{entry.name}: {entry.rows} rows in {entry.path}; left out {entry.empty} empty and "
            f"{entry.repeated} repeated answers."
        )
    if not made:
        click.echo("nothing to generate: every set has its file.")
