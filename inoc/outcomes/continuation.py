"""Durability: how much of a suppression is left when a finished run is trained further on other data.

All in percentage points (pp) of a 0-100 judge score. A run that continues an earlier one is labeled by the prompt and
prefix type of the *first* training, whose effect is measured, independent of what it was continued with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float64

from inoc.errors import IncompleteStore
from inoc.heuristics.maths.pointwise import mean_of_finite
from inoc.intervals import Interval, mean_level, paired_t
from inoc.outcomes.final import FinalScores, check_judges, final_scores, run_scores
from inoc.store.store import Store

Scores = Float64[np.ndarray, "trait question"]
QUANTITIES: Mapping[str, str] = {
    "score": "score without any prompt (the leak)",
    "gate": "score under the prompt of the first training (the gate)",
    "returned": "score minus score at the end of the first training",
    "remaining": "what remains of the suppression",
}


@dataclass(frozen=True)
class _Point:
    """A stored evaluation of a continued run: updates since the first training ended, and the scores."""

    updates: int
    leak: Scores
    gate: Scores | None
    setup: str
    """Training settings and depth of continuation, which a control continued alike shares."""


def durability(store: Store, *, include_flagged: bool = False) -> xr.Dataset:
    """What continued training does to every run that was continued.

    Args:
        store: A store with evaluated runs, some of which continue others.
        include_flagged: Keep first trainings whose late steps contradict each other.

    Returns:
        Dims run (the continued runs), step (updates since the end of the first training; 0 is that end), trait, in
        pp, each with the `_lower` and `_upper` end of its 95 % interval:

        - `score`: mean score, default condition; `gate`: the same, training condition (mean +/- 1.96 sd / sqrt(n));
        - `returned`: score minus the score at step 0, paired by instruction (t);
        - `remaining`: reference minus score, paired by instruction (t). The reference is the control continued on
          the same data with the same settings, at the same step, where there is one (of the same seed, or the mean
          of all), and else the control at the end of the first training; coordinate `against` says which. NaN for a
          continued control;
        - `before` (run, trait): suppression at the end of the first training, the x axis of the trade-off.

        `n` counts the instructions behind `remaining` (of a control: behind `score`). Coordinates on run:
        `run_prompt` and `prefix_type` of the first training, `seed`, `start`, `data`, `against`, `last` (largest
        stored step). The attribute `left_out` names runs without numbers.

    Raises:
        IncompleteStore: No run was continued, or the store has no control run.
        BadInput: Scores of two judges would be compared.
    """
    scores = run_scores(store)
    if not any(str(name) for name in scores["continues"].values):
        raise IncompleteStore(
            "no run continues an earlier one, so nothing is known about durability. Fix: add a line with `start` (and "
            "`data`) to `training.runs`."
        )
    data = {name: run.data or "" for name, run in store.runs.items()}
    return durability_of(scores, final_scores(scores, include_flagged=include_flagged), data)


def durability_of(scores: xr.Dataset, final: FinalScores, data: Mapping[str, str] | None = None) -> xr.Dataset:
    """`durability` of scores with the coordinates `setup` and `continues`, and the final scores picked from them."""
    start = {name: str(s) for name, s in zip(final.run, scores["continues"].values, strict=True)}
    place = {name: i for i, name in enumerate(final.run)}
    paths: dict[str, list[str]] = {}
    points: dict[str, list[_Point]] = {}
    left_out: list[str] = []
    for name in (name for name in final.run if start[name]):
        chain = _chain(name, start)
        root = chain[0]
        if root not in place or not np.isfinite(final.score[place[root]]).any():
            why = final.flag[place[root]] if root in place else "it is not in the store"
            left_out.append(f"{name}: the run it continues, {root}, has no final scores ({why or 'none stored'})")
        elif len(found := _points(scores, final, chain, place)) < 2:
            left_out.append(f"{name}: it was not evaluated after continuing; `inoc evaluate` does that")
        else:
            paths[name], points[name] = chain, found
    first = [i for i, prompt in enumerate(final.prompt) if not prompt and np.isfinite(final.score[i]).any()]
    check_judges(final, runs=[*first, *(place[name] for path in paths.values() for name in path)])
    names, roots = list(points), {name: place[path[0]] for name, path in paths.items()}
    controls = {name: found for name, found in points.items() if not final.prompt[roots[name]]}
    steps = sorted({point.updates for found in points.values() for point in found})
    shape = (len(names), len(steps), len(final.trait))
    cells = {quantity: np.full((*shape, 4), np.nan) for quantity in QUANTITIES}
    before = np.full((len(names), shape[2], 4), np.nan)
    against: list[str] = []
    for r, (name, root) in enumerate(roots.items()):
        is_control = name in controls
        references = _references(points[name], controls, final, root)
        against.append("" if is_control else "control continued alike" if references else "first control")
        for t in range(shape[2]):
            if not is_control:
                before[r, t] = paired_t(final.control[root, t], final.score[root, t])
            for p, point in enumerate(points[name]):
                s = steps.index(point.updates)
                reference = references[p] if references else final.control[root]
                for quantity, interval in _cell(point, points[name][0], reference, t, is_control).items():
                    cells[quantity][r, s, t] = interval
    dims = ("run", "step", "trait")
    result = xr.Dataset(
        coords={
            "run": names,
            "step": ("step", steps, {"units": "updates", "long_name": "updates since the first training ended"}),
            "trait": list(final.trait),
            "run_prompt": ("run", [final.prompt[root] for root in roots.values()]),
            "prefix_type": ("run", [final.prefix_type[root] for root in roots.values()]),
            "seed": ("run", [int(final.seed[place[name]]) for name in names]),
            "start": ("run", [start[name] for name in names]),
            "data": ("run", [(data or {}).get(name, "") for name in names]),
            "against": ("run", against),
            "last": ("run", [points[name][-1].updates for name in names]),
        },
        attrs={"left_out": left_out},
    )
    for quantity, about in QUANTITIES.items():
        _put(result, quantity, dims, cells[quantity], about)
    _put(result, "before", ("run", "trait"), before, "suppression at the end of the first training")
    n = np.where(np.isfinite(cells["remaining"][..., 3]), cells["remaining"][..., 3], cells["score"][..., 3])
    result["n"] = (dims, np.nan_to_num(n).astype(np.int64), {"units": "1", "long_name": "instructions used"})
    return result


def at_last(table: xr.Dataset, name: str) -> Float64[np.ndarray, "run trait"]:
    """A variable (run, step, trait) of `durability` at every run's last step."""
    where = np.searchsorted(table["step"].values, table["last"].values)
    values = table[name].transpose("run", "step", "trait").values
    return np.asarray(values[np.arange(len(where)), where], dtype=np.float64)


