"""Every number of `inoc outcomes` as records, printed as one JSON document or one long CSV table."""

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import click
import numpy as np
import xarray as xr

from inoc.heuristics.frame.rows import plain
from inoc.outcomes.performance_table import ERRORS, TARGETS
from inoc.reading import printable

PARTS = ("suppression", "cross", "gap")
"""Tables that every store has."""
MORE = ("durability", "rates")
"""Tables that only some stores have."""
DURABLE = ("score", "gate", "returned", "remaining")
QUANTITIES = ("r", "rho", "within_r", "p_holm", *ERRORS)
COLUMNS: tuple[str, ...] = (
    "table", "experiment", "run", "prompt", "prefix_type", "seed", "seeds", "step", "asks_for", "trait", "effect",
    "file", "heuristic", "target", "quantity", "value", "lower", "upper", "n", "prompts", "note",
)  # fmt: skip
"""Columns of the CSV table."""
Record = dict[str, object]


@dataclass(frozen=True)
class Outcomes:
    """What `inoc outcomes` prints: tables by experiment and name, and the performance table or why there is none."""

    tables: Mapping[str, Mapping[str, xr.Dataset]]
    performance: xr.Dataset | None
    why: str = ""
    trait: str | None = None
    """The only trait shown; None for all."""
    warnings: tuple[str, ...] = ()
    """Sentences about controls that hardly show a trait."""

    def shows(self, trait: str) -> bool:
        """Whether a trait is shown."""
        return self.trait in (None, trait)

    def left_out(self, experiment: str, *tables: str) -> list[str]:
        """Reasons of what the tables of an experiment leave out, each once."""
        found = [self.tables[experiment][name] for name in tables if name in self.tables[experiment]]
        return list(dict.fromkeys(str(reason) for table in found for reason in table.attrs["left_out"]))


def records(outcomes: Outcomes) -> Iterator[Record]:
    """Every number of every table, one record each, missing as None."""
    for experiment, parts in outcomes.tables.items():
        for name in PARTS:
            yield from _effects(outcomes, experiment, name, parts[name])
    if outcomes.performance is not None:
        yield from _performance(outcomes.performance)
    for name, make in (("durability", _durability), ("rates", _rates)):
        for experiment, parts in outcomes.tables.items():
            if name in parts:
                yield from make(outcomes, experiment, parts[name])


def _label(table: str, experiment: str, part: xr.Dataset) -> Record:
    """What a row is about; a row of the gap is about a prompt, all others about a run."""
    run = "run_prompt" in part.coords
    return {
        "table": table,
        "experiment": experiment,
        "run": str(part["run"].item()) if run else "",
        "prompt": str(part["run_prompt" if run else "prompt"].item()),
        "prefix_type": str(part["prefix_type"].item()) if run else "",
        "seed": int(part["seed"]),
        "seeds": int(part["seeds"]) if "seeds" in part.coords else None,
    }


def _numbers(cell: xr.Dataset, value: str, lower: str = "", upper: str = "") -> Record:
    """A value with its bounds, as far as it has any, and n."""
    names = {"value": value, "lower": lower, "upper": upper}
    return {k: plain(cell[v].values) if v else None for k, v in names.items()} | {"n": int(cell["n"])}


def _effects(outcomes: Outcomes, experiment: str, name: str, table: xr.Dataset) -> Iterator[Record]:
    row = "prompt" if name == "gap" else "run"
    for i in range(table.sizes[row]):
        part = table.isel({row: i})
        asked = str(part["asks_for"].item())
        for t in table["trait"].values.astype(str).tolist():
            if outcomes.shows(t) and (name != "cross" or t == asked):
                cell = part.sel(trait=t)
                yield {
                    **_label(name, experiment, part),
                    "step": int(part["step"]) if row == "run" else None,
                    "asks_for": asked,
                    "trait": str(cell["other"].item()) if name == "cross" else t,
                    "effect": str(cell["effect"].item()),
                    **_numbers(cell, "mean", "lower", "upper"),
                    "note": str(part["flags"].item()),
                }


