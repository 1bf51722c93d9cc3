"""Durability: how much of a suppression is left when a finished run is trained further on other data.

All in percentage points (pp) of a 0-100 judge score. A run that continues another is labelled by the prompt and prefix
type of the *first* training, whose effect is measured, whatever it was continued with.
"""

# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float64

from inoc.errors import IncompleteStore
from inoc.intervals import Interval, mean_z, paired_t
from inoc.outcomes.effects import run_scores
from inoc.outcomes.final import FinalScores, final_scores, other_judges
from inoc.store.store import Store

Scores = Float64[np.ndarray, "trait instruction"]
QUANTITIES: Mapping[str, str] = {
    "score": "score without any prompt (the leak)",
    "gate": "score under the prompt of the first training (the gate)",
    "returned": "score minus score at the end of the first training",
    "remaining": "what remains of the suppression",
}
NONE = (
    "no run continues another one, so nothing is known about durability; a line of `training.runs` with `start` (and "
    "`data`) makes one."
)


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

    Dims run (the continued runs), step (updates since the end of the first training; 0 is that end), trait. Variables,
    each with `_lower` and `_upper` ends of its 95 % interval:

    - `score` = mean score, default condition; `gate` = the same, training condition (mean +/- 1.96 sd / sqrt(n));
    - `returned` = score minus the score at step 0, paired by instruction (t);
    - `remaining` = reference minus score, paired by instruction (t). The reference is the control continued on the same
      data with the same settings, at the same step, where there is one (of the same seed, or the mean of all), and else
      the control at the end of the first training; coordinate `against` says which. NaN for a continued control;
    - `before` (run, trait) = suppression at the end of the first training, the x axis of the trade-off.

    `n` counts the instructions behind `remaining` (of a control: behind `score`). Coordinates on run: `run_prompt` and
    `prefix_type` of the first training, `seed`, `start`, `data`, `against`, `last` (largest stored step). Runs without
    numbers are named in the attribute `left_out`.

    Raises IncompleteStore where no run was continued, BadInput where two judges would be compared.
    """
    scores = run_scores(store)
    if not any(str(name) for name in scores["continues"].values):
        raise IncompleteStore(NONE)
    data = {name: run.data or "" for name, run in store.runs.items()}
    return durability_of(scores, final_scores(scores, include_flagged=include_flagged), data)


def durability_of(
    scores: xr.Dataset, final: FinalScores, data: Mapping[str, str] | None = None
) -> xr.Dataset:
    """`durability` of scores with the coordinates `setup` and `continues`, and the final scores picked from them."""
    start = {name: str(s) for name, s in zip(final.run, scores["continues"].values, strict=True)}
    place = {name: i for i, name in enumerate(final.run)}
    paths: dict[str, list[str]] = {}
    left_out: list[str] = []
    for name in (name for name in final.run if start[name]):
        chain = _chain(name, start)
        root = chain[0]
        if root not in place or not np.isfinite(final.score[place[root]]).any():
            why = final.flag[place[root]] if root in place else "it is not in the store"
            left_out.append(
                f"{name}: the run it continues, {root}, has no final scores ({why or 'none stored'})"
            )
        else:
            paths[name] = chain
    points = {name: _points(scores, final, chain, place) for name, chain in paths.items()}
    for name in [name for name, found in points.items() if len(found) < 2]:
        left_out.append(f"{name}: it was not evaluated after continuing; `inoc evaluate` does that")
        del points[name]
    first = [i for i, prompt in enumerate(final.prompt) if not prompt and np.isfinite(final.score[i]).any()]
    _check_judges(final, [*first, *(place[name] for run in points for name in paths[run])])
    names = list(points)
    steps = sorted({point.updates for found in points.values() for point in found})
    shape = (len(names), len(steps), len(final.trait))
    cells = {quantity: np.full((*shape, 4), np.nan) for quantity in QUANTITIES}
    before = np.full((len(names), shape[2], 4), np.nan)
    against: list[str] = []
    for r, name in enumerate(names):
        root = place[paths[name][0]]
        is_control = not final.prompt[root]
        controls = {k: v for k, v in points.items() if not final.prompt[place[paths[k][0]]]}
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
            "step": (
                "step",
                steps,
                {"units": "updates", "long_name": "updates since the first training ended"},
            ),
            "trait": list(final.trait),
            "run_prompt": ("run", [final.prompt[place[paths[name][0]]] for name in names]),
            "prefix_type": ("run", [final.prefix_type[place[paths[name][0]]] for name in names]),
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


def _cell(
    point: _Point, first: _Point, reference: Scores, trait: int, is_control: bool
) -> dict[str, Interval]:
    """The quantities of one run, step and trait."""
    found = {"score": mean_z(point.leak[trait]), "returned": paired_t(point.leak[trait], first.leak[trait])}
    if point.gate is not None:
        found["gate"] = mean_z(point.gate[trait])
    if not is_control:
        found["remaining"] = paired_t(reference[trait], point.leak[trait])
    return found


def _chain(name: str, start: Mapping[str, str]) -> list[str]:
    """From the first training to `name`."""
    chain = [name]
    while start.get(chain[0]) and start[chain[0]] not in chain:
        chain.insert(0, start[chain[0]])
    return chain


def _points(
    scores: xr.Dataset, final: FinalScores, chain: Sequence[str], place: Mapping[str, int]
) -> list[_Point]:
    """Every stored step along a chain of runs; the first is the end of the first training."""
    order = ("run", "step", "trait", "instruction")
    conditions = [str(c) for c in scores["condition"].values]
    leak = np.asarray(scores["score"].sel(condition="default").transpose(*order).values, dtype=np.float64)
    gate = None
    if "training" in conditions:
        gate = np.asarray(
            scores["score"].sel(condition="training").transpose(*order).values, dtype=np.float64
        )
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
        count = np.isfinite(block).sum(axis=0)
        total = np.where(np.isfinite(block), block, 0.0).sum(axis=0)
        result.append(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))
    return result


def _check_judges(final: FinalScores, runs: Sequence[int]) -> None:
    for t, trait in enumerate(final.trait):
        seen = {str(final.judge[i, t]): f"run {final.run[i]}" for i in runs}
        if len(seen) > 1:
            raise other_judges(trait, list(seen.items()))


def _put(table: xr.Dataset, name: str, dims: tuple[str, ...], cells: np.ndarray, about: str) -> None:
    for i, end in enumerate(("", "_lower", "_upper")):
        bound = f", {end[1:]} end of the 95 % interval" if end else ""
        table[name + end] = (dims, cells[..., i], {"units": "pp", "long_name": about + bound})
