"""`inoc new-plugin`: write a package to start from, with its tests, that passes at once."""

import re
from importlib.resources import files
from pathlib import Path
from string import Template

import click

from inoc.cli.options import Choice

KINDS = {
    "backend": ("backends", ":{}Backend", "An inoc backend that counts letter pairs in a text file."),
    "heuristic": ("heuristics", "", "A heuristic for inoc."),
    "judge": ("judges", ":make", "A judge for inoc."),
    "figure": ("figures", "", "A figure for inoc."),
    "importer": ("importers", ":{}Importer", "An importer for inoc."),
    "dataset": ("datasets", ":rows", "A source of completion sets for inoc."),
    "watcher": ("watchers", ":{}Watcher", "A watcher for inoc."),
}
"""Kind -> its door, what the entry point names in the module, the description of the package."""


@click.command("new-plugin")
@click.argument("kind", type=Choice(list(KINDS)))
@click.argument("name")
@click.option(
    "--out", type=click.Path(path_type=Path), help="The folder to make.  [default: inoc-NAME in the current folder]"
)
def new_plugin(kind: str, name: str, out: Path | None) -> None:
    """Write a package that adds a KIND called NAME to inoc: code, entry point and tests. It works and its tests pass;
    then it is yours to change."""
    from inoc.atomic import write_atomic
    from inoc.errors import BadInput

    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise BadInput(
            f"{name!r} cannot name a module. Fix: use lower-case letters, digits and '_', such as my_{kind}."
        )
    folder = out or Path(f"inoc-{name}")
    if folder.exists():
        raise BadInput(f"{folder} exists. Fix: choose another NAME or --out.")
    try:
        for path, text in package(kind, name).items():
            write_atomic(folder / path, text)
    except OSError as error:
        raise BadInput(f"{folder} cannot be written: {error.strerror}. Fix: choose another --out.") from error
    click.echo(f"{folder}: pip install -e {folder} && pytest {folder}")
    click.echo("`inoc plugins` lists it once it is installed; docs/plugins.md explains its parts.", err=True)


def package(kind: str, name: str) -> dict[str, str]:
    """The files of a new package: path -> text."""
    door, attribute, about = KINDS[kind]
    title = "".join(part.capitalize() for part in name.split("_"))
    words = {"name": name, "Class": title, "door": door, "object": attribute.format(title), "about": about}
    templates = files("inoc") / "plugin_templates"
    return {
        path: Template((templates / f"{source}.txt").read_text(encoding="utf-8")).substitute(words)
        for path, source in (
            ("pyproject.toml", "pyproject.toml"),
            (f"inoc_{name}/__init__.py", f"{kind}.py"),
            (f"test_{name}.py", f"{kind}_test.py"),
        )
    }
