"""Training curves: the mean score of every run by step."""

# matplotlib's stubs leave some argument types unknown
# pyright: reportUnknownMemberType=false

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.figures import house
from inoc.figures.labels import EndLabels
from inoc.figures.sources import continued, one_of, roles_of
from inoc.outcomes import levels
from inoc.store.store import Store

MOST = 24
"""Runs named at most; the rest are drawn thin."""


def training_curves_data(store: Store) -> xr.Dataset:
    """mean, lower, upper, n (run, step, condition, trait) in pp, and the role of each run's prompt.

    Mean +/- 1.96 sd / sqrt(n) over instructions. Raises IncompleteStore without runs.
    """
    table = levels(store)
    later = continued(store, [str(name) for name in table["run"].values])
    table = table.sel(run=[str(name) for name in table["run"].values if str(name) not in later])
    own = [str(c) for c in table["condition"].values if str(c) in ("default", "training")]
    table = table.sel(condition=own) if own else table  # conditions of a leak grid are no curves
    roles = roles_of(store)
    prompts = [str(p) for p in table["run_prompt"].values]
    table = table.assign_coords(role=("run", [roles.get(p, "") if p else "control" for p in prompts]))
    n = table["n"].values
    table.attrs = {"n": int(n.max()) if n.size else 0, "missing": int((n == 0).sum()), "cells": int(n.size)}
    table.attrs["continued"] = len(later)
    return table


@house.styled
def plot_training_curves(
    store: Store,
    trait: str | None = None,
    condition: str = "default",
    *,
    log: bool = False,
    data: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Mean score of one trait (the first by default) by step, one line per run, 95 % intervals.

    `log`: logarithmic steps (step 0 at the left edge). `data`: what `training_curves_data` gave.
    """
    table = training_curves_data(store) if data is None else data
    chosen = one_of("trait", trait or str(table["trait"].values[0]), [str(t) for t in table["trait"].values])
    one_of("condition", condition, [str(c) for c in table["condition"].values])
    cell = table.sel(trait=chosen, condition=condition)
    ax = house.axes_or_new(ax, height=3.0)
    steps = cell["step"].values.astype(float)
    ends: list[tuple[float, float, str, str]] = []
    roles, kinds = [str(r) for r in cell["role"].values], [str(k) for k in cell["prefix_type"].values]
    for i, name in enumerate(cell["run"].values):
        mean = cell["mean"].values[i]
        shown = np.isfinite(mean)
        if not shown.any():
            continue
        control = roles[i] == "control"
        ink = "black" if control else house.colour(roles[i])
        ax.plot(
            steps[shown],
            mean[shown],
            ls=house.LINES.get(kinds[i], "-"),
            marker=house.MARKERS.get(kinds[i], "D"),
            color=ink,
            mfc=ink if control else house.face(roles[i]),
            ms=3,
            mew=0.7,
            lw=1.6 if control else 0.8,
            zorder=4 if control else 3,
        )
        lower, upper = cell["lower"].values[i][shown], cell["upper"].values[i][shown]
        house.intervals(ax, steps[shown], mean[shown], lower, upper, ink)
        label = "control" if control else house.signed(str(name), roles[i])
        ends.append((steps[shown][-1], mean[shown][-1], label, ink))
    if log and (steps > 0).any():
        ax.set_xscale("symlog", linthresh=float(steps[steps > 0].min()))
    ends.sort(key=lambda end: (end[2] != "control", -abs(end[1] - 50)))
    named = ends[:MOST]
    if named:
        x, y = (np.array([end[k] for end in named]) for k in (0, 1))
        EndLabels(ax, x, y, [end[2] for end in named], [end[3] for end in named])
    ax.set_xlabel("step (updates, log scale)" if log else "step (updates)")
    ax.set_ylabel(f"{chosen} score (pp)")
    ax.set_ylim(-3, 103)
    where = "no prompt" if condition == "default" else "own prompt" if condition == "training" else condition
    ax.set_title(f"{chosen}, {where} at evaluation")
    house.legend(ax, [*house.prefix_handles(kinds), *house.role_handles(roles)])
    house.describe(
        ax,
        f"Mean judge score by training step, n = {table.attrs['n']} instructions at most.",
        "Vertical lines are 95 % intervals over instructions.",
        house.left_out(_left_out(table)),
        f"{len(ends) - MOST} of {len(ends)} lines carry no name." if len(ends) > MOST else "",
    )
    return ax


def _left_out(table: xr.Dataset) -> list[str]:
    missing, cells, later = (int(table.attrs[name]) for name in ("missing", "cells", "continued"))
    reasons = [f"{missing} of {cells} cells of run, step, condition and trait"] if missing else []
    return [*reasons, f"{later} runs that continue another"] if later else reasons
