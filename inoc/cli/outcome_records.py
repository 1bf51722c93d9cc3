"""Every number of `inoc outcomes` as records, printed as one JSON document or one long CSV table."""

# pyright: reportUnknownMemberType=false

import csv
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import click
import numpy as np
import xarray as xr

from inoc.outcomes.performance_table import TARGETS

Tables = Mapping[str, Mapping[str, xr.Dataset]]
"""Per experiment: "suppression", "cross" and "gap"."""
PARTS = ("suppression", "cross", "gap")
Record = dict[str, str | int | float | None]
DURABLE = ("score", "gate", "returned", "remaining")
QUANTITIES = ("r", "rho", "within_r", "p_holm", "family_error", "experiment_error")


@dataclass(frozen=True)
class Beside:
    """Tables that only some stores have, per experiment."""

    durability: Mapping[str, xr.Dataset]
    misalignment: Mapping[str, xr.Dataset]

    def left_out(self, experiment: str) -> list[str]:
        """What the durability table lacks and why."""
        table = self.durability.get(experiment)
        return [] if table is None else list(table.attrs["left_out"])

    def records(self, trait: str | None) -> "list[Record]":
        """Every number of both tables."""
        return durability_records(self.durability, trait) + misalignment_records(self.misalignment)


def records(tables: Tables, performance: xr.Dataset | None, trait: str | None) -> list[Record]:
    """Every number of every table, one record each, missing as None."""
    result: list[Record] = []
    for experiment, parts in tables.items():
        for name in PARTS:
            table = parts[name]
            row = "prompt" if name == "gap" else "run"
            for i in range(table.sizes[row]):
                part = table.isel({row: i})
                for t in table["trait"].values.astype(str):
                    asked = str(part["asks_for"].item())
                    if trait not in (None, t) or (name == "cross" and t != asked):
                        continue
                    cell = part.sel(trait=t)
                    result.append(
                        {
                            "table": name,
                            "experiment": experiment,
                            "run": str(part["run"].item()) if row == "run" else "",
                            "prompt": str(part["run_prompt" if row == "run" else "prompt"].item()),
                            "prefix_type": str(part["prefix_type"].item()) if row == "run" else "",
                            "seed": int(part["seed"]),
                            "step": int(part["step"]) if row == "run" else None,
                            "asks_for": asked,
                            "trait": str(cell["other"].item()) if name == "cross" else str(t),
                            "value": _finite(cell["mean"]),
                            "lower": _finite(cell["lower"]),
                            "upper": _finite(cell["upper"]),
                            "n": int(cell["n"]),
                            "note": str(part["flags"].item()),
                        }
                    )
    return result + ([] if performance is None else performance_records(performance))


def performance_records(table: xr.Dataset) -> list[Record]:
    """One record per heuristic, target and quantity."""
    bounds = {"r": ("r_lower", "r_upper"), "within_r": ("within_lower", "within_upper")}
    result: list[Record] = []
    for heuristic in table["heuristic"].values.astype(str):
        for target in TARGETS:
            cell = table.sel(heuristic=heuristic, target=target)
            for quantity in QUANTITIES:
                low, high = bounds.get(quantity, ("", ""))
                result.append(
                    {
                        "table": "performance",
                        "heuristic": str(heuristic),
                        "target": target,
                        "quantity": quantity,
                        "value": _finite(cell[quantity]),
                        "lower": _finite(cell[low]) if low else None,
                        "upper": _finite(cell[high]) if high else None,
                        "n": int(cell["n"]),
                        "prompts": int(cell["prompts"]),
                        "note": str(cell["reason"].item()),
                    }
                )
    return result


