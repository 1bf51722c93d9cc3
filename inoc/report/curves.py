"""What the page draws by update and by condition: training losses, scores, and scores under each condition."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from inoc.errors import BadInput, BrokenStore, IncompleteStore
from inoc.outcomes.stored_answers import better_high
from inoc.report.columns import Numbers, numbers
from inoc.report.outcomes import Estimate
from inoc.store.store import Store

MOST_POINTS = 200
"""Of one line; of a longer one the means of neighbors are drawn."""


@dataclass(frozen=True)
class Line:
    """One run: values by update, with 95 % bounds where they have some."""

    run: str
    prompt: str
    prefix_type: str
    x: list[int]
    y: Numbers
    low: Numbers | None
    high: Numbers | None


@dataclass(frozen=True)
class Chart:
    """The lines of all runs for one quantity."""

    name: str
    units: str
    note: str
    lines: list[Line]


@dataclass(frozen=True)
class LeakScore:
    """A score and whether a high one is good."""

    name: str
    high_is_good: bool


@dataclass(frozen=True)
class LeakRow:
    """One run: estimates [score][condition], None where missing."""

    run: str
    prompt: str
    prefix_type: str
    values: list[list[Estimate | None]]


@dataclass(frozen=True)
class Leaks:
    """Scores of every run at its final step by condition, probes by their category."""

    scores: list[LeakScore]
    conditions: list[str]
    rows: list[LeakRow]


def curves(store: Store) -> list[Chart]:
    """Scores by step (default condition first), then the training loss; empty without runs."""
    return [*_scores(store), *_losses(store)]


def _scores(store: Store) -> list[Chart]:
    from inoc.outcomes import levels

    if store.scores is None:
        return []
    table = levels(store)
    charts: list[Chart] = []
    steps = [int(step) for step in table["step"].values]
    for condition in table["condition"].values.astype(str).tolist():
        for score in table["score"].values.astype(str).tolist():
            part = table.sel(condition=condition, score=score).transpose("run", "step")
            known = np.isfinite(part["mean"].values)
            if not (known.sum(axis=1) > 1).any():
                continue
            lines: list[Line] = []
            for r in np.flatnonzero(known.any(axis=1)):
                at = np.flatnonzero(known[r])
                mean, low, high = (numbers(part[name].values[r, at]) for name in ("mean", "lower", "upper"))
                run, prompt, kind = (str(part[name].values[r]) for name in ("run", "run_prompt", "prefix_type"))
                lines.append(Line(run, prompt, kind, [steps[i] for i in at], mean, low, high))
            charts.append(Chart(f"{score}, {condition}", "score, 0–100", "Marks are means over questions.", lines))
    return charts


def _losses(store: Store) -> list[Chart]:
    table = store.losses
    if table is None:
        return []
    lines: list[Line] = []
    longest = 1
    updates = table["update"].values.astype(np.int64)
    for r, name in enumerate(table["run"].values.astype(str).tolist()):
        values = table["loss"].transpose("run", "update").values[r].astype(np.float64)
        at = np.flatnonzero(np.isfinite(values))
        together = -(-at.size // MOST_POINTS) or 1
        longest = max(longest, together)
        groups = np.split(at, np.arange(together, at.size, together)) if at.size else []
        run = store.run(name)
        y = numbers(np.array([values[group].mean() for group in groups], dtype=np.float64))
        lines.append(Line(name, run.prompt, run.prefix_type, [int(updates[g[-1]]) for g in groups], y, None, None))
    note = f"Means of up to {longest} updates." if longest > 1 else ""
    return [Chart("training loss", "nats per token", note, [line for line in lines if line.x])]


def leaks(store: Store) -> Leaks | None:
    """Scores by condition at the final step of every run; None without evaluated runs."""
    if store.scores is None:
        return None
    from inoc.outcomes import leaks as by_probe

    try:
        table = by_probe(store)
    except BrokenStore:
        raise
    except (BadInput, IncompleteStore):
        table = _at_last(store)
    known = np.isfinite(table["mean"].transpose("run", "condition", "score").values)
    if not known.any():
        return None
    scores = [name for s, name in enumerate(table["score"].values.astype(str).tolist()) if known[:, :, s].any()]
    conditions = [c for i, c in enumerate(table["condition"].values.astype(str).tolist()) if known[:, i].any()]
    rows: list[LeakRow] = []
    for r in np.flatnonzero(known.any(axis=(1, 2))):
        part = table.isel(run=r)
        values = [[_estimate(part.sel(score=s, condition=c)) for c in conditions] for s in scores]
        run, prompt, kind = (str(part[name].item()) for name in ("run", "run_prompt", "prefix_type"))
        rows.append(LeakRow(run, prompt, kind, values))
    return Leaks([LeakScore(name, better_high(store, name)) for name in scores], conditions, rows)


def _at_last(store: Store) -> xr.Dataset:
    """The levels of every run at its final step, by condition."""
    from inoc.outcomes import levels
    from inoc.outcomes.final import all_scores, final_step, with_setup

    table = levels(store)
    steps, _ = final_step(with_setup(all_scores(store), store.runs))
    place = {int(step): i for i, step in enumerate(table["step"].values)}
    kept = [r for r, step in enumerate(steps) if step >= 0]
    at = xr.DataArray([place[steps[r]] for r in kept], dims="run")
    return table.isel(run=kept).isel(step=at)


def _estimate(cell: xr.Dataset) -> Estimate | None:
    mean, low, high = numbers(np.array([float(cell[name]) for name in ("mean", "lower", "upper")]))
    return None if mean is None else Estimate(mean, low, high, int(cell["n"]))
