"""The console that shows text of stores and files as it is, and tables that fit it."""

import os
import sys
from collections.abc import Collection, Sequence
from textwrap import fill
from typing import NoReturn

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from inoc.reading import printable

UNLIMITED = 10_000
"""Columns where stdout is neither a terminal nor bounded by COLUMNS: nothing is left out of a file."""

FOLD = "intervals on a line of their own"
"""Among the columns to drop: the place where this is tried."""


class PlainConsole(Console):
    """No markup, no emoji codes, no control characters: `[/]` in a key is shown and ESC is not obeyed."""

    def render_str(self, text: str, **options: object) -> Text:  # pyright: ignore[reportIncompatibleMethodOverride]
        plain = {**options, "markup": False, "emoji": False, "highlight": False}
        return super().render_str(printable(text), **plain)  # pyright: ignore[reportArgumentType]

    def on_broken_pipe(self) -> NoReturn:
        """Nobody reads on, such as `head`: the command line ends quietly."""
        raise BrokenPipeError


def stdout() -> PlainConsole:
    """Stdout as wide as the terminal or COLUMNS say."""
    asked = os.environ.get("COLUMNS", "")
    told = int(asked) if asked.isdecimal() and len(asked) <= 4 else 0
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

    `words`: columns of words; the others are numbers and aligned right. `drop`: columns that may be left out, the first
    one first; of one name all, and none of the others. At `FOLD` intervals get a line of their own instead. `rest`:
    which option shows everything.
    """
    if not rows:
        console.print(f"{title}: nothing to show")
        return
    kept = list(range(len(columns)))
    cells: list[list[str]] = [list(row) for row in rows]
    order = [name for name in dict.fromkeys(drop) if name in (*columns, FOLD)]
    wide = console.options.update(max_width=UNLIMITED)
    while True:
        table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), title=title or None, title_justify="left")
        for i in kept:
            width = max([8, *(len(line) for row in cells for line in row[i].splitlines())])
            head = _folded(columns[i], width) if console.width < UNLIMITED else columns[i]
            table.add_column(head, justify="left" if columns[i] in words else "right", overflow="fold")
        for row in cells:
            table.add_row(*(row[i] for i in kept))
        if not order or Measurement.get(console, wide, table).maximum <= console.width:
            break
        if order[0] == FOLD:
            cells = [[cell.replace(" [", "\n[") for cell in row] for row in cells]
        kept = [i for i in kept if columns[i] != order[0]]
        del order[0]
    console.print(table)
    if left := dict.fromkeys(name.splitlines()[0] for i, name in enumerate(columns) if i not in kept):
        click.echo(printable(f"Left out at {console.width} columns: {', '.join(left)}; {rest}."), err=True)


def _folded(heading: str, width: int) -> str:
    """A heading of several lines where it is longer than its cells; a label in brackets gets a line."""
    lines = [line if len(line) <= width else line.replace("[", "\n[") for line in heading.splitlines()]
    return "\n".join(fill(part, width, break_long_words=False) for line in lines for part in line.splitlines())
