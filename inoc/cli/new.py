"""`inoc new`: write a commented experiment file to start from."""

from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import click

SCHEMA = "inoc.schema.json"
"""Named in the first line of the file, for editors."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def new(file: Path, force: bool) -> None:
    """Write a commented experiment FILE to start from. It works at once, on the testbed model shipped with
    inoc. The JSON schema goes into inoc.schema.json next to it, for editors, unless there is one."""
    from inoc.cli.schema import text
    from inoc.errors import BadInput

    template = files("inoc.experiment").joinpath("template.yaml").read_text(encoding="utf-8")
    try:
        with file.open("w" if force else "x", encoding="utf-8") as out:
            out.write(template)
        with suppress(FileExistsError), file.with_name(SCHEMA).open("x", encoding="utf-8") as out:
            out.write(text())
    except FileExistsError:
        raise BadInput(f"{file} exists. Fix: choose another name, or overwrite it with --force.") from None
    except OSError as error:
        raise BadInput(f"{file} cannot be written: {error.strerror}. Fix: choose another place.") from None
    click.echo(f"wrote {file}; next: inoc check {file}", err=True)
