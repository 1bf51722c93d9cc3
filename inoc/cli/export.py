"""`inoc export`: write a store as CSV, Parquet, LaTeX, logs of Inspect, or a folder for a data-set hub."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from inoc.cli.options import Choice, names, recipe_option, store_option

if TYPE_CHECKING:
    from inoc.exports.files import Format
    from inoc.values import Recipe


@click.command()
@store_option
@click.option("--to", required=True, type=Choice(["csv", "parquet", "latex", "inspect", "hub"]), help="The format.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The file; the folder for inspect and hub.")
@click.option("--columns", metavar="A,B", help="Only these columns of the table.")
@recipe_option
def export(store: Path, to: "Format", out: Path, columns: str | None, recipe: "Recipe") -> None:
    """Write a store for other tools: one row per prompt and prefix type with its text, every heuristic and outcome,
    intervals and n; or the answers and scores as logs that `inspect view` shows. Nothing is uploaded."""
    from inoc.exports import export as write
    from inoc.store.store import open_store

    files, notes = write(open_store(store), out, to, columns=names(columns), recipe=recipe)
    click.echo("\n".join(map(str, files[:20])) + (f"\nand {len(files) - 20} more" if len(files) > 20 else ""))
    for note in notes:
        click.echo(f"missing: {note}", err=True)
