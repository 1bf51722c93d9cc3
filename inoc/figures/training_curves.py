"""Training curves: the mean score of every run by step."""

from functools import partial

import xarray as xr
from matplotlib.axes import Axes

from inoc.errors import IncompleteStore
from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.curves import Runs, draw_curves
from inoc.figures.layout import Panels
from inoc.figures.sources import Source, choose, columns_of, continued, strings, with_roles
from inoc.outcomes import levels
from inoc.store.store import Store

CONDITIONS = {"default": "no prompt", "training": "own prompt"}


def training_curves_data(store: Store) -> xr.Dataset:
    """Mean scores by step, with +/- 1.96 sd / sqrt(n) over instructions.

    Args:
        store: The store to read.

    Returns:
        `mean`, `lower`, `upper` in pp and `n` instructions (run, step, condition, score), with the role of each
        run's prompt. Runs that continue another run and conditions of a leak grid are left out.

    Raises:
        IncompleteStore: The store has no runs.
    """
    table = levels(store)
    later = continued(store, strings(table["run"]))
    own = [c for c in strings(table["condition"]) if c in CONDITIONS]
    table = table.loc[{"run": [name for name in strings(table["run"]) if name not in later]}]
    table = with_roles(store, table.loc[{"condition": own}] if own else table, "run_prompt")
    n = table["n"].values
    table.attrs = {
        "n": int(n.max(initial=0)), "missing": int((n == 0).sum()), "cells": n.size, "continued": len(later)
    }  # fmt: skip
    return table


@house.draws(training_curves_data)
def plot_training_curves(
    store: Store,
    score: str | None = None,
    condition: str = "default",
    *,
    log: bool = False,
    data: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the mean of one score by step, one line per run up to 12, else means of groups, with 95 % intervals.

    Args:
        score: The name of a score; None for the first.
        condition: "default" (no prompt at evaluation) or "training" (the run's own prompt).
        log: Use a logarithmic axis of steps, with step 0 at the left edge.

    Raises:
        BadInput: The score or the condition is unknown.

    Example:
        >>> ax = inoc.plot_training_curves(store, "German", log=True)
        >>> ax.get_ylabel()
        'German score (pp)'
    """
    data = training_curves_data(store) if data is None else data
    chosen = choose(data, "score", score)
    cell = data.loc[{"score": chosen, "condition": choose(data, "condition", condition)}]
    ax = house.axes_or_new(ax, height=3.0)
    steps = cell["step"].values.astype(float)
    names, roles, kinds = columns_of(cell, "run", "role", "prefix_type")
    mean, lower, upper = (cell[part].values for part in ("mean", "lower", "upper"))
    said = draw_curves(ax, steps, mean, Runs(names, strings(cell["run_prompt"]), roles, kinds), (lower, upper))
    if log and (steps > 0).any():
        ax.set_xscale("symlog", linthresh=float(steps[steps > 0].min()))
    ax.set(xlabel="step (updates, log scale)" if log else "step (updates)", ylabel=f"{chosen} score (pp)")
    ax.set_ylim(-3, 103)
    ax.set_title(f"{chosen}, {CONDITIONS.get(condition, condition)} at evaluation")
    house.legend(ax, [*house.prefix_handles(kinds), *house.role_handles(roles)])
    missing, cells, later = (data.attrs[name] for name in ("missing", "cells", "continued"))
    house.describe(
        ax,
        f"Mean judge score by training step, n = {data.attrs['n']} instructions at most.",
        "Vertical lines are 95 % intervals over instructions.",
        house.left_out(
            missing and f"{missing} of {cells} cells of run, step, condition and score",
            later and f"{later} runs that continue another",
        ),
        *said,
    )
    return ax


@figure("training_curves", "curves", "How each score changes during training, without and with the prompt.")
@figure("training_curves_log", "curves", "The same by logarithmic step, which shows the first updates.", log=True)
def draw(source: Source, log: bool = False) -> Panels:
    data = training_curves_data(source.store)
    if log and int((data["step"] > 0).sum()) < 3:
        raise IncompleteStore("fewer than 3 steps after step 0 are stored: a logarithmic axis adds nothing")
    conditions = [c for c in strings(data["condition"]) if c in CONDITIONS]
    plots = [
        partial(plot_training_curves, source.store, score, condition, log=log, data=data)
        for score in strings(data["score"])
        for condition in conditions
    ]
    return Panels(plots, len(conditions), 2.7)
