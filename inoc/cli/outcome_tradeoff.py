"""What `inoc outcomes --tradeoff` prints: how much of a behavior further training leaves, by what it brings."""

import json
from collections.abc import Sequence

import click
import numpy as np
import xarray as xr

from inoc.cli.console import show, stdout
from inoc.errors import BadInput
from inoc.heuristics.frame.rows import plain
from inoc.outcomes import tradeoff
from inoc.store.store import Store


def print_tradeoff(stores: Sequence[Store], asked: Sequence[str], as_json: bool) -> None:
    """The curves and areas of `inoc.outcomes.tradeoff`; `asked`: texts of the form PROMPT=BEHAVIOR:CAPABILITY."""
    parts = {text: [part for half in text.split("=", 1) for part in half.split(":", 1)] for text in asked}
    if wrong := [text for text, found in parts.items() if len(found) != 3 or not all(found)]:
        raise BadInput(f"--tradeoff {wrong[0]!r} is not PROMPT=BEHAVIOR:CAPABILITY. Fix: name a prompt and two scores.")
    if len(stores) != 1:
        raise BadInput("--tradeoff reads one store. Fix: give one --store.")
    table = tradeoff(stores[0], {prompt: (behavior, able) for prompt, behavior, able in parts.values()})
    if as_json:
        found = {str(name): plain(table[name].values) for name in table.variables}
        click.echo(json.dumps(found | dict(table.attrs), indent=1, allow_nan=False))
        return
    console, over, cells = stdout(), str(table.attrs["over"]), table.isel(level=slice(None, None, 5))
    rows = [[str(way), *map(_cell, *_ends(cells.sel(way_of=way), "mean"))] for way in cells["way_of"].values]
    heads = ("way", *(f"{level:.0f}" for level in cells["level"].values))
    show(console, f"Rate of the behavior (%) by capability, over {over} [95 %]", heads, rows, words=("way",))
    names, n = [table[end].values.astype(str) for end in ("first", "second")], table["area_n"].values.astype(str)
    rows = [list(row) for row in zip(*names, map(_cell, *_ends(table, "area")), n, strict=True)]
    show(
        console,
        f"Area between curves, paired by {over} [95 %]",
        ("way", "minus", "pp", "n"),
        rows,
        words=("way", "minus"),
    )
    for reason in table.attrs["left_out"]:
        console.print(f"left out: {reason}")


def _ends(table: xr.Dataset, name: str) -> list[np.ndarray]:
    return [table[name + end].values for end in ("", "_lower", "_upper")]


def _cell(value: float, lower: float, upper: float) -> str:
    bounds = f" [{lower:.0f}, {upper:.0f}]" if np.isfinite(lower) else ""
    return f"{value:.0f}{bounds}" if np.isfinite(value) else "–"
