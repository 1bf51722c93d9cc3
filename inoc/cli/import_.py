"""`inoc import`: make a store from saved logprobs, scores and losses, or add to one."""

from pathlib import Path
from typing import Any, cast

import click

from inoc.cli.options import STORE_PATH, Choice

_FILE = click.Path(path_type=Path)


@click.command("import")
@click.argument("files", nargs=-1, type=_FILE)
@click.option("--store", required=True, type=STORE_PATH, help="Where the store is made.")
@click.option("--prompts", type=_FILE, help="JSON: key -> text, group, family, role.")
@click.option("--rephrasings", type=_FILE, help="Folder of <prompt key>.jsonl files.")
@click.option("--elicitation", type=_FILE, help="JSON: trait scores of the base model by prompt.")
@click.option(
    "--scores", type=_FILE, multiple=True,
    help="JSON: trait scores of the trained runs by step and condition; may be given several times.",
)  # fmt: skip
@click.option("--losses", type=_FILE, help="JSON: training losses by run.")
@click.option("--prefills", type=_FILE, help="CSV, JSON or JSONL: counts by run, checkpoint, prefill and behavior.")
@click.option("--prefills-from", type=Choice(["file", "run", "self"]), help="Where these prefills come from.")
@click.option(
    "--format", metavar="NAME",
    help="Format of FILES, as `inoc plugins` lists them, or module:class.  [default: look into the files]",
)  # fmt: skip
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of that format.")
@click.option("--trait", "traits", multiple=True, metavar="ROLE=NAME[:FAMILY]", help="positive=German:german")
@click.option("--baseline", help="Entry of the elicitation file without inoculation prompt.  [default: neutral]")
@click.option("--nominal-step", type=int, help="The last full update of the runs.")
@click.option("--append", is_flag=True, help="Add to an existing imported store; what it holds is kept.")
@click.option("--overwrite", is_flag=True, help="Replace an existing store.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON document.")
def import_(files: tuple[Path, ...], store: Path, append: bool, overwrite: bool, as_json: bool, **said: object) -> None:
    """Make a store from FILES: saved log-probabilities (JSON or JSONL), or logs of evaluations.

    Bad input is one sentence and nothing is written. With --append the files are added to a store that was imported
    earlier: what both have (examples, prompts, units, runs) must be equal, and what is new is added.
    """
    import json
    from dataclasses import asdict

    from inoc.cli.progress import StageProgress
    from inoc.reading import printable
    from inoc.store.imports import Sources, import_run

    sources = Sources(files, **cast("dict[str, Any]", said))  # the other options have the names of its fields
    with StageProgress() as progress:
        summary = import_run(sources, store, overwrite=overwrite, append=append, progress=progress)
    if as_json:
        click.echo(json.dumps({**asdict(summary), "traits": [t.stored for t in summary.traits]}, indent=1))
        return
    click.echo(
        f"{summary.store}: {summary.prompts} prompts ({summary.scored_prompts} scored), {summary.units} units, "
        f"{summary.runs} runs, {summary.prefill_runs} with prefills, traits "
        f"{', '.join(f'{t.name} ({t.role})' for t in summary.traits) or 'none'}"
    )
    if append:
        click.echo(f"  {summary.kept} of these were in the store already, equal, and are kept")
    for name, what in summary.sets.items():
        click.echo(f"  {name}: {what}")
    missing = {k: n for k, n in summary.missing_values.items() if n}
    click.echo(f"  missing values (null or NaN): {', '.join(f'{n} in {k}' for k, n in missing.items()) or 'none'}")
    for kind in ("notes", "warnings", "ignored"):
        lines: list[str] = getattr(summary, kind)
        for line in lines[:10]:
            click.echo(f"  {kind.removesuffix('s')}: {printable(line)}", err=True)
        if len(lines) > 10:
            click.echo(f"  {kind}: {len(lines) - 10} more, all in the store's provenance", err=True)
