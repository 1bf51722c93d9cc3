"""The parts of a store as labeled xarray Datasets, with units and long names."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import xarray as xr

from inoc.errors import IncompleteStore
from inoc.store.reader import Reader
from inoc.store.runs import RunInfo
from inoc.store.schema import CONDITIONS, GROUPS, VariableSpec
from inoc.store.scored import answered, by_question, conditions_of
from inoc.store.tables import union

_LONG_NAMES: Mapping[str, str] = {
    "score": "judge score",
    "value": "score, mean over the answers to a question",
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
    runs = conditions_of(store, store.subgroups("runs"))
    if not runs:
        return None
    parts = [(r, answered(store, name)) for r, names in enumerate(runs.values()) for name in names]
    found = [(r, part, by_question(part)) for r, part in parts]
    steps = sorted({step for _, part in parts for step in part.steps})
    axes = {
        "condition": union(*(part.conditions for _, part in parts)),
        "score": union(*(part.scores for _, part in parts)),
        "question": union(*(means.questions for _, _, means in found)),
    }
    shape = (len(runs), len(steps), *(len(axis) for axis in axes.values()))
    value, coverage, answers = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, dtype=np.int64)
    judge = np.full((len(runs), len(axes["score"])), "", dtype=object)
    files, asked = dict[str, str](), dict[str, int]()
    for r, part, means in found:
        at = np.ix_(
            [steps.index(step) for step in part.steps],
            [axes["condition"].index(condition) for condition in part.conditions],
            [axes["score"].index(score) for score in part.scores],
            [axes["question"].index(question) for question in means.questions],
        )
        value[r][at], coverage[r][at], answers[r][at] = means.value, means.coverage, means.answers
        judge[r, [axes["score"].index(score) for score in part.scores]] = part.judges
        files |= dict(zip(means.questions, means.files, strict=True))
        asked |= dict(zip(means.questions, means.asked.tolist(), strict=True))
    dims, known = ("run", "step", *axes), {score.name: score for score in store.measured}
    spec = GROUPS["runs"]
    return xr.Dataset(
        {
            "value": (dims, value, _attributes("value", spec["score"])),
            "coverage": (dims, coverage, _attributes("coverage", spec["coverage"])),
            "answers": (dims, answers, {"long_name": "answers with the score", "units": "1"}),
            "judge": (("run", "score"), judge, _attributes("judge", None)),
        },
        coords={
            "run": list(runs),
            "step": ("step", steps, {"units": "update"}),
            **axes,
            "role": ("score", [known[name].role if name in known else "" for name in axes["score"]]),
            "inverted": ("score", [name in known and known[name].inverted for name in axes["score"]]),
            "file": ("question", [files[question] for question in axes["question"]]),
            "asked": ("question", [asked[question] for question in axes["question"]]),
            "probe": ("condition", [category(store, condition) for condition in axes["condition"]]),
            **_run_coords([store.run(name) for name in runs]),
        },
    )


def category(store: Reader, condition: str) -> str:
    """The category of a probe; "" for any other condition."""
    return "" if condition in CONDITIONS else store.probes.get(condition, "other")


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