def durability_records(tables: Mapping[str, xr.Dataset], trait: str | None) -> list[Record]:
    """One record per experiment, continued run, stored step, trait and quantity; `before` at step 0 only."""
    result: list[Record] = []
    for experiment, table in tables.items():
        for i, name in enumerate(table["run"].values.astype(str)):
            part = table.isel(run=i)
            for t in table["trait"].values.astype(str):
                common: Record = {
                    "table": "durability",
                    "experiment": experiment,
                    "run": str(name),
                    "prompt": str(part["run_prompt"].item()),
                    "prefix_type": str(part["prefix_type"].item()),
                    "seed": int(part["seed"]),
                    "trait": str(t),
                    "note": "; ".join(
                        f"{label} {value}" if label else value
                        for label, value in (
                            ("continues", str(part["start"].item())),
                            ("data", str(part["data"].item())),
                            ("against", str(part["against"].item())),
                        )
                        if value
                    ),
                }
                for step in table["step"].values.tolist():
                    cell = part.sel(step=step, trait=t)
                    names = ("before", *DURABLE) if step == 0 else DURABLE
                    for quantity in names if trait in (None, t) else ():
                        if np.isfinite(cell[quantity]):
                            result.append(
                                {
                                    **common,
                                    "step": int(step),
                                    "quantity": quantity,
                                    "value": _finite(cell[quantity]),
                                    "lower": _finite(cell[f"{quantity}_lower"]),
                                    "upper": _finite(cell[f"{quantity}_upper"]),
                                    "n": int(cell["n"]),
                                }
                            )
    return result


def misalignment_records(tables: Mapping[str, xr.Dataset]) -> list[Record]:
    """One record per experiment, run and set of instructions; `value` is the share, 0-1."""
    return [
        {
            "table": "misalignment",
            "experiment": experiment,
            "run": str(cell["run"].item()),
            "prompt": str(cell["run_prompt"].item()),
            "prefix_type": str(cell["prefix_type"].item()),
            "seed": int(cell["seed"]),
            "set": str(cell["evaluation_set"].item()),
            "value": _finite(cell["rate"]),
            "lower": _finite(cell["lower"]),
            "upper": _finite(cell["upper"]),
            "n": int(cell["n"]),
        }
        for experiment, table in tables.items()
        for r in range(table.sizes["run"])
        for s in range(table.sizes["evaluation_set"])
        for cell in (table.isel(run=r, evaluation_set=s),)
    ]


def print_json(
    tables: Tables, performance: xr.Dataset | None, why: str, trait: str | None, beside: Beside
) -> None:
    """One document: the records of each table, what was left out, and the baselines of the last table."""
    found = records(tables, performance, trait)
    document: dict[str, object] = {
        name: [{k: v for k, v in r.items() if k != "table"} for r in found if r["table"] == name]
        for name in PARTS
    }
    more = beside.records(trait)
    for name in ("durability", "misalignment"):
        document[name] = [{k: v for k, v in r.items() if k != "table"} for r in more if r["table"] == name]
    document["left_out"] = {
        experiment: list(
            dict.fromkeys(
                [
                    *parts["suppression"].attrs["left_out"],
                    *parts["gap"].attrs["left_out"],
                    *beside.left_out(experiment),
                ]
            )
        )
        for experiment, parts in tables.items()
    }
    if performance is None:
        document |= {"performance": None, "performance_missing_because": why}
    else:
        document["performance"] = [
            {k: v for k, v in r.items() if k != "table"} for r in performance_records(performance)
        ]
        document["baselines"] = [
            {"target": target}
            | {
                name: _finite(performance[name].sel(target=target))
                for name in performance
                if str(name).endswith(("_elicitation", "_constant"))
            }
            for target in TARGETS
        ]
        document["absent"] = performance.attrs["absent"]
        document |= {"recipe": performance.attrs["recipe"], "rows": performance.attrs["rows"]}
    click.echo(json.dumps(document, indent=1, allow_nan=False))


def print_csv(tables: Tables, performance: xr.Dataset | None, trait: str | None, beside: Beside) -> None:
    """All records as one long table; the column `table` says which it belongs to."""
    columns = [
        "table",
        "experiment",
        "run",
        "prompt",
        "prefix_type",
        "seed",
        "step",
        "asks_for",
        "trait",
        "set",
    ]
    columns += ["heuristic", "target", "quantity", "value", "lower", "upper", "n", "prompts", "note"]
    writer = csv.DictWriter(sys.stdout, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for record in [*records(tables, performance, trait), *beside.records(trait)]:
        writer.writerow({key: "" if value is None else value for key, value in record.items()})


def _finite(value: xr.DataArray) -> float | None:
    x = float(value)
    return x if np.isfinite(x) else None
