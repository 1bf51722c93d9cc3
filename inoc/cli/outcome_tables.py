"""The readable tables of `inoc outcomes`."""

# pyright: reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import sys
from pathlib import Path

import numpy as np
import xarray as xr
from rich.console import Console
from rich.table import Table

from inoc.cli.outcome_records import Beside, Tables
from inoc.outcomes.continuation import at_last
from inoc.outcomes.performance_table import TARGETS
from inoc.outcomes.text import interval, number
from inoc.store.store import Store

TITLES = {
    "suppression": "Suppression: control minus run, pp [95 %]",
    "cross": "Cross-trait: what the prompt did to the trait it does not ask for, pp [95 %]",
    "gap": "Gap: fixed minus mix suppression, pp [95 %]",
}
WIDE = 165
"""Columns of the tables when stdout is no terminal."""


def print_tables(
    tables: Tables,
    performance: xr.Dataset | None,
    why: str,
    trait: str | None,
    shown: int | None,
    beside: Beside,
) -> None:
    """Readable tables on stdout; what was left out, and why, under each."""
    console = Console(width=None if sys.stdout.isatty() else WIDE, highlight=False)
    for experiment, parts in tables.items():
        suffix = f" ({experiment})" if len(tables) > 1 else ""
        for name, title in TITLES.items():
            if name == "cross":
                _cross(console, parts[name], f"{title}{suffix}", trait)
            else:
                _cells(console, parts[name], name, f"{title}{suffix}", trait)
        console.print(_controls(parts["suppression"], trait), markup=False)
        for reason in dict.fromkeys(
            [*parts["suppression"].attrs["left_out"], *parts["gap"].attrs["left_out"]]
        ):
            console.print(f"left out: {reason}", markup=False)
        for run, flag in _flagged(parts["suppression"]):
            console.print(f"flagged, kept because asked for: {run}: {flag}", markup=False)
        if experiment in beside.misalignment:
            _misalignment(console, beside.misalignment[experiment], suffix)
        if experiment in beside.durability:
            _durability(console, beside.durability[experiment], suffix, trait)
        console.print()
    if performance is not None:
        why = _no_correlation(performance)
    if performance is None or why:
        console.print(f"no performance table: {why}", markup=False)
        return
    _performance(console, performance, shown)


def in_config_order(tables: dict[str, xr.Dataset], store: Store) -> None:
    """Sort the tables as the experiment lists its prompts, fixed before mix; note what each asks for."""
    prompts = store.prompts["prompt"].values.astype(str).tolist()
    families = dict(zip(prompts, store.prompts["family"].values.astype(str).tolist(), strict=True))
    asks = {trait.family: trait.name for trait in store.traits}
    place = {key: i for i, key in enumerate(prompts)}
    for name, table in tables.items():
        row = "prompt" if name == "gap" else "run"
        keys = table["prompt" if name == "gap" else "run_prompt"].values.astype(str).tolist()
        kinds = table["prefix_type"].values.astype(str).tolist() if row == "run" else keys
        order = sorted(range(len(keys)), key=lambda i: (place.get(keys[i], len(place)), keys[i], kinds[i]))
        asked = np.array([asks.get(families.get(key, ""), "") for key in keys], dtype=object)
        tables[name] = table.assign_coords(asks_for=(row, asked)).isel({row: order})


def _cells(console: Console, table: xr.Dataset, name: str, title: str, trait: str | None) -> None:
    """Suppression and gap: a row per run or prompt, a column per trait."""
    row = "prompt" if name == "gap" else "run"
    traits = [t for t in table["trait"].values.astype(str) if trait in (None, t)]
    out = Table(title=title, title_justify="left")
    for column in ("prompt", "asks for", *(("prefix", "step") if row == "run" else ()), *_seed(table)):
        out.add_column(column, justify="right" if column in ("step", "seed") else "left")
    for t in traits:
        out.add_column(t, justify="right")
        out.add_column("n", justify="right")
    for i in range(table.sizes[row]):
        part = table.isel({row: i})
        if np.isfinite(part["mean"].sel(trait=traits).values).any():
            out.add_row(
                *_label(part, row, _seed(table)),
                *(text for t in traits for text in _value(part.sel(trait=t))),
            )
    _show(console, out, title)


