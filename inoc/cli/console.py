"""The console that shows text of stores and files as it is, and tables that fit it."""

import os
import sys
from collections.abc import Collection, Sequence

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from inoc.reading import printable

UNLIMITED = 10_000
"""Columns where stdout is neither a terminal nor bounded by COLUMNS: nothing is left out of a file."""


class PlainConsole(Console):
    """No markup, no emoji codes, no control characters: `[/]` in a key is shown and ESC is not obeyed."""

    def render_str(self, text: str, **options: object) -> Text:  # pyright: ignore[reportIncompatibleMethodOverride]
        plain = {**options, "markup": False, "emoji": False, "highlight": False}
        return super().render_str(printable(text), **plain)  # pyright: ignore[reportArgumentType]


def stdout() -> PlainConsole:
    """Stdout as wide as the terminal or COLUMNS say."""
    asked = os.environ.get("COLUMNS", "")
    told = int(asked) if asked.isdecimal() and 0 < int(asked) < UNLIMITED else None
    return PlainConsole(width=told or (None if sys.stdout.isatty() else UNLIMITED))


def show(
    console: Console,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    words: Collection[str] = (),
    drop: Sequence[str] = (),
    rest: str = "--json has all",
) -> None:
    """Print a table that fits: columns that do not are left out, and named on stderr; no name is ever cut.

    Args:
        console: Where to.
        title: Above the table; "" for none.
        columns: Headings; a line break in one is kept.
        rows: A text for each column.
        words: Columns of words; the others are numbers and aligned right.
        drop: Columns that may be left out, the first one first; none of the others is.
        rest: Which option shows everything.
    """
    if not rows:
        console.print(f"{title}: nothing to show")
        return
    kept = list(columns)
    order = iter([name for name in drop if name in columns])
    table = _table(title, columns, rows, words, kept)
    wide = console.options.update(max_width=UNLIMITED)
    while Measurement.get(console, wide, table).maximum > console.width and (name := next(order, None)) is not None:
        kept.remove(name)
        table = _table(title, columns, rows, words, kept)
    console.print(table)
    if left := [" ".join(name.split()) for name in columns if name not in kept]:
        click.echo(printable(f"Left out at {console.width} columns: {', '.join(left)}; {rest}."), err=True)


def _table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], words: Collection[str], kept: Sequence[str]
) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), title=title or None, title_justify="left")
    for name in kept:
        table.add_column(name, justify="left" if name in words else "right", overflow="fold")
    at = [columns.index(name) for name in kept]
    for row in rows:
        table.add_row(*(row[i] for i in at))
    return table
