"""`inoc demo`: run the shipped testbed study, from scores to figures and report."""

import importlib
from collections.abc import Sequence
from pathlib import Path

import click

VIEWS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("heuristics", ("--only", "ph,gamma,snr,ppd,elicitation", "--prefix-type", "fixed", "--sort", "ph")),
    ("outcomes", ()),
)


@click.command()
@click.option("--out", default="demo-out", show_default=True, type=click.Path(path_type=Path), help="Where to work.")
@click.option("--scores-only", is_flag=True, help="Score and show heuristics; train nothing.")
def demo(out: Path, scores_only: bool) -> None:
    """Run the shipped study: a tiny real model, scored, fine-tuned and judged on this machine.

    The same command resumes. The experiment file is copied into the folder, to be changed.
    """
    import shutil
    import time

    from inoc.cli.run import run
    from inoc.testbed import experiment_path

    began = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    study, store = out / "testbed.yaml", out / "testbed.zarr"
    if not study.exists():
        shutil.copyfile(experiment_path(), study)
    stages = ("--stages", "score,describe") if scores_only else ()
    _call(run, "run", (str(study), "--store", str(store), *stages))
    for name, options in VIEWS[:1] if scores_only else VIEWS:
        _view(name, ("--store", str(store), *options))
    if not scores_only:
        _view("figures", ("--store", str(store), "--out", str(out / "figures")))
        _view("report", ("--store", str(store), "-o", str(out / "report.html")))
    click.echo(f"\n{out}: done in {time.monotonic() - began:.0f} s. Look at {study}, change it, run it again.")


def _view(name: str, arguments: Sequence[str]) -> None:
    click.echo(f"\n$ inoc {name} {' '.join(arguments)}")
    module = importlib.import_module(f"inoc.cli.{name}")
    _call(getattr(module, name), name, arguments)


def _call(command: click.Command, name: str, arguments: Sequence[str]) -> None:
    command.main(list(arguments), prog_name=f"inoc {name}", standalone_mode=False)
