"""`inoc figures`: draw every figure that stores allow."""

from pathlib import Path

import click

from inoc.cli.options import STORE_PATH, Choice, heuristics_option, names


@click.command()
@click.argument("places", metavar="[STORE]...", nargs=-1, type=STORE_PATH)
@click.option("--store", "stores", multiple=True, type=STORE_PATH, help="A store; several are drawn side by side.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory for the files.")
@click.option(
    "--only", metavar="A,B", help="Only these figures or families (angles, spectra, tokens, ...), or module:function."
)
@click.option("--format", "formats", metavar="A,B", help="png, svg, pdf.  [default: png; with --preset pdf]")
@click.option(
    "--preset", type=Choice(["one-column", "two-column"]),
    help="For a paper: 84 or 174 mm wide, at most 234 mm tall, continued as NAME-2 where needed; fonts embedded.",
)  # fmt: skip
@heuristics_option(
    "--heuristics", help="Heuristics of the scatter figures.  [default: ph,elicitation,gamma,snr,mald,pca]"
)
@click.option("--json", "as_json", is_flag=True, help="Print what was made, and why not, as one JSON document.")
def figures(
    places: tuple[Path, ...],
    stores: tuple[Path, ...],
    out: Path,
    only: str | None,
    formats: str | None,
    preset: str | None,
    heuristics: str | None,
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
    from inoc.errors import IncompleteStore, InocError
    from inoc.figures.catalog import SCATTERED, make
    from inoc.figures.layout import PRESETS
    from inoc.store.store import open_store

    paths = [*places, *stores]
    if not paths:
        raise click.UsageError("no store is named. Fix: inoc figures STORE --out DIRECTORY")
    made = 0
    failed: dict[str, str] = {}
    records: list[dict[str, object]] = []
    for figure in make(
        [open_store(path) for path in paths],
        out,
        only=names(only),
        formats=names(formats or ("pdf" if preset else "png")),
        scattered=names(heuristics) or SCATTERED,
        preset=PRESETS[preset] if preset else None,
    ):
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
    if as_json:
        click.echo(json.dumps(records, indent=2))
    if failed:
        blamed = ", ".join(dict.fromkeys(failed.values()))
        raise InocError(f"{', '.join(failed)} failed because of an error in {blamed}. Fix: report the lines above.")
    if not made:
        asked = ", ".join(str(path) for path in paths)
        raise IncompleteStore(f"{asked} does not allow these figures; the lines above say why.")
