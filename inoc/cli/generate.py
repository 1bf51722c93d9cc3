"""`inoc generate`: sample completion sets from the base model."""

import click

from inoc.cli.options import names
from inoc.cli.stage_options import Call, stage_options


@click.command()
@stage_options
@click.option("--set", "sets", help="Only these sets, separated by commas.")
def generate(call: Call, sets: str | None) -> None:
    """Make the completion sets of a STUDY that have `generate` or `dataset` and no file yet."""
    from inoc.stages import generate as stage

    study = call.study()
    if call.dry_run:
        call.show_forecast(stage.forecast_generation(study, names(sets)))
        return
    with call.progress(study) as progress:
        made = stage.generate(study, names(sets), progress)
    lines = [
        f"{entry.name}: {entry.rows} rows in {entry.path}; left out {entry.empty} empty and {entry.repeated} repeated "
        "answers."
        for entry in made
    ]
    call.show(
        [{**entry._asdict(), "path": str(entry.path)} for entry in made],
        "\n".join(lines) or "nothing to generate: every set has its file.",
    )