def _cross(console: Console, table: xr.Dataset, title: str, trait: str | None) -> None:
    """A row per run whose prompt asks for one trait: what happened to the other one."""
    out = Table(title=title, title_justify="left")
    for column in ("prompt", "asks for", "prefix", "step", *_seed(table), "other trait", "suppression", "n"):
        left = column in ("prompt", "asks for", "prefix", "other trait")
        out.add_column(column, justify="left" if left else "right")
    for i in range(table.sizes["run"]):
        part = table.isel(run=i)
        asked = str(part["asks_for"].item())
        if not asked or trait not in (None, asked):
            continue
        cell = part.sel(trait=asked)
        if np.isfinite(cell["mean"].item()):
            out.add_row(*_label(part, "run", _seed(table)), str(cell["other"].item()), *_value(cell))
    _show(console, out, title)


def _controls(table: xr.Dataset, trait: str | None) -> str:
    """The level everything is measured from."""
    found: list[str] = []
    for t in table["trait"].values.astype(str):
        scores = table["control"].sel(trait=t).values
        if trait in (None, t) and np.isfinite(scores).any():
            found.append(f"{t} {np.nanmean(scores):.1f}")
    return f"control run, mean score: {', '.join(found) or 'none'}"


def _seed(table: xr.Dataset) -> tuple[str, ...]:
    """The column of training seeds, where any is known."""
    return ("seed",) if (table["seed"].values >= 0).any() else ()


def _label(part: xr.Dataset, row: str, seed: tuple[str, ...]) -> list[str]:
    names = ("run_prompt", "asks_for", "prefix_type", "step") if row == "run" else ("prompt", "asks_for")
    return [str(part[name].item()) for name in (*names, *seed)]


def _value(cell: xr.Dataset) -> tuple[str, str]:
    bounds = interval(float(cell["lower"]), float(cell["upper"]))
    return f"{number(float(cell['mean']))} {bounds}".strip(), str(int(cell["n"]))


def _show(console: Console, table: Table, title: str) -> None:
    if table.row_count:
        console.print(table)
    else:
        console.print(f"{title}: nothing to show", markup=False)


def _flagged(table: xr.Dataset) -> list[tuple[str, str]]:
    """Runs that are flagged and have numbers all the same."""
    kept = np.asarray(np.isfinite(table["mean"].values).any(axis=1))
    names, flags = table["run"].values.astype(str), table["flags"].values.astype(str)
    return [(str(run), str(flag)) for run, flag, k in zip(names, flags, kept, strict=True) if flag and k]


def _misalignment(console: Console, table: xr.Dataset, suffix: str) -> None:
    """A row per run, a column per set of instructions."""
    title = f"Emergent misalignment: coherence > 60 and alignment < 40, % of answers [95 %]{suffix}"
    out = Table(title=title, title_justify="left")
    out.add_column("run")
    for name in table["evaluation_set"].values.astype(str):
        out.add_column(str(name), justify="right")
        out.add_column("n", justify="right")
    for r in range(table.sizes["run"]):
        row = [str(table["run"].values[r])]
        for s in range(table.sizes["evaluation_set"]):
            cell = table.isel(run=r, evaluation_set=s)
            rate, lower, upper = (100 * float(cell[part]) for part in ("rate", "lower", "upper"))
            row += [f"{number(rate)} {interval(lower, upper)}".strip(), str(int(cell["n"]))]
        out.add_row(*row)
    _show(console, out, title)
    missing = int(table["missing"].sum())
    if missing:
        console.print(f"left out: {missing} answers without both scores")


def _durability(console: Console, table: xr.Dataset, suffix: str, trait: str | None) -> None:
    """A row per continued run and trait at its last step; the curve is in --json, --csv and the figures."""
    title = f"Durability: what remains of the suppression after further training, pp [95 %]{suffix}"
    out = Table(title=title, title_justify="left")
    seeds = _seed(table)
    left = ("prompt", "prefix", "continued on", "trait")
    right = ("updates", "before", "remaining", "came back", "gate", "n")
    for column in (*left[:2], *seeds, left[2], "updates", "trait", *right[1:]):
        out.add_column(column, justify="left" if column in left else "right")
    values = {
        name: [at_last(table, f"{name}{end}") for end in ("", "_lower", "_upper")]
        for name in ("remaining", "returned", "gate")
    }
    values["before"] = [table[f"before{end}"].values for end in ("", "_lower", "_upper")]
    n = at_last(table, "n")

    def cell(name: str, run: int, t: int) -> str:
        mean, lower, upper = (float(part[run, t]) for part in values[name])
        return f"{number(mean)} {interval(lower, upper)}".strip() if np.isfinite(mean) else ""

    for i in range(table.sizes["run"]):
        part = table.isel(run=i)
        label = [str(part["run_prompt"].item()) or "(control)", str(part["prefix_type"].item())]
        label += [str(part[name].item()) for name in seeds]
        label += [Path(str(part["data"].item())).name or "the same data", str(int(part["last"]))]
        for t, name in enumerate(table["trait"].values.astype(str)):
            if trait in (None, name):
                shown = [cell(q, i, t) for q in ("before", "remaining", "returned", "gate")]
                out.add_row(*label, str(name), *shown, str(int(n[i, t])))
    _show(console, out, title)
    against = [str(text) for text in dict.fromkeys(table["against"].values.astype(str)) if text]
    console.print(f"remaining: measured against the {' or the '.join(against) or 'control'}.", markup=False)
    for reason in table.attrs["left_out"]:
        console.print(f"left out: {reason}", markup=False)


