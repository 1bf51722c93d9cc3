"""`inoc validate`: verify every chunk and checksum of a store."""

from pathlib import Path

import click

from inoc.cli.options import json_option, store_argument


@click.command("validate")
@store_argument
@json_option
def validate(store: Path, as_json: bool) -> None:
    """Verify STORE: every chunk, checksum, marker, name and size. Exit 0 if it is valid, 2 if not."""
    import json

    from inoc.cli.progress import StageProgress
    from inoc.errors import BrokenStore
    from inoc.store.validate import validate as problems_of

    try:
        with StageProgress(brief=True) as progress:
            problems = problems_of(store, progress)
    except BrokenStore as error:
        problems = [str(error)]
    if as_json:
        click.echo(json.dumps({"store": str(store), "valid": not problems, "problems": problems}, indent=1))
    elif problems:
        for problem in problems:
            click.echo(problem)
    else:
        click.echo(f"{store}: valid")
    if problems:
        raise BrokenStore(f"{store} has {len(problems)} problem{'s'[: len(problems) != 1]}.")
