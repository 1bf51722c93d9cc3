"""`inoc compare`: show how two stores, or two runs, differ."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from inoc.cli.options import STORE_PATH, json_option, run_option, say_wrapped

if TYPE_CHECKING:
    import xarray as xr

SETTINGS = 20
"""Settings that are printed."""


@click.command()
@click.argument("stores", metavar="A [B]", nargs=-1, required=True, type=STORE_PATH)
@run_option(help="Give two: compare this run of A with that of B (or of A).")
@click.option("--step", type=int, help="Compare at this step instead of each run's final one.")
@click.option("--all", "everything", is_flag=True, help="Also rows whose interval holds 0.")
@json_option
def compare(stores: tuple[Path, ...], runs: tuple[str, ...], step: int | None, everything: bool, as_json: bool) -> None:
    """Pair what stores A and B have in common, and say what differs: B minus A, with 95 % intervals.

    Runs are paired by prompt, prefix type and seed, prompts by key and text, and scores question by question. What a
    prompt held back (control minus run) is compared, too; so are elicitation and log-probabilities.
    """
    import json

    from inoc.errors import BadInput
    from inoc.heuristics.frame.rows import records
    from inoc.outcomes import compare as compare_stores
    from inoc.store.store import open_store

    if len(stores) > 2 or len(runs) not in (0, 2):
        raise BadInput("two are compared at a time. Fix: name stores A and B, or one store and --run twice.")
    if len(stores) == 1 and not runs:
        raise BadInput("there is nothing to compare with. Fix: name a second store, or two runs with --run.")
    opened = [open_store(path) for path in stores]
    table = compare_stores(opened[0], opened[-1], runs=(runs[0], runs[1]) if runs else None, step=step)
    if as_json:
        said = {name: table.attrs[name] for name in ("settings", "left_out")}
        click.echo(json.dumps({"rows": records(table), **said}, indent=1, allow_nan=False))
        return
    names = [store.name for store in stores] if len(stores) == 2 else list(runs)
    say_wrapped(f"A: {names[0]}. B: {names[1]}. Differences are B minus A [95 %], paired by question or example.")
    _print_settings(table)
    _print_tables(table, everything)
    for reason in table.attrs["left_out"]:
        say_wrapped(f"left out: {reason}")


def _print_settings(table: "xr.Dataset") -> None:
    found = table.attrs["settings"]
    click.echo("Settings: " + (f"{len(found)} differ" if found else "no stored setting differs"))
    for name, first, second in found[:SETTINGS]:
        say_wrapped(f"{name}: A {_short(first)}, B {_short(second)}", "  ")
    if len(found) > SETTINGS:
        click.echo(f"  {len(found) - SETTINGS} more (--json has all)")


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _print_tables(table: "xr.Dataset", everything: bool) -> None:
    """One table per kind, the largest difference first."""
    from inoc.cli.console import show, stdout

    console = stdout()
    titles = {
        "score": "Scores of runs",
        "held back": "Held back by the prompt (control minus run)",
        "elicitation": "Elicitation (with the prompt minus without, base model)",
        "logprob": "Log-probability of completions (with the prompt minus without, base model)",
    }
    about = ("prompt", "prefix_type", "seed", "of", "condition")
    headings = {"prefix_type": "prefix"}
    for kind in dict.fromkeys(table["kind"].values.astype(str).tolist()):
        part = table.isel(row=table["kind"].values == kind)
        n = part.sizes["row"]
        clear = (part["lower"].values > 0) | (part["upper"].values < 0)
        order = sorted(range(n), key=lambda i: -abs(float(part["difference"].values[i])))
        order = [i for i in order if everything or clear[i]]
        digits = 3 if kind == "logprob" else 1
        used = [name for name in about if len(set(part[name].values.tolist()) - {"", -1}) > 0]
        columns = [headings.get(name, name) for name in used] + ["A", "B", "B - A", "n"]
        rows = [
            [
                *(str(part[name].values[i]) or ("(control)" if name == "prompt" else "") for name in used),
                f"{part['first'].values[i]:.{digits}f}",
                f"{part['second'].values[i]:.{digits}f}",
                _with_interval(part.isel(row=i), digits),
                str(part["n"].values[i]),
            ]
            for i in order
        ]
        units = str(part["units"].values[0])
        say_wrapped(
            f"{titles[kind]}, {units}: {int(clear.sum())} of {n} differ clearly (interval without 0); "
            "one in 20 would by chance"
        )
        if rows:
            show(console, "", columns, rows, words=(*about, "prefix"), drop=("n", "seed", "A", "B"))


def _with_interval(row: "xr.Dataset", digits: int) -> str:
    lower, upper = float(row["lower"]), float(row["upper"])
    bounds = f" [{lower:.{digits}f}, {upper:.{digits}f}]" if lower == lower else ""
    return f"{float(row['difference']):+.{digits}f}{bounds}"