def _performance(table: xr.Dataset) -> Iterator[Record]:
    bounds = {"r": ("r_lower", "r_upper"), "within_r": ("within_lower", "within_upper")}
    for heuristic in table["heuristic"].values.astype(str).tolist():
        for target in TARGETS:
            cell = table.sel(heuristic=heuristic, target=target)
            for quantity in QUANTITIES:
                yield {
                    "table": "performance",
                    "heuristic": heuristic,
                    "target": target,
                    "quantity": quantity,
                    **_numbers(cell, quantity, *bounds.get(quantity, ())),
                    "prompts": int(cell["prompts"]),
                    "note": str(cell["reason"].item()),
                }


def _durability(outcomes: Outcomes, experiment: str, table: xr.Dataset) -> Iterator[Record]:
    """Per continued run, trait, stored step and quantity; `before` at step 0 only."""
    for i in range(table.sizes["run"]):
        part = table.isel(run=i)
        about = (("continues ", "start"), ("data ", "data"), ("against ", "against"))
        note = "; ".join(f"{word}{part[name].item()}" for word, name in about if part[name].item())
        for t in table["trait"].values.astype(str).tolist():
            for step in table["step"].values.tolist() if outcomes.shows(t) else ():
                cell = part.sel(step=step, trait=t)
                for quantity in ("before", *DURABLE) if step == 0 else DURABLE:
                    numbers = _numbers(cell, quantity, f"{quantity}_lower", f"{quantity}_upper")
                    if numbers["value"] is not None:
                        label = {**_label("durability", experiment, part), "trait": t, "note": note}
                        yield {**label, "step": int(step), "quantity": quantity, **numbers}


def _rates(outcomes: Outcomes, experiment: str, table: xr.Dataset) -> Iterator[Record]:
    """Per run, rate and file of questions; `value` is the share, 0-1."""
    del outcomes
    for r, s, f in np.ndindex(*(table.sizes[dim] for dim in ("run", "score", "file"))):
        cell = table.isel(run=r, score=s, file=f)
        label = {
            **_label("rates", experiment, cell),
            "trait": str(cell["score"].item()),
            "file": str(cell["file"].item()),
        }
        yield {**label, **_numbers(cell, "rate", "lower", "upper")}


def print_json(outcomes: Outcomes) -> None:
    """One document: the records of each table, what was left out, and the baselines of the last table."""
    found: dict[str, list[Record]] = {name: [] for name in (*PARTS, *MORE, "performance")}
    for record in records(outcomes):
        found[str(record.pop("table"))].append(record)
    document: dict[str, object] = dict(found)
    document["left_out"] = {
        experiment: outcomes.left_out(experiment, "suppression", "gap", "durability") for experiment in outcomes.tables
    }
    document["warnings"] = list(outcomes.warnings)
    performance = outcomes.performance
    if performance is None:
        document |= {"performance": None, "performance_missing_because": outcomes.why}
    else:
        baselines = [str(name) for name in performance if str(name).endswith(("_elicitation", "_constant"))]
        document["baselines"] = [
            {"target": t, **{name: plain(performance.sel(target=t)[name].values) for name in baselines}}
            for t in TARGETS
        ]
        document |= {name: performance.attrs[name] for name in ("absent", "recipe", "rows")}
    click.echo(json.dumps(document, indent=1, allow_nan=False))


def print_csv(outcomes: Outcomes) -> None:
    """All records as one long table; the column `table` says which it belongs to."""
    writer = csv.DictWriter(sys.stdout, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for record in records(outcomes):
        shown = {key: "" if value is None else value for key, value in record.items()}
        writer.writerow({key: printable(v) if isinstance(v, str) else v for key, v in shown.items()})