def _cell(point: _Point, first: _Point, reference: Scores, trait: int, is_control: bool) -> dict[str, Interval]:
    """The quantities of one run, step and trait."""
    found = {"score": mean_level(point.leak[trait]), "returned": paired_t(point.leak[trait], first.leak[trait])}
    if point.gate is not None:
        found["gate"] = mean_level(point.gate[trait])
    if not is_control:
        found["remaining"] = paired_t(reference[trait], point.leak[trait])
    return found


def _chain(name: str, start: Mapping[str, str]) -> list[str]:
    """From the first training to `name`."""
    chain = [name]
    while start.get(chain[0]) and start[chain[0]] not in chain:
        chain.insert(0, start[chain[0]])
    return chain


def _points(scores: xr.Dataset, final: FinalScores, chain: Sequence[str], place: Mapping[str, int]) -> list[_Point]:
    """Every stored step along a chain of runs; the first is the end of the first training."""

    def condition(name: str) -> Float64[np.ndarray, "run step trait question"]:
        cells = scores.sel(condition=name)["score"].transpose("run", "step", "trait", "question")
        return np.asarray(cells.values, dtype=np.float64)

    leak = condition("default")
    gate = condition("training") if "training" in scores["condition"].values else None
    stored = [int(s) for s in scores["step"].values]
    root = place[chain[0]]
    own = stored.index(int(final.step[root]))
    found = [_Point(0, final.score[root], None if gate is None else gate[root, own], "")]
    for depth, name in enumerate(chain[1:]):
        run, offset = place[name], found[-1].updates
        setup = f"{depth} {scores['setup'].values[run]}"
        found += [
            _Point(offset + step, leak[run, s], None if gate is None else gate[run, s], setup)
            for s, step in enumerate(stored)
            if step > 0 and np.isfinite(leak[run, s]).any()
        ]
    return found


def _references(
    points: Sequence[_Point], controls: Mapping[str, Sequence[_Point]], final: FinalScores, root: int
) -> list[Scores]:
    """The control continued alike at every point, where there is one at all of them; else nothing."""
    seeds = {name: int(final.seed[final.run.index(name)]) for name in controls}
    result: list[Scores] = [final.control[root]]
    for point in points[1:]:
        alike = {
            name: other.leak
            for name, found in controls.items()
            for other in found
            if other.updates == point.updates and other.setup == point.setup
        }
        same = [leak for name, leak in alike.items() if seeds[name] == int(final.seed[root])]
        block = np.array(same or list(alike.values()))
        if not block.size:
            return []
        result.append(mean_of_finite(np.moveaxis(block, 0, -1)))
    return result


def _put(table: xr.Dataset, name: str, dims: tuple[str, ...], cells: np.ndarray, about: str) -> None:
    for i, end in enumerate(("", "_lower", "_upper")):
        bound = f", {end[1:]} end of the 95 % interval" if end else ""
        table[name + end] = (dims, cells[..., i], {"units": "pp", "long_name": about + bound})
