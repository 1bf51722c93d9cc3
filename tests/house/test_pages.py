"""The pages made from the code say what the code says: public names, and the options of every command."""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import click
import pytest
from make import pages

import inoc
from inoc import cli
from inoc.atomic import write_atomic

DOCS = Path(__file__).parents[2] / "docs"
RENEW = "the page is older than the code: run `make docs`"


def test_the_page_of_public_names_is_up_to_date():
    assert (DOCS / "api.md").read_text(encoding="utf-8") == pages.api(), RENEW


def test_a_new_or_lost_public_name_changes_the_page(monkeypatch):
    before = pages.api()
    monkeypatch.setattr("inoc.store.__all__", [*inoc.store.__all__, "write_atomic"])
    monkeypatch.setattr("inoc.store.write_atomic", write_atomic, raising=False)
    assert "| `write_atomic` | Replace a file" in pages.api()
    monkeypatch.setattr("inoc.store.__all__", inoc.store.__all__[:-2])
    assert pages.api() != before


def test_every_public_name_has_a_summary():
    empty = [
        f"{package}.{name}"
        for package in pages.packages()
        for name, value in pages.public(package).items()
        if not pages.summary(value)
    ]
    assert not empty


def test_options_of_every_command_are_up_to_date():
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert set(cli.COMMANDS) == {match[1] for match in pages.MARK.findall(page)}
    assert page == pages.command_line(page), RENEW


def test_an_undocumented_option_is_found(monkeypatch):
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    command = cli.load("train")
    monkeypatch.setattr(command, "params", [*command.params, click.Option(["--planted"], help="Planted.")])
    assert "| `--planted TEXT` | Planted. |" in pages.command_line(page)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_command_says_what_it_does(name):
    """One line for `inoc --help`, a docstring, and a meaning for every option."""
    assert cli.summary(name).endswith("."), f'{name}: the file must begin with """`inoc {name}`: one line.'
    command = cli.load(name)
    assert command.help
    silent = [option.opts[0] for option in command.params if isinstance(option, click.Option) and not option.help]
    assert not silent


def shadowed(package: str) -> list[str]:
    """Public names of a package that hide its module of the same name."""
    module = importlib.import_module(package)
    inside = {found.name for found in pkgutil.iter_modules(module.__path__)}
    return [n for n in inside & set(module.__all__) if not isinstance(getattr(module, n), ModuleType)]


@pytest.mark.parametrize("package", pages.packages())
def test_no_module_is_hidden_by_a_function(package):
    assert not shadowed(package)


def test_a_planted_hidden_module_is_found(monkeypatch):
    monkeypatch.setattr("inoc.store.validate", lambda path: [], raising=False)
    monkeypatch.setattr("inoc.store.__all__", [*inoc.store.__all__, "validate"])
    assert shadowed("inoc.store") == ["validate"]
