"""`inoc cite`: print the methods paragraph of a study, and BibTeX."""

from pathlib import Path

import click

from inoc.cli.options import heuristics_option, json_option, names, recipe_option, say_wrapped, store_argument


@click.command()
@store_argument
@heuristics_option("--heuristics", help="Those that the paper uses.  [default: ph,elicitation]")
@recipe_option
@json_option
def cite(store: Path, heuristics: str | None, recipe: str, as_json: bool) -> None:
    """Say what STORE holds as a paper says it, with numbers and versions, and print BibTeX of the software.

    The entries are of software, with the versions installed. Papers of methods and data are yours to cite.
    """
    import json

    from inoc.exports.methods import bibtex, methods
    from inoc.store.store import open_store

    chosen = "published" if recipe == "published" else "corrected"
    text, entries = methods(open_store(store), names(heuristics), chosen), bibtex()
    if as_json:
        click.echo(json.dumps({"methods": text, "bibtex": entries}, ensure_ascii=False, indent=1))
        return
    say_wrapped(text)
    click.echo(f"\n{entries}")
