"""`inoc heuristics`: compute the table of base-model heuristics."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from inoc.cli.options import (
    Choice,
    cluster_option,
    counted,
    heuristics_option,
    names,
    prompts_of,
    recipe_option,
    store_option,
)

if TYPE_CHECKING:
    from rich.console import Console

    from inoc.heuristics.frame.rows import Column, Rows
    from inoc.heuristics.frame.table import Table

DEFAULT = (
    "ph", "gamma", "snr", "ppd", "top_quarter", "coherence", "elicitation", "pca[1]", "pca[2]", "ph_ratio", "mald",
)  # fmt: skip
"""Columns of the printed table unless --only names others; what does not fit the terminal is named on stderr."""
SIGNED = {"nats", "nats per token", "pp"}
NOTE = 120
"""Characters of the note that counts NaN."""


@click.command()
@store_option
@heuristics_option("--only", help="Only these heuristics, by name, symbol or module:function (ph,gamma,HB1).")
@prompts_of(help="Only these prompts; spectra and angles are among these alone.")
@click.option("--prefix-type", type=Choice(["fixed", "mix"]), help="Show only rows of this prefix type.")
@click.option("--set", "completion_set", default="train", show_default=True, help="Completion set.")
@recipe_option
@click.option("--sort", metavar="COLUMN", help="Largest first: ph, pca[2], ppd[control], ...")
@click.option(
    "--engine", type=Choice(["auto", "numpy", "jax"]), default="auto", show_default=True,
    help="What computes the sums over tokens.",
)  # fmt: skip
@cluster_option
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON document; NaN is null.")
@click.option("--csv", "as_csv", is_flag=True, help="Print one CSV line per prompt and prefix type.")
def heuristics(
    store: Path,
    only: str | None,
    prompts: str | None,
    prefix_type: str | None,
    completion_set: str,
    recipe: Literal["corrected", "published"],
    sort: str | None,
    engine: Literal["auto", "numpy", "jax"],
    cluster: str | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """What the base model alone says about every prompt, with 95 % intervals in brackets.

    docs/heuristics.md says what every column means. The printed table has the most used heuristics, or those of --only;
    --csv and --json compute all. Those that this store cannot give are named with the reason.
    """
    import json

    from inoc.errors import BadInput, IncompleteStore
    from inoc.heuristics.frame.registry import find
    from inoc.heuristics.frame.rows import document, rows
    from inoc.heuristics.frame.table import measure
    from inoc.store.store import open_store

    if as_json and as_csv:
        raise BadInput("--json and --csv exclude each other. Fix: give one of them.")
    wanted = tuple(find(name).name if ":" in name else name for name in names(only)) or None
    printed = wanted or (() if as_json or as_csv else tuple(dict.fromkeys(name.partition("[")[0] for name in DEFAULT)))
    extra = (sort.partition("[")[0],) if sort and printed else ()
    with ExitStack() as stack:
        table = measure(
            open_store(store),
            recipe=recipe,
            only=[*printed, *extra] or None,
            prompts=names(prompts) or None,
            completion_set=completion_set,
            engine=engine,
            tasks=_tasks(stack, cluster),
        )
    asked = {find(name).name for name in wanted} if wanted else set(table.absent) | set(table.variables)
    if asked <= set(table.absent):
        reason = next(table.absent[name] for name in table.absent if name in asked)
        raise IncompleteStore(f"{store}: nothing of what was asked can be computed: {reason}.")
    shown = rows(table)
    if prefix_type:
        if prefix_type not in shown.prefix_types:
            raise BadInput(f"{store} has no rows of prefix type {prefix_type}. Fix: leave --prefix-type out.")
        shown = shown.take([i for i, kind in enumerate(shown.prefix_types) if kind == prefix_type])
    if sort:
        shown = shown.sorted_by(sort)
    if as_json:
        click.echo(json.dumps(document(table, shown), indent=1))
    elif as_csv:
        _print_csv(shown)
    else:
        _print_table(table, shown, wanted)
    _print_notes(table)


def _tasks(stack: ExitStack, cluster: str | None) -> int:
    """Connect to the cluster, if there is one; into how many tasks it can cut the pass over tokens."""
    if cluster is None:
        return 0
    from inoc.cluster.place import Place, connected, dashboard, workers

    client = stack.enter_context(connected(Place(cluster)))
    _err(f"cluster: {counted(workers(client), 'worker')}; dashboard {dashboard(client) or 'none'}")
    return 4 * workers(client)


def _print_csv(shown: "Rows") -> None:
    import csv
    import sys

    from inoc.reading import printable

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["prompt", "prefix_type", "role", *map(printable, shown.columns)])
    columns = [column.values.tolist() for column in shown.columns.values()]
    labels = ([printable(text) for text in texts] for texts in (shown.prompts, shown.prefix_types, shown.roles))
    writer.writerows(zip(*labels, *columns, strict=True))


def _print_table(table: "Table", shown: "Rows", wanted: Sequence[str] | None) -> None:
    from inoc.cli.console import FOLD, show, stdout

    console = stdout()
    columns = _chosen(shown, wanted)
    if columns:
        labels = [("prompt", shown.prompts), ("role", shown.roles), ("prefix", shown.prefix_types)]
        labels = [(name, values) for name, values in labels if not set(values) <= {"", "unknown"}]
        cells = [[_cell(shown, column, i) for column in columns] for i in range(len(shown.prompts))]
        names = [_heading(column) for column in columns]
        # elicitation, the measured baseline, is the last to go
        last = [name for name in names[:0:-1] if name.startswith("elicitation")]
        drop = ["role", *(name for name in names[:0:-1] if name not in last), FOLD, *last]
        rows = [[*(values[i] for _, values in labels), *cells[i]] for i in range(len(cells))]
        words = ("prompt", "role", "prefix")
        rest = "--only, --csv and --json show them"
        show(console, "", [*(name for name, _ in labels), *names], rows, words=words, drop=drop, rest=rest)
    for name, variable in table.variables.items():
        if wanted and "prompt" not in variable.dims:
            _print_array(console, table, name)
    if wanted:
        for name, variable in table.variables.items():
            if "other_prompt" in variable.dims:
                _err(f"{name} is a matrix of prompts by prompts: --json prints it.")


def _chosen(shown: "Rows", wanted: Sequence[str] | None) -> list["Column"]:
    """Columns in the order asked for; interval bounds are in the cell of their estimate."""
    from inoc.heuristics import heuristics as known

    columns = shown.columns.values()
    if wanted:
        return [c for c in columns if c.variable in known() or c.variable in wanted]
    found: list[Column] = []
    for name in DEFAULT:
        exact = shown.columns.get(name)
        found += [exact] if exact else [c for c in columns if c.variable == name]
    return found


def _heading(column: "Column") -> str:
    units = str(column.attrs["units"]).replace(" x ", "\nx ")
    return column.name + ("" if units == "1" else f"\n{units}")


def _cell(shown: "Rows", column: "Column", i: int) -> str:
    """The value and, where the table has one, its 95 % interval; as many decimals throughout a column."""
    value = float(column.values[i])
    if value != value:
        return "NaN"
    places = _decimals(column)
    text = f"{value:{'+' if column.attrs['units'] in SIGNED else ''}.{places}f}"
    bounds = [shown.columns[name].values[i] for name in column.bounds() if name in shown.columns]
    if len(bounds) < 2 or bounds[0] != bounds[0]:
        return text
    return f"{text} [{bounds[0]:.{places}f}, {bounds[1]:.{places}f}]"


def _decimals(column: "Column") -> int:
    """Decimals that give a typical value of the column three digits."""
    from math import floor, log10

    sizes = sorted(abs(float(v)) for v in column.values if v == v and v != 0)
    if column.values.dtype.kind in "iu" or not sizes:
        return 0
    return min(max(2 - floor(log10(sizes[len(sizes) // 2])), 0), 6)


def _print_array(console: "Console", table: "Table", name: str) -> None:
    """A variable without the dim prompt: its last dim across, the others down."""
    from itertools import product

    from inoc.cli.console import show
    from inoc.heuristics.frame.rows import label

    variable = table.variables[name]
    *down, across = variable.dims
    rows = [
        [*(label(table, dim, i) for dim, i in zip(down, place, strict=True)), *(f"{float(v):.4g}" for v in row)]
        for place in product(*(range(n) for n in variable.values.shape[:-1]))
        for row in [variable.values[place]]
    ]
    show(console, name, [*down, *(label(table, across, i) for i in range(variable.values.shape[-1]))], rows, words=down)


def _print_notes(table: "Table") -> None:
    from inoc.heuristics.frame.rows import absences, nan_counts

    for note in table.notes:
        _err(note)
    if counts := nan_counts(table):
        _err(_nan_note(counts))
    for reason, absent in absences(table).items():
        first = ", ".join(absent[:4]) + (f" and {len(absent) - 4} more" if len(absent) > 4 else "")
        _err(f"Absent: {first}: {reason}.")


def _nan_note(counts: Mapping[str, int]) -> str:
    """One line: as many of the counts as fit, and how many more --json has."""
    told = [f"{name} {n}" for name, n in counts.items()]
    for shown in range(len(told), 0, -1):
        rest = f" and {len(told) - shown} more (--json shows them)" if shown < len(told) else ""
        line = f"NaN, where undefined or without data: {', '.join(told[:shown])}{rest}."
        if len(line) <= NOTE:
            return line
    return f"NaN, where undefined or without data: in {len(told)} heuristics (--json shows them)."


def _err(text: str) -> None:
    click.echo(text, err=True)
