"""`inoc report`: write one self-contained HTML page about a store."""

from pathlib import Path

import click

from inoc.cli.options import recipe_option, store_option


@click.command()
@store_option
@click.option(
    "-o", "--output", default="report.html", show_default=True, type=click.Path(path_type=Path),
    help="The HTML file to write; one of that name is replaced.",
)  # fmt: skip
@click.option("--set", "completion_set", default="train", show_default=True, help="Completion set.")
@recipe_option
@click.option(
    "--tokenizer", type=click.Path(path_type=Path),
    help="Directory or tokenizer.json of the model's tokenizer, to show tokens as text.  "
    "[default: the model's own, if it is on this machine]",
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of the examples that are shown.")
def report(store: Path, output: Path, completion_set: str, recipe: str, tokenizer: Path | None, seed: int) -> None:
    """Write one HTML file: summary, table of heuristics, scatter, angles, outcomes and a token viewer.

    The page needs no network and runs only its own script. Examples are sampled to keep it small; the page says how
    many.
    """
    from inoc.report import write_report
    from inoc.store.store import open_store

    written = write_report(
        open_store(store), output, completion_set=completion_set, recipe=recipe, tokenizer=tokenizer, seed=seed
    )
    click.echo(f"{written.path}  {written.size / 1e6:.2f} MB")
    tokens = written.report.tokens
    for note in tokens.notes if tokens else [f"No token viewer: {written.report.no_tokens}"]:
        click.echo(note, err=True)
    if n := len(written.report.missing):
        click.echo(f"the page has {n} {'note' if n == 1 else 'notes'} on what is missing or left out.", err=True)
