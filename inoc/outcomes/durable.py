"""The trade-off of further training: what it brings of a capability, and what it leaves of a behavior."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float64

from inoc.errors import BadInput, IncompleteStore
from inoc.heuristics.maths.pointwise import mean_of_finite
from inoc.intervals import mean_interval
from inoc.names import unknown
from inoc.outcomes.final import all_scores
from inoc.store.runs import RunInfo
from inoc.store.store import Store

LEVELS = 21
"""Levels of the capability at which curves are averaged, evenly spread over what any of them reaches."""
FEWEST = 3
"""Prompts from which on an interval is for new prompts."""
Column = Float64[np.ndarray, " point"]
Curve = Float64[np.ndarray, " level"]
Drawn = Float64[np.ndarray, "2 _"]
PAIR = ("first", "second")
Unit = tuple[str, int, str]
"""Prompt, seed and further rows: what two ways of training are paired by."""


class _Point(NamedTuple):
    origin: str
    run: str
    prompt: str
    seed: int
    way: str
    data: str
    updates: int = 0
    capability: float = np.nan
    rate: float = np.nan


def record_highs(updates: Column, capability: Column) -> Bool[np.ndarray, " point"]:
    """The Pareto curve of few updates and much capability: the points that no other one beats in one of them and
    equals in the other; of equal ones the first. What became of a behavior plays no part."""
    best, chosen = -np.inf, np.zeros(updates.size, dtype=bool)
    for i in np.lexsort((-capability, updates)):
        if capability[i] > best:
            best, chosen[i] = capability[i], True
    return chosen


def tradeoff(store: Store, scores: Mapping[str, tuple[str, str]], *, condition: str = "training") -> xr.Dataset:
    """How much of a behavior is left by how much of a capability further training has brought.

    A run of a prompt (its trigger) is continued on other rows, at several learning rates. Its points are its own end
    and every checkpoint of the runs that continue it on the same rows. Of these a curve is chosen that does not look at
    the behavior (`record_highs`). Between its points the rate is linear in the capability, rate(c) = r_i + (r_j - r_i)
    (c - c_i) / (c_j - c_i), and undefined outside them. The area between two ways of training is the mean over the
    capabilities that both reach, 1 / (b - a) integral_a^b (first - second) dc, of runs with the same prompt, seed and
    further rows.

    Args:
        store: A store with evaluated runs, some of which continue others.
        scores: For each prompt the scores that stand for (behavior, capability): the rate of the behavior is the mean
            of its score over questions, of a score that is a rate the share of answers. More of a capability is better.
        condition: Where the behavior is asked for: `training` (under the prompt), `default` or a probe. The
            capability is that of `default`.

    Returns:
        By point: `capability` and `rate` (0-100), `chosen`; coordinates `origin` (the run continued), `run`, `prompt`,
        `seed`, `way` (method, rank, whether merged, share of rows with the prompt), `data` and `updates` (0: the end of
        the first training). By way_of and level (of capability): `mean`, `mean_lower`, `mean_upper` over runs,
        pointwise, and `mean_n`, the runs whose curve reaches the level. By pair (`first`, `second`): `area`,
        `area_lower`, `area_upper` (pp) and `area_n`, the pairs of runs.

        Intervals are 95 % t intervals over prompts (seeds averaged) from 3 prompts on, else over prompts and seeds: the
        attribute `over` says which. `left_out` names runs without numbers.

    Raises:
        IncompleteStore: No run of these prompts was continued and evaluated.
        BadInput: There is no such score or condition.
    """
    table = all_scores(store)
    known = {name: table[name].values.astype(str).tolist() for name in ("run", "score", "condition")}
    for kind, names in (("score", [n for pair in scores.values() for n in pair]), ("condition", [condition])):
        if strange := [name for name in names if name not in known[kind]]:
            raise BadInput(unknown(kind, strange[0], known[kind]))
    dims = ("run", "step", "condition", "score", "question")
    means = mean_of_finite(np.asarray(table["value"].transpose(*dims).values, dtype=np.float64))
    asked, plain = (known["condition"].index(name) for name in (condition, "default"))

    def evaluated(run: RunInfo, about: _Point) -> list[_Point]:
        behavior, capability = map(known["score"].index, scores[about.prompt])
        block = means[known["run"].index(run.name)] if run.name in known["run"] else means[0, :0]
        steps = zip(table["step"].values.tolist(), block[:, plain, capability], block[:, asked, behavior], strict=False)
        found = [about._replace(updates=u, capability=float(c), rate=float(r)) for u, c, r in steps]
        return [p for p in found if p.updates > 0 and np.isfinite(p.capability + p.rate)]

    points: dict[_Point, None] = {}
    origins: dict[tuple[str, Unit], str] = {}
    left_out: list[str] = []
    for name, run in store.runs.items():
        first = store.runs.get(run.start or "")
        if first is not None and first.prompt in scores:
            about = _Point(first.name, name, first.prompt, first.seed, _way(first, run), Path(run.data or "").stem)
            alike = origins.setdefault((about.way, (about.prompt, about.seed, about.data)), first.name)
            ends, new = evaluated(first, about), evaluated(run, about)
            if first.start or alike != first.name:
                left_out.append(f"{name}: {first.name} {'continues a run' if first.start else f'is like {alike}'}")
            elif ends and new:
                points |= dict.fromkeys([ends[-1]._replace(run=first.name, updates=0), *new])
            else:
                left_out.append(f"{name}: it or its start has no scores")
    if not points:
        raise IncompleteStore(
            "no run of these prompts was continued and evaluated. Fix: add lines with `start` to `training.runs`."
        )
    return _averaged(list(points), left_out)


def _way(first: RunInfo, more: RunInfo) -> str:
    """How a behavior was trained in, in words."""
    method, rank = (str(first.settings.get(name, "")) for name in ("method", "rank"))
    data = cast("Sequence[Mapping[str, object]]", rows) if isinstance(rows := first.settings.get("data"), list) else ()
    shares = [entry["share"] for entry in data if entry.get("prefix", "own") == "own" and "share" in entry]
    merged = " merged" if more.settings.get("merge") else ""
    triggered = "".join(f", {float(str(share)):.0%} triggered" for share in shares)
    return (f"lora rank {rank}" if method == "lora" else method) + merged + triggered


def _averaged(points: Sequence[_Point], left_out: list[str]) -> xr.Dataset:
    """The table of points with their curves, means and areas."""
    columns = {name: np.array([getattr(p, name) for p in points]) for name in _Point._fields}
    groups: dict[str, dict[Unit, list[int]]] = {}
    for i, p in enumerate(points):
        groups.setdefault(p.way, {}).setdefault((p.prompt, p.seed, p.data), []).append(i)
    able, rate, chosen = columns["capability"], columns["rate"], np.zeros(len(points), dtype=bool)
    curves: dict[str, dict[Unit, Drawn]] = {way: {} for way in groups}
    for way, units in groups.items():
        for unit, places in units.items():
            at = np.array(places)
            at = at[record_highs(columns["updates"][at].astype(np.float64), able[at])]
            chosen[at] = True
            curves[way][unit] = np.stack([able[at], rate[at]])[:, np.argsort(able[at])]
    levels = np.linspace(float(able[chosen].min()), float(able[chosen].max()), LEVELS)
    across = [_mean({unit: _at(levels, curve) for unit, curve in units.items()}) for units in curves.values()]
    both = [(a, b, [u for u in curves[a] if u in curves[b]]) for a, b in combinations(curves, 2)]
    both = [pair for pair in both if pair[2]]
    areas = [_mean({unit: _area(curves[a][unit], curves[b][unit]) for unit in units}) for a, b, units in both]
    of = "prompts" if np.unique(columns["prompt"]).size >= FEWEST else "prompts and seeds"
    result = xr.Dataset(
        {
            "capability": ("point", able, {"units": "%", "long_name": "capability"}),
            "rate": ("point", rate, {"units": "%", "long_name": "rate of the behavior"}),
            "chosen": ("point", chosen, {"units": "1", "long_name": "on the curve of updates and capability"}),
        },
        {
            **{name: ("point", columns[name]) for name in _Point._fields[:-2]},
            "way_of": list(curves),
            "level": ("level", levels, {"units": "1", "long_name": "capability (0-100)"}),
            **{name: ("pair", np.array([pair[k] for pair in both], dtype=str)) for k, name in enumerate(PAIR)},
        },
        {"left_out": left_out, "over": of},
    )
    for name, dims, cells, units, about in (
        ("mean", ("way_of", "level"), across, "%", "mean rate of the behavior"),
        ("area", ("pair",), areas, "pp", "area between two curves by their common width"),
    ):
        block = np.array(cells).reshape(-1, 4, *(LEVELS,) * (name == "mean"))
        for k, end in enumerate(("", "_lower", "_upper")):
            result[name + end] = (dims, block[:, k], {"units": units, "long_name": about + end.replace("_", ", ")})
        result[f"{name}_n"] = (dims, block[:, 3].astype(np.int64), {"units": "1", "long_name": "runs"})
    return result


def _at(levels: Curve, curve: Drawn) -> Curve:
    """The rate of a curve [capability, rate] at levels of the capability; NaN outside it."""
    return np.asarray(np.interp(levels, curve[0], curve[1], left=np.nan, right=np.nan), dtype=np.float64)


def _area(one: Drawn, two: Drawn) -> Curve:
    """The mean difference of two curves over their common range; NaN where there is none."""
    low, high = max(one[0, 0], two[0, 0]), min(one[0, -1], two[0, -1])
    if not low < high:
        return np.array([np.nan])
    where = np.unique(np.clip(np.concatenate([one[0], two[0]]), low, high))
    between = _at(where, one) - _at(where, two)
    return np.array([np.sum((between[1:] + between[:-1]) / 2 * np.diff(where)) / (high - low)])


def _mean(units: Mapping[Unit, Curve]) -> Float64[np.ndarray, "4 level"]:
    """Mean, interval and number of the runs that have a value; over prompts where there are enough of them."""
    rows, of = np.array(list(units.values())).T, np.array([prompt for prompt, _, _ in units])
    n, prompts = np.isfinite(rows).sum(1), np.unique(of)
    if prompts.size >= FEWEST:
        rows = np.stack([mean_of_finite(rows[:, of == prompt]) for prompt in prompts], axis=1)
    return np.stack([mean_of_finite(rows), *mean_interval(rows).T, n])
