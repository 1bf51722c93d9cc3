"""`inoc upgrade`: rewrite a store of an earlier version in the present format."""

from pathlib import Path

import click

from inoc.cli.options import json_option, store_argument


@click.command("upgrade")
@store_argument
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Make a new store there; STORE is only read.")
@json_option
def upgrade(store: Path, output: Path | None, as_json: bool) -> None:
    """Rewrite STORE, of an earlier version of inoc, in the present format; what it holds stays bit for bit.

    The change happens whole or not at all. A store of the present format stays as it is.
    """
    import json
    from dataclasses import asdict

    from inoc.store.upgrade import upgrade as upgrade_store

    summary = upgrade_store(store, output)
    if as_json:
        click.echo(json.dumps(asdict(summary), indent=1))
        return
    if summary.before == summary.after:
        click.echo(f"{summary.store}: schema v{summary.after} already")
    else:
        click.echo(f"{summary.store}: schema v{summary.before} is now v{summary.after}; earlier inoc cannot read it")
    for note in summary.notes:
        click.echo(f"  note: {note}", err=True)
