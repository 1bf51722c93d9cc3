"""`inoc run`: run all stages of a study in order."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from inoc.cli.stage_options import names, open_study, stage_options

if TYPE_CHECKING:
    from inoc.stages.pipeline import Stage


@click.command()
@stage_options
@click.option(
    "--stages",
    help="Only these stages, separated by commas: generate, score, describe, elicit, train, evaluate.",
)
def run(study: Path, store: Path, backend_name: str | None, as_json: bool, stages: str | None) -> None:
    """Run a whole STUDY: completion sets, scores, elicitation, training, evaluation.

    The same command again goes on where it stopped; nothing is computed or paid for twice.
    """
    import json

    from inoc.cli.watch import StageProgress
    from inoc.errors import BadInput
    from inoc.stages.pipeline import STAGES, run_study

    wanted = names(stages) or STAGES
    for name in wanted:
        if name not in STAGES:
            raise BadInput(f"--stages: there is no stage {name!r}; there are {', '.join(STAGES)}.")
    opened = open_study(study, store, backend_name)
    with StageProgress() as progress:
        done = run_study(opened, cast("tuple[Stage, ...]", tuple(wanted)), progress)
    if as_json:
        click.echo(json.dumps({"store": str(store), "stages": {d.stage: d.what for d in done}}, indent=2))
    else:
        click.echo(f"{store}: `inoc heuristics`, `inoc outcomes`, `inoc predict` and `inoc figures` read it.")
