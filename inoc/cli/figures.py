"""`inoc figures`: draw every figure that a store allows."""

from pathlib import Path

import click

from inoc.cli.options import names, store_option


@click.command()
@store_option
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory for the files.")
@click.option(
    "--only", metavar="A,B", help="Only these figures or families (angles, spectra, tokens, ...), or module:function."
)
@click.option("--format", "formats", default="png", show_default=True, metavar="A,B", help="png, svg, pdf.")
@click.option(
    "--heuristics", metavar="A,B",
    help="Heuristics of the scatter figures.  [default: ph,elicitation,gamma,snr,mald,pca]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print what was made, and why not, as one JSON document.")
def figures(store: Path, out: Path, only: str | None, formats: str, heuristics: str | None, as_json: bool) -> None:
    """Draw the figures that a store allows, each as NAME.FORMAT with its caption as NAME.txt.

    A figure that the store does not allow is named with the reason. docs/gallery.md shows all figures.
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
    from inoc.store.store import open_store

    made = 0
    failed: dict[str, str] = {}
    records: list[dict[str, object]] = []
    wanted = names(heuristics) or SCATTERED
    for figure in make(open_store(store), out, only=names(only), formats=names(formats), scattered=wanted):
        made += bool(figure.files)
        failed |= {figure.name: figure.package} if figure.failed else {}
        files = [str(path) for path in figure.files]
        records.append({"figure": figure.name, "files": files, "caption": figure.caption, "reason": figure.reason})
        if figure.reason:
            click.echo(f"{figure.name}: not drawn: {figure.reason.rstrip('.')}.", err=True)
        elif not as_json:
            click.echo("\n".join(files))
    if as_json:
        click.echo(json.dumps(records, indent=2))
    if failed:
        blamed = ", ".join(dict.fromkeys(failed.values()))
        raise InocError(f"{', '.join(failed)} failed because of an error in {blamed}. Fix: report the lines above.")
    if not made:
        raise IncompleteStore(f"{store} does not allow these figures; the lines above say why.")
