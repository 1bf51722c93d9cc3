"""`inoc merge`: make one store of several that were split over machines."""

from pathlib import Path

import click

from inoc.cli.options import json_option

_STORE = click.Path(path_type=Path)


@click.command("merge")
@click.argument("stores", nargs=-1, required=True, type=_STORE)
@click.option("-o", "--output", required=True, type=_STORE, help="Where the merged store is made.")
@click.option("--dry-run", is_flag=True, help="Compare and count; write nothing.")
@json_option
def merge(stores: tuple[Path, ...], output: Path, dry_run: bool, as_json: bool) -> None:
    """Make one store of STORES that parts of one study were written to.

    Identities must agree field by field, and what several stores hold must be equal bit for bit. The stores are only
    read.
    """
    import json
    from dataclasses import asdict

    from inoc.cli.progress import StageProgress
    from inoc.store.merge import merge as merge_stores

    with StageProgress(brief=True) as progress:
        summary = merge_stores(stores, output, dry_run=dry_run, progress=progress)
    if as_json:
        click.echo(json.dumps({**asdict(summary), "dry_run": dry_run}, indent=1))
        return
    click.echo(
        f"{summary.store}{' (dry run)' if dry_run else ''}: {summary.prompts} prompts, {summary.units} units, "
        f"{summary.runs} runs, {summary.evaluations} evaluations from {len(stores)} stores; "
        f"{summary.in_several} in several of them, and equal"
    )
    for note in summary.notes:
        click.echo(f"  note: {note}", err=True)
