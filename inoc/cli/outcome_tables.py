"""The readable tables of `inoc outcomes`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr
from rich.console import Console

from inoc.cli.console import show, stdout
from inoc.cli.outcome_records import Outcomes
from inoc.outcomes.continuation import at_last
from inoc.outcomes.performance_table import TARGETS

LEFT = ("prompt", "asks for", "effect", "prefix", "other trait", "continued on", "trait", "run", "heuristic")
"""Columns of words; columns of numbers are aligned right."""
DROP = (
    *(f"r {target}" for target in TARGETS[:0:-1]), "within r", "rho", "n", "asks for", "step", "other trait", "effect",
    "updates", "came back", "prompts", "gate", "seeds",
)  # fmt: skip
"""Columns that a narrow terminal does without, the first one first."""
ROUGH = 20
"""Distinct prompts below which a high correlation can be chance."""


def print_tables(outcomes: Outcomes, shown: int | None) -> None:
    """Readable tables on stdout; what was left out, and why, under each. `shown`: heuristics of the last table."""
    console = stdout()
    say = console.print
    for experiment, parts in outcomes.tables.items():
        suffix = f" ({experiment})" if len(outcomes.tables) > 1 else ""
        for name, make, title in (
            ("suppression", _cells, "Suppression of a leak, loss of what is wanted: control minus run"),
            ("cross", _cross, "Cross-trait: what the prompt did to the trait it does not ask for"),
            ("gap", _cells, "Gap: fixed minus mix"),
        ):
            _show(console, make(parts[name], outcomes, f"{title}, pp [95 %]{suffix}"))
        say(_controls(parts["suppression"], outcomes))
        for reason in outcomes.left_out(experiment, "suppression", "gap"):
            say(f"left out: {reason}")
        for run, flag in _flagged(parts["suppression"]):
            say(f"flagged, kept because asked for: {run}: {flag}")
        for score in parts["rates"]["score"].values.astype(str) if "rates" in parts else ():
            rate = parts["rates"].sel(score=score)
            _show(console, _rates(rate, suffix))
            if missing := int(rate["missing"].sum()):
                say(f"left out: {missing} answers without a score that {score} needs")
        if "durability" in parts:
            _show(console, _durability(parts["durability"], outcomes, suffix))
            against = [text for text in dict.fromkeys(parts["durability"]["against"].values.astype(str)) if text]
            say(f"remaining: measured against the {' or the '.join(against) or 'control'}.")
            for reason in outcomes.left_out(experiment, "durability"):
                say(f"left out: {reason}")
        console.print()
    for warning in outcomes.warnings:
        say(warning)
    table = outcomes.performance
    why = outcomes.why if table is None else _no_correlation(table)
    if table is None or why:
        say(f"no performance table: {why}")
        return
    order = _strongest_first(table)
    _show(console, _performance(table, order[:shown]))
    if shown is not None and len(order) > shown:
        say(f"{shown} of {len(order)} heuristics shown, strongest first; --json and --csv give all.")
    for text in _under_performance(table):
        say(text)


@dataclass(frozen=True)
class Sheet:
    """A table as texts."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list[Sequence[str]])

    def add_row(self, *cells: str) -> None:
        self.rows.append(cells)


def _show(console: Console, sheet: Sheet) -> None:
    show(console, sheet.title, sheet.columns, sheet.rows, words=LEFT, drop=DROP, rest="--json and --csv have all")


def _number(value: object, digits: int = 1) -> str:
    """A number; a missing one is a dash."""
    number = float(np.asarray(value))
    return f"{number:.{digits}f}" if np.isfinite(number) else "–"


def _with_interval(value: object, lower: object, upper: object, digits: int = 1) -> str:
    """A number and its bounds; without the bounds where there are none."""
    bounds = [float(np.asarray(bound)) for bound in (lower, upper)]
    end = f" [{bounds[0]:.{digits}f}, {bounds[1]:.{digits}f}]" if np.isfinite(bounds).all() else ""
    return f"{_number(value, digits)}{end}"


def _value(cell: xr.Dataset) -> tuple[str, str]:
    return _with_interval(cell["mean"], cell["lower"], cell["upper"]), str(int(cell["n"]))


