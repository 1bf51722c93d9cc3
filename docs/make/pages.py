"""Writes the pages made from the code: docs/api.md whole, and the options of every command in docs/cli.md.

`make docs` runs it; a test compares the pages with it.
"""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import get_origin

import click

import inoc
from inoc import cli

FOLDER = Path(__file__).parents[1]
MARK = re.compile(r"(<!-- options of (\S+): make docs -->\n).*?(<!-- end -->)", re.DOTALL)
API_HEAD = """# Public names

Every name that inoc promises to keep, by package, made from the code by `make docs`. What is not on this page may
change without notice. Import a name from its package (`from inoc.store import open_store`); those of `inoc` itself are
what most users need.
"""


def packages() -> list[str]:
    """The packages with public names: those that declare `__all__`."""
    names = ["inoc", *(f"inoc.{found.name}" for found in pkgutil.iter_modules(inoc.__path__) if found.ispkg)]
    return [name for name in names if hasattr(importlib.import_module(name), "__all__")]


def public(package: str) -> dict[str, object]:
    """The public names of a package."""
    module = importlib.import_module(package)
    return {name: getattr(module, name) for name in module.__all__}


def summary(value: object) -> str:
    """The first paragraph of a docstring; for a plain value the value or its type."""
    if inspect.ismodule(value) or inspect.isclass(value) or inspect.isroutine(value):
        return " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split()).replace("|", "\\|")
    if get_origin(value) is not None:
        return "Type alias."
    return f"Constant: `{value!r}`." if isinstance(value, str | int) else f"Constant of type `{type(value).__name__}`."


def api() -> str:
    """The page docs/api.md."""
    parts = [API_HEAD]
    for package in packages():
        head = (importlib.import_module(package).__doc__ or "").split("\n\n")[0]
        rows = [f"| `{name}` | {summary(value)} |" for name, value in public(package).items()]
        parts.append(
            f"## {package}\n\n{' '.join(head.split())}\n\n| name | what it is |\n|---|---|\n" + "\n".join(rows) + "\n"
        )
    return "\n".join(parts)


def options(name: str) -> str:
    """The usage and options of a command, as docs/cli.md shows them."""
    command = cli.load(name)
    context = click.Context(command, info_name=f"inoc {name}")
    usage = " ".join(command.collect_usage_pieces(context))
    rows = [
        f"| `{', '.join(option.opts)}{_value(option, context)}` | {_meaning(option)} |"
        for option in command.params
        if isinstance(option, click.Option)
    ]
    return f"```\ninoc {name} {usage}\n```\n\n| option | meaning |\n|---|---|\n" + "\n".join(rows) + "\n"


def _value(option: click.Option, context: click.Context) -> str:
    if option.is_flag or option.count:
        return ""
    return " " + option.make_metavar(context).replace("|", "\\|")


def _meaning(option: click.Option) -> str:
    text = " ".join((option.help or "").split()).replace("|", "\\|")
    if option.required:
        text += " Required."
    if option.show_default and option.default is not None:
        text += f" Default: `{option.default}`."
    return text.strip()


def command_line(page: str) -> str:
    """The page docs/cli.md with the options of now; a command that it lacks is added at the end."""
    there = {match[2] for match in MARK.finditer(page)}
    for name in (name for name in cli.COMMANDS if name not in there):
        page += f"\n### `inoc {name}`\n\n{cli.summary(name)}\n\n<!-- options of {name}: make docs -->\n<!-- end -->\n"
    return MARK.sub(lambda match: f"{match[1]}{options(match[2])}{match[3]}", page)


def write() -> None:
    """Bring the pages up to date."""
    (FOLDER / "api.md").write_text(api(), encoding="utf-8")
    path = FOLDER / "cli.md"
    path.write_text(command_line(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()
