"""`inoc figures`: draw every figure that stores allow."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import click

from inoc.cli.options import STORE_PATH, Choice, complete_figures, heuristics_option, names

if TYPE_CHECKING:
    from inoc.figures.catalog import Made
    from inoc.figures.layout import Preset

    Draw = Callable[[tuple[int, int]], Iterator[Made]]


@click.command()
@click.argument("places", metavar="[STORE]...", nargs=-1, type=STORE_PATH)
@click.option("--store", "stores", multiple=True, type=STORE_PATH, help="A store; several are drawn side by side.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory for the files.")
@click.option(
    "--only", metavar="A,B", shell_complete=complete_figures,
    help="Only these figures or families (angles, spectra, tokens, ...), or module:function.",
)  # fmt: skip
@click.option("--format", "formats", metavar="A,B", help="png, svg, pdf.  [default: png; with --preset pdf]")
@click.option(
    "--preset", type=Choice(["one-column", "two-column"]),
    help="For a paper: 84 or 174 mm wide, at most 234 mm tall, continued as NAME-2 where needed; fonts embedded.",
)  # fmt: skip
@heuristics_option(
    "--heuristics", help="Heuristics of the scatter figures.  [default: ph,elicitation,gamma,snr,mald,pca]"
)
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes that draw.")
@click.option("--json", "as_json", is_flag=True, help="Print what was made, and why not, as one JSON document.")
def figures(
    places: tuple[Path, ...],
    stores: tuple[Path, ...],
    out: Path,
    only: str | None,
    formats: str | None,
    preset: str | None,
    heuristics: str | None,
    workers: int,
    as_json: bool,
) -> None:
    """Draw the figures that STORE allows, each as NAME.FORMAT with its caption as NAME.txt.

    Of several stores, each has a directory of its own, and the figures in --out show them side by side. A figure that
    a store does not allow is named with the reason. docs/gallery.md shows all figures.
    """
    import json

    try:
        import matplotlib
    except ImportError as error:
        from inoc.errors import BackendUnavailable

        raise BackendUnavailable(
            "figures need matplotlib. Fix: pip install -e '.[figures]' in inoc's clone."
        ) from error
    matplotlib.use("Agg")
    from inoc.cli.progress import StageProgress
    from inoc.errors import IncompleteStore, InocError
    from inoc.figures.catalog import SCATTERED, select
    from inoc.figures.layout import PRESETS

    paths = [*places, *stores]
    if not paths:
        raise click.UsageError("no store is named. Fix: inoc figures STORE --out DIRECTORY")
    made = 0
    failed: dict[str, str] = {}
    records: list[dict[str, object]] = []
    draw = partial(
        _draw,
        paths=paths,
        out=out,
        only=names(only),
        formats=names(formats or ("pdf" if preset else "png")),
        scattered=names(heuristics) or SCATTERED,
        preset=PRESETS[preset] if preset else None,
    )
    with StageProgress(brief=True) as progress:
        progress.begin("figures", len(select(names(only))))
        for figure in draw((0, 1)) if workers == 1 else _side_by_side(draw, workers):
            made += bool(figure.files)
            failed |= {figure.name: figure.package} if figure.failed else {}
            files = [str(path) for path in figure.files]
            of = {"store": figure.store} if len(paths) > 1 else {}
            records.append(
                {"figure": figure.name, "files": files, "caption": figure.caption, "reason": figure.reason, **of}
            )
            if figure.reason:
                said = f" of {figure.store or 'all stores'}" if of else ""
                click.echo(f"{figure.name}{said}: not drawn: {figure.reason.rstrip('.')}.", err=True)
            elif not as_json:
                click.echo("\n".join(files))
            if not figure.store:  # the last of this name
                progress.step(figure.name)
    if as_json:
        click.echo(json.dumps(records, indent=2))
    if failed:
        blamed = ", ".join(dict.fromkeys(failed.values()))
        raise InocError(f"{', '.join(failed)} failed because of an error in {blamed}. Fix: report the lines above.")
    if not made:
        asked = ", ".join(str(path) for path in paths)
        raise IncompleteStore(f"{asked} does not allow these figures; the lines above say why.")


def _draw(
    share: tuple[int, int],
    paths: Sequence[Path],
    out: Path,
    only: Sequence[str],
    formats: Sequence[str],
    scattered: Sequence[str],
    preset: "Preset | None",
) -> "Iterator[Made]":
    """A process's share of the figures, as they are made."""
    import matplotlib

    matplotlib.use("Agg")
    from inoc.figures.catalog import make
    from inoc.store.store import open_store

    stores = [open_store(path) for path in paths]
    return make(stores, out, only=only, formats=formats, scattered=scattered, preset=preset, share=share)


def _all(draw: "Draw", share: tuple[int, int]) -> "list[Made]":
    return list(draw(share))


def _side_by_side(draw: "Draw", workers: int) -> "list[Made]":
    """What became of the figures, in their order; each process draws a share of them."""
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    from inoc.errors import InocError

    try:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            parts = list(pool.map(partial(_all, draw), [(k, workers) for k in range(workers)]))
    except BrokenProcessPool:
        raise InocError("a process that draws ended, often from lack of memory. Fix: leave --workers out.") from None
    figures = [[list(group) for _, group in groupby(part, lambda made: made.name)] for part in parts]
    return [made for turn in zip_longest(*figures, fillvalue=[]) for figure in turn for made in figure]
