"""`inoc train`: fine-tune the runs of a study."""

from typing import TYPE_CHECKING

import click

from inoc.cli.options import names
from inoc.cli.stage_options import Call, stage_options

if TYPE_CHECKING:
    from inoc.values import Json


@click.command()
@stage_options
@click.option("--runs", help="Only these runs, separated by commas.")
def train(call: Call, runs: str | None) -> None:
    """Fine-tune the runs of a STUDY (experiment file).

    A finished run is left alone; a killed one resumes from its last state, with the same data in the same order.
    """
    from inoc.stages import train as stage

    study = call.study()
    if call.dry_run:
        call.show_forecast(stage.forecast_training(study, names(runs)))
        return
    with call.progress(study) as progress:
        done = stage.train(study, names(runs), progress)
    rows: list[Json] = [
        {"run": entry.run, "updates": entry.updates, "checkpoints": len(entry.checkpoints)} for entry in done
    ]
    call.show({"store": str(call.store), "runs": rows}, f"{call.store}: {len(done)} runs trained.")
