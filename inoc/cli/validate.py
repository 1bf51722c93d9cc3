"""`inoc validate`: verify every chunk and checksum of a store."""

from pathlib import Path

import click

from inoc.cli.options import json_option


@click.command("validate")
@click.argument("place", metavar="[STORE]", required=False, type=click.Path(path_type=Path))
@click.option("--store", type=click.Path(path_type=Path), help="The store.")
@json_option
def validate(place: Path | None, store: Path | None, as_json: bool) -> None:
    """Verify STORE: every chunk, checksum, marker, name and size. Exit 0 if it is valid, 2 if not."""
    import json

    from inoc.errors import BrokenStore
    from inoc.store.validate import validate as problems_of

    path = store or place
    if path is None:
        raise click.UsageError("name the run store: inoc validate STORE")
    try:
        problems = problems_of(path)
    except BrokenStore as error:
        problems = [str(error)]
    if as_json:
        click.echo(json.dumps({"store": str(path), "valid": not problems, "problems": problems}, indent=1))
    elif problems:
        for problem in problems:
            click.echo(problem)
    else:
        click.echo(f"{path}: valid")
    if problems:
        raise BrokenStore(f"{path} has {len(problems)} problem{'s'[: len(problems) != 1]}.")
