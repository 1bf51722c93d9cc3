"""What the commands of the later stages share: the study argument, the store option, opening a Study."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from inoc.cli.options import json_option, store_option

if TYPE_CHECKING:
    from inoc.stages.study import Study

P = ParamSpec("P")
R = TypeVar("R")


def stage_options(command: Callable[P, R]) -> Callable[P, R]:
    """STUDY, --store, --backend and --json."""
    for decorate in (
        json_option,
        click.option("--backend", "backend_name", help="Another backend than the experiment's."),
        store_option,
        click.argument("study", type=click.Path(path_type=Path)),
    ):
        command = decorate(command)
    return command


def open_study(study: Path, store: Path, backend_name: str | None) -> "Study":
    """The experiment with its backend and store."""
    from inoc.cli.score import open_backend
    from inoc.experiment import load_experiment
    from inoc.stages.study import Study

    experiment = load_experiment(study)
    return Study(experiment, open_backend(experiment, backend_name), store)


def names(text: str | None) -> tuple[str, ...]:
    """A list separated by commas."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())