def _told_apart(table: xr.Dataset) -> tuple[str, ...]:
    """Columns that tell rows apart: the seed of the training, where it is known, or how many are pooled; the run, where
    its prompt, prefix type and seed are those of another one."""
    found = ("seeds",) if "seeds" in table.coords and (table["seeds"].values > 1).any() else ()
    if (table["seed"].values >= 0).any():
        found = ("seed",)
    if "run" in table.dims:
        prompt = table["run_prompt" if "run_prompt" in table.coords else "prompt"]
        labels = list(
            zip(*(part.values.tolist() for part in (prompt, table["prefix_type"], table["seed"])), strict=True)
        )
        found += ("run",) if len(set(labels)) < len(labels) else ()
    return found


def _label(part: xr.Dataset, seed: tuple[str, ...]) -> list[str]:
    names = ("run_prompt", "asks_for", "prefix_type", "step") if "run_prompt" in part.coords else ("prompt", "asks_for")
    return [str(part[name].item()) for name in (*names, *seed)]


def _cells(table: xr.Dataset, outcomes: Outcomes, title: str) -> Sheet:
    """Suppression and gap: a row per run or prompt, a column per trait."""
    row = "run" if "run_prompt" in table.coords else "prompt"
    traits = [t for t in table["trait"].values.astype(str) if outcomes.shows(t)]
    seed = _told_apart(table)
    about = ("prompt", "asks for", *(("prefix", "step") if row == "run" else ()), *seed)
    names = (
        {t: f"{table.sel(trait=t)['effect'].item()} of {t}" for t in traits} if row == "run" else {t: t for t in traits}
    )
    out = Sheet(title, (*about, *(column for t in traits for column in (names[t], "n"))))
    for i in range(table.sizes[row]):
        part = table.isel({row: i})
        if np.isfinite(part.sel(trait=traits)["mean"].values).any():
            out.add_row(*_label(part, seed), *(text for t in traits for text in _value(part.sel(trait=t))))
    return out


def _cross(table: xr.Dataset, outcomes: Outcomes, title: str) -> Sheet:
    """A row per run whose prompt asks for one trait: what happened to the other one."""
    seed = _told_apart(table)
    out = Sheet(title, ("prompt", "asks for", "prefix", "step", *seed, "other trait", "effect", "pp", "n"))
    for i in range(table.sizes["run"]):
        part = table.isel(run=i)
        asked = str(part["asks_for"].item())
        if asked and outcomes.shows(asked):
            cell = part.sel(trait=asked)
            if np.isfinite(cell["mean"].item()):
                out.add_row(*_label(part, seed), str(cell["other"].item()), str(cell["effect"].item()), *_value(cell))
    return out


def _controls(table: xr.Dataset, outcomes: Outcomes) -> str:
    """The level everything is measured from."""
    found: list[str] = []
    for t in table["trait"].values.astype(str):
        scores = table.sel(trait=t)["control"].values
        if outcomes.shows(t) and np.isfinite(scores).any():
            found.append(f"{t} {np.nanmean(scores):.1f}")
    flipped = [f"100 - {t}" for t in table["trait"].values[table["inverted"].values].astype(str) if outcomes.shows(t)]
    also = f"; measured as {', '.join(flipped)}, since that score is better high" if flipped else ""
    return f"control run, mean score: {', '.join(found) or 'none'}{also}"


def _flagged(table: xr.Dataset) -> list[tuple[str, str]]:
    """Runs that are flagged but have numbers."""
    kept = np.asarray(np.isfinite(table["mean"].values).any(axis=1))
    names, flags = table["run"].values.astype(str), table["flags"].values.astype(str)
    return [(str(run), str(flag)) for run, flag, k in zip(names, flags, kept, strict=True) if flag and k]


def _rates(table: xr.Dataset, suffix: str) -> Sheet:
    """A row per run, a column per file of questions."""
    files = [str(name) for name in table["file"].values]
    title = f"{table['score'].item()}: {table['condition_text'].item()}, % of answers [95 %]{suffix}"
    out = Sheet(title, ("run", *(column for name in files for column in (name, "n"))))
    for r in range(table.sizes["run"]):
        row = [str(table["run"].values[r])]
        for f in range(len(files)):
            cell = table.isel(run=r, file=f)
            rate, lower, upper = (100 * float(cell[part]) for part in ("rate", "lower", "upper"))
            row += [_with_interval(rate, lower, upper), str(int(cell["n"]))]
        out.add_row(*row)
    return out


