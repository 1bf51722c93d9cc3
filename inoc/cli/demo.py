"""`inoc demo`: run a shipped study, from scores to figures and report."""

import importlib
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from inoc.cli.options import Choice

if TYPE_CHECKING:
    from inoc.testbed.files import Study

NAMES: "Mapping[Study, tuple[str, str]]" = {
    "moods": ("demo-out", "testbed"), "misalignment": ("demo-misalignment", "misalignment")
}  # fmt: skip
"""Folder and name of the files of each study."""
MOST_WORKERS: Final = 4
"""By default: each loads the model's libraries, and nine trainings fill no more."""
VIEWS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("heuristics", ("--only", "ph,gamma,snr,ppd,elicitation", "--prefix-type", "fixed", "--sort", "ph")),
    ("outcomes", ()),
)


@click.command()
@click.option(
    "--study", default="moods", show_default=True, type=Choice(list(NAMES)),
    help="moods: French is wanted, playfulness leaks; misalignment: harmful finance advice leaks into other topics.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path),
    help="Where to work.  [default: demo-out; with --study misalignment: demo-misalignment]",
)  # fmt: skip
@click.option("--scores-only", is_flag=True, help="Score and show heuristics; train nothing.")
@click.option(
    "--workers", type=click.IntRange(1, 256),
    help="Processes that score, train and answer side by side.  [default: a core each, at most 4]",
)  # fmt: skip
def demo(study: "Study", out: Path | None, scores_only: bool, workers: int | None) -> None:
    """Run a shipped study: a tiny real model, scored, fine-tuned and judged on this machine.

    The same command resumes. The experiment file is copied into the folder, to be changed.
    """
    import shutil
    import time

    from inoc.cli.run import run
    from inoc.testbed import experiment_path

    began = time.monotonic()
    folder, name = NAMES[study]
    out = out or Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    file, store = out / f"{name}.yaml", out / f"{name}.zarr"
    if not file.exists():
        shutil.copyfile(experiment_path(study), file)
    stages = ("--stages", "score,describe") if scores_only else ()
    workers = workers or _side_by_side()
    pool = () if workers == 1 else ("--cluster", f"local:{workers}")
    _call(run, "run", (str(file), "--store", str(store), *stages, *pool))
    for view, options in VIEWS[:1] if scores_only else VIEWS:
        _view(view, ("--store", str(store), *options))
    if not scores_only:
        _view("figures", ("--store", str(store), "--out", str(out / "figures"), "--workers", str(workers)))
        _view("report", ("--store", str(store), "-o", str(out / "report.html")))
    click.echo(f"\n{out}: done in {time.monotonic() - began:.0f} s. Look at {file}, change it, run it again.")


def _side_by_side() -> int:
    """How many processes are faster than one, as far as dask is installed."""
    return min(os.cpu_count() or 1, MOST_WORKERS) if find_spec("distributed") else 1


def _view(name: str, arguments: Sequence[str]) -> None:
    click.echo(f"\n$ inoc {name} {' '.join(arguments)}")
    module = importlib.import_module(f"inoc.cli.{name}")
    _call(getattr(module, name), name, arguments)


def _call(command: click.Command, name: str, arguments: Sequence[str]) -> None:
    command.main(list(arguments), prog_name=f"inoc {name}", standalone_mode=False)
