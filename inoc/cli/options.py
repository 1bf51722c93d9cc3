"""Options that several commands have."""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import get_args

import click

from inoc.values import Recipe

LONGEST = 200
"""Bytes of a store's name: its lock and work folder have longer ones."""


class StorePath(click.Path):
    """The directory of a store, which has a name: `.` is read as the folder it is."""

    def convert(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        given, path = os.fspath(value), Path(value)
        path = path if path.name else path.resolve()
        if not given or not path.name or "\0" in given or len(os.fsencode(path.name)) > LONGEST:
            self.fail(f"{given[:60]!r} cannot name a store. Fix: name its directory, such as study.zarr.", param, ctx)
        return path


STORE_PATH = StorePath(path_type=Path)
store_option = click.option("--store", required=True, type=STORE_PATH, help="The store.")
recipe_option = click.option(
    "--recipe",
    type=click.Choice(get_args(Recipe)),
    default="corrected",
    show_default=True,
    help="The recommended formulas, or those that reproduce published numbers.",
)

table_option = click.option(
    "--table", "csv_tables", multiple=True, type=click.Path(path_type=Path),
    help="A pooled results table (CSV) to learn from, too; may be given several times.",
)  # fmt: skip


def names(text: str | None) -> tuple[str, ...]:
    """A list separated by commas."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def store_argument(command: Callable[..., None]) -> Callable[..., None]:
    """The store as an argument or as --store, for commands about one store; they take `store`."""

    @click.argument("place", metavar="[STORE]", required=False, type=STORE_PATH)
    @click.option("--store", type=STORE_PATH, help="The store.")
    @wraps(command)
    def call(place: Path | None, store: Path | None, **options: object) -> None:
        path = store or place
        if path is None:
            name = click.get_current_context().info_name
            raise click.UsageError(f"no store is named. Fix: inoc {name} STORE")
        command(store=path, **options)

    return call


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def counted(n: int, noun: str) -> str:
    """`1 prompt`, `2 prompts`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