def _durability(table: xr.Dataset, outcomes: Outcomes, suffix: str) -> Sheet:
    """A row per continued run and trait at its last step; the curve is in --json, --csv and the figures."""
    title = f"Durability: what remains of the suppression after further training, pp [95 %]{suffix}"
    seed = _told_apart(table)
    numbers = ("before", "remaining", "came back", "gate", "n")
    out = Sheet(title, ("prompt", "prefix", *seed, "continued on", "updates", "trait", *numbers))
    ends = ("", "_lower", "_upper")
    values = {name: [at_last(table, name + end) for end in ends] for name in ("remaining", "returned", "gate")}
    values["before"] = [table[f"before{end}"].values for end in ends]
    n = at_last(table, "n")
    for i in range(table.sizes["run"]):
        part = table.isel(run=i)
        label = [str(part["run_prompt"].item()) or "(control)", str(part["prefix_type"].item())]
        label += [str(part[name].item()) for name in seed]
        label += [Path(str(part["data"].item())).name or "the same data", str(int(part["last"]))]
        for t, name in enumerate(table["trait"].values.astype(str)):
            if outcomes.shows(name):
                cells = [[part[i, t] for part in values[q]] for q in ("before", "remaining", "returned", "gate")]
                shown = [_with_interval(*cell) if np.isfinite(cell[0]) else "" for cell in cells]
                out.add_row(*label, str(name), *shown, str(int(n[i, t])))
    return out


def _no_correlation(table: xr.Dataset) -> str:
    """Why a performance table would be empty; empty where it is not."""
    if np.isfinite(table["r"].values).any():
        return ""
    reasons = [reason for reason in table["reason"].values.ravel().astype(str).tolist() if reason]
    return f"{max(set(reasons), key=reasons.count)}." if reasons else "no heuristic is known for the trained prompts."


def _strongest_first(table: xr.Dataset) -> list[int]:
    strength = np.nan_to_num(np.abs(table.sel(target="all")["r"].values), nan=-1.0)
    known = np.asarray(np.isfinite(table["r"].values).any(axis=1))
    return [i for i in np.argsort(-strength, kind="stable").tolist() if known[i]]


def _performance(table: xr.Dataset, order: Sequence[int]) -> Sheet:
    """A row per heuristic."""
    columns = ("heuristic", "r [95 %]", "rho", "n", "prompts", "within r", "p Holm", "error on new family, pp")
    title = "Performance: correlation with what training did"
    out = Sheet(title, (*columns, *(f"r {target}" for target in TARGETS[1:])))
    for i in order:
        row = table.isel(heuristic=i)
        cell = row.sel(target="all")
        out.add_row(
            str(row["heuristic"].item()),
            _with_interval(cell["r"], cell["r_lower"], cell["r_upper"], 2),
            _number(cell["rho"], 2),
            str(int(cell["n"])),
            str(int(cell["prompts"])),
            _number(cell["within_r"], 2),
            _number(cell["p_holm"], 3),
            _number(cell["family_error"]),
            *(_number(row.sel(target=target)["r"], 2) for target in TARGETS[1:]),
        )
    return out


def _under_performance(table: xr.Dataset) -> list[str]:
    """The baselines, how many prompts there are, and the heuristics without a number."""
    whole = table.sel(target="all")
    elicitation, constant = (_number(whole[f"family_error_{kind}"]) for kind in ("elicitation", "constant"))
    said = [f"error on a new family with elicitation only: {elicitation} pp; always guessing the mean: {constant} pp."]
    prompts = int(whole["prompts"].max())
    if prompts < ROUGH:
        said.append(f"{prompts} distinct prompts: the intervals are wide, and a high r can be chance.")
    said.append(f"rows: {table.attrs['rows']} (recipe {table.attrs['recipe']}).")
    reasons: dict[str, list[str]] = {}
    for i, name in enumerate(table["heuristic"].values.astype(str)):
        if not np.isfinite(table["r"].values[i]).any():
            reasons.setdefault(str(whole["reason"].values[i]), []).append(str(name))
    for line in table.attrs.get("absent", []):
        name, _, reason = str(line).partition(": ")
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        more = f" and {len(names) - 5} more (--json names them)" if len(names) > 5 else ""
        said.append(f"left out: {', '.join(names[:5])}{more}: {reason}")
    return said
