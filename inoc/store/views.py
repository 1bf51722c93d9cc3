"""The parts of a store as labeled xarray Datasets, with units and long names."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import xarray as xr

from inoc.errors import IncompleteStore
from inoc.store.reader import Reader
from inoc.store.runs import RunInfo
from inoc.store.schema import GROUPS, VariableSpec
from inoc.store.tables import union

_LONG_NAMES: Mapping[str, str] = {
    "score": "judge score",
    "baseline": "judge score without prefix",
    "coverage": "probability mass of valid judge answers",
    "judge": "judge identity",
    "loss": "training loss per weighted token",
    "learning_rate": "learning rate",
    "raw": "negative log-probability per token of the prompt alone",
    "context": "negative log-probability per token of the prompt as first words of a user turn",
}


def _attributes(name: str, spec: VariableSpec | None) -> dict[str, str]:
    out = {"long_name": (spec.long_name if spec else "") or _LONG_NAMES.get(name, name.replace("_", " "))}
    if spec and spec.units:
        out["units"] = spec.units
    return out


def group(store: Reader, where: str) -> xr.Dataset | None:
    """All variables of a group, or None without the group; variables named like their dim become coordinates."""
    if not store.has(where):
        return None
    data: dict[str, xr.Variable] = {}
    specs = GROUPS[where.split("/")[0]]
    for name in store.variables(where):
        spec = specs.get(name)
        dims = spec.dims if spec else ("prompt",)
        data[name] = xr.Variable(dims, store.read(f"{where}/{name}"), _attributes(name, spec))
    coords = {n: v for n, v in data.items() if v.dims == (n,)}
    return xr.Dataset({n: v for n, v in data.items() if n not in coords}, coords=coords)


def needed(store: Reader, where: str, what: str) -> xr.Dataset:
    """A group; IncompleteStore where the store does not have it."""
    found = group(store, where)
    if found is None:
        raise IncompleteStore(f"{store.path} has no {what}. Fix: run `inoc score` or `inoc import`.")
    return found


def prefill_counts(store: Reader, run: str) -> xr.Dataset:
    """What the checkpoints of a run do after prefills."""
    where = f"emergence/{run}"
    return needed(store, where, f"prefill counts of {run}").assign_attrs(store.attributes(where))


def scores(store: Reader) -> xr.Dataset | None:
    """All runs on common axes; what a run was not evaluated at, and evaluations not done, are NaN."""
    names = store.subgroups("runs")
    if not names:
        return None
    parts = {name: _evaluations(store, name) for name in names}
    axes = {dim: union(*(list(p[dim]) for p in parts.values())) for dim in ("condition", "trait", "instruction")}
    steps = sorted({int(s) for p in parts.values() for s in p["step"]})
    shape = (len(names), len(steps), *(len(axis) for axis in axes.values()))
    score, coverage = np.full(shape, np.nan), np.full(shape, np.nan)
    judge = np.full((len(names), len(axes["trait"])), "", dtype=object)
    for r, part in enumerate(parts.values()):
        at = np.ix_([steps.index(int(s)) for s in part["step"]], *([axes[d].index(v) for v in part[d]] for d in axes))
        score[r][at], coverage[r][at] = part["score"], part["coverage"]
        judge[r, [axes["trait"].index(t) for t in part["trait"]]] = part["judge"]
    dims = ("run", "step", *axes)
    spec = GROUPS["runs"]
    return xr.Dataset(
        {
            "score": (dims, score, _attributes("score", spec["score"])),
            "coverage": (dims, coverage, _attributes("coverage", spec["coverage"])),
            "judge": (("run", "trait"), judge, _attributes("judge", None)),
        },
        coords={
            "run": list(names),
            "step": ("step", steps, {"units": "update"}),
            **axes,
            **_run_coords([store.run(name) for name in names]),
        },
    )


_LABELS = ("step", "condition", "trait", "instruction", "judge")


def _evaluations(store: Reader, name: str) -> dict[str, np.ndarray]:
    """The variables of one run; evaluations not done are NaN."""
    where = f"runs/{name}"
    return {v: store.read(f"{where}/{v}") for v in (*_LABELS, "score", "coverage")}


def _run_coords(runs: Sequence[RunInfo]) -> dict[str, tuple[str, np.ndarray, dict[str, str]]]:
    def column(name: str, dtype: str, long_name: str) -> tuple[str, np.ndarray, dict[str, str]]:
        values = np.asarray([getattr(run, name) for run in runs], dtype=dtype)
        return "run", values, {"long_name": long_name}

    return {
        "run_prompt": column("prompt", "object", "inoculation prompt of the run; empty = control"),
        "prefix_type": column("prefix_type", "object", "none, fixed or mix"),
        "seed": column("seed", "int64", "training seed; -1 = unknown"),
        "nominal_step": column("nominal_step", "int64", "last full update; -1 = unknown"),
    }


def losses(store: Reader) -> xr.Dataset | None:
    """Training losses of all runs on the union of their updates; None where no run has any."""
    parts = {
        name: {v: store.read(f"runs/{name}/{v}") for v in ("update", "loss", "learning_rate")}
        for name in store.subgroups("runs")
    }
    parts = {name: part for name, part in parts.items() if part["update"].size}
    if not parts:
        return None
    updates = sorted({int(u) for p in parts.values() for u in p["update"]})
    table = {v: np.full((len(parts), len(updates)), np.nan) for v in ("loss", "learning_rate")}
    for r, part in enumerate(parts.values()):
        at = [updates.index(int(u)) for u in part["update"]]
        for v, values in table.items():
            values[r, at] = part[v]
    return xr.Dataset(
        {v: (("run", "update"), values, _attributes(v, GROUPS["runs"][v])) for v, values in table.items()},
        coords=cast("dict[str, list[str]]", {"run": list(parts), "update": updates}),
    )