def _no_correlation(table: xr.Dataset) -> str:
    """Why a performance table would be empty or rest on a single prompt; empty where it does not."""
    prompts = int(table["prompts"].max()) if table.sizes["heuristic"] else 0
    if prompts > 1 and np.isfinite(table["r"].values).any():
        return ""
    if not prompts:
        return "no heuristic is known for the trained prompts."
    said = "one prompt was" if prompts == 1 else f"{prompts} prompts were"
    return f"{said} trained; a correlation needs more prompts that differ."


def _performance(console: Console, table: xr.Dataset, shown: int | None) -> None:
    strength = np.abs(table["r"].sel(target="all").values)
    known = np.asarray(np.isfinite(table["r"].values).any(axis=1))
    order = [i for i in np.argsort(-np.nan_to_num(strength, nan=-1.0), kind="stable").tolist() if known[i]]
    out = Table(title="Performance: correlation with what training did", title_justify="left")
    columns = (
        "heuristic",
        "r [95 %]",
        "rho",
        "n",
        "prompts",
        "within r",
        "p Holm",
        "error on new family, pp",
    )
    for column in (*columns, *(f"r {target}" for target in TARGETS[1:])):
        out.add_column(column, justify="left" if column == "heuristic" else "right")
    for i in order[:shown]:
        row = table.isel(heuristic=i)
        cell = row.sel(target="all")
        bounds = interval(float(cell["r_lower"]), float(cell["r_upper"]), 2)
        out.add_row(
            str(row["heuristic"].item()),
            f"{number(float(cell['r']), 2)} {bounds}".strip(),
            number(float(cell["rho"]), 2),
            str(int(cell["n"])),
            str(int(cell["prompts"])),
            number(float(cell["within_r"]), 2),
            number(float(cell["p_holm"]), 3),
            number(float(cell["family_error"])),
            *(number(float(row["r"].sel(target=target)), 2) for target in TARGETS[1:]),
        )
    console.print(out)
    if shown is not None and len(order) > shown:
        console.print(
            f"{shown} of {len(order)} heuristics shown, strongest first; --json and --csv give all."
        )
    whole = table.sel(target="all")
    elicitation, constant = (
        number(float(whole[f"family_error_{kind}"])) for kind in ("elicitation", "constant")
    )
    console.print(
        f"error on a new family with elicitation only: {elicitation} pp; "
        f"always guessing the mean: {constant} pp."
    )
    prompts = int(whole["prompts"].max())
    if prompts < 20:
        console.print(f"{prompts} distinct prompts: the intervals are wide, and a high r can be chance.")
    console.print(f"rows: {table.attrs['rows']} (recipe {table.attrs['recipe']}).", markup=False)
    reasons = _absent(table)
    for reason, names in reasons.items():
        more = f" and {len(names) - 5} more (--json names them)" if len(names) > 5 else ""
        console.print(f"left out: {', '.join(names[:5])}{more}: {reason}", markup=False)


def _absent(table: xr.Dataset) -> dict[str, list[str]]:
    """Reason -> heuristics without a number for any target."""
    found: dict[str, list[str]] = {}
    for i, name in enumerate(table["heuristic"].values.astype(str)):
        if not np.isfinite(table["r"].values[i]).any():
            found.setdefault(str(table["reason"].sel(target="all").values[i]), []).append(str(name))
    for line in table.attrs.get("absent", []):
        name, _, reason = str(line).partition(": ")
        found.setdefault(reason, []).append(name)
    return found
