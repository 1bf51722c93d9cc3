"""Leaks: how strongly every trained run shows a trait when a probe is put before the question."""

from functools import partial

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.layout import Panels
from inoc.figures.sources import Source, choose, columns_of, roles_of, strings, with_roles
from inoc.outcomes import leaks
from inoc.store.store import Store

FULL, PLAIN = 32.0, 14.0
"""Points of width from which a cell holds mean and interval, or the mean alone."""


def leaks_data(store: Store, by: str = "category") -> xr.Dataset:
    """Scores of the trained runs under probes, at the last step.

    Args:
        store: The store to read.
        by: "category" or "condition", as of `inoc.outcomes.leaks`.

    Returns:
        What `inoc.outcomes.leaks` returns, with the role of each run and of each condition.

    Raises:
        IncompleteStore: No run was asked under a probe.
    """
    data = with_roles(store, leaks(store, by=by), "run_prompt")
    known = np.asarray(np.isfinite(data["mean"].transpose("condition", ...).values).any(axis=(1, 2)))
    data = data.isel(condition=np.flatnonzero(known))
    conditions = strings(data["condition"])
    return data.assign(condition_role=("condition", roles_of(store, conditions))).set_coords("condition_role")


@house.draws(leaks_data)
def plot_leaks(
    store: Store,
    score: str | None = None,
    by: str = "category",
    *,
    data: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw scores as color, and as number with half the 95 % interval where the cells are large enough.

    Args:
        score: The name of a score; None for the first.

    Raises:
        BadInput: The score is unknown.

    Example:
        >>> ax = inoc.plot_leaks(store, "Flattering")
    """
    data = leaks_data(store, by) if data is None else data
    chosen = choose(data, "score", score)
    cell = data.sel(score=chosen).transpose("run", "condition")
    mean = cell["mean"].values
    half = ((cell["upper"] - cell["lower"]) / 2).values
    rows, columns = mean.shape
    width = house.COLUMN if columns <= 5 else house.PAGE
    ax = house.axes_or_new(ax, width, house.row_height(rows, 15.0, 1.5))
    shown = ax.imshow(mean, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    names, roles, conditions, asked = columns_of(cell, "run", "role", "condition", "condition_role")
    house.name_rows(ax, names, roles)
    ax.set_ylim(rows - 0.5, -0.5)
    tops = [{"default": "no prompt", "training": "own prompt"}.get(condition, condition) for condition in conditions]
    house.name_columns(ax, tops, [role or "control" for role in asked])
    ax.tick_params(length=0)
    ax.set(xlabel="text before the question at evaluation", ylabel="run")
    house.colorbar(ax, shown, f"{chosen} score (pp)", shrink=0.8, pad=0.02, aspect=25)
    ax.set_title(chosen)
    whole_figure = house.figure_of(ax)
    whole_figure.draw_without_rendering()  # so that the room of a cell is known
    room = ax.get_window_extent().width / whole_figure.dpi * 72 / columns
    for r, c in np.ndindex(mean.shape):
        if np.isfinite(mean[r, c]) and room >= PLAIN:
            ink = "white" if mean[r, c] < 55 else "black"
            both = room >= FULL and np.isfinite(half[r, c])
            text = f"{mean[r, c]:.0f} ±{half[r, c]:.0f}" if both else f"{mean[r, c]:.0f}"
            ax.text(c, r, text, ha="center", va="center", fontsize=6, color=ink)
    n, missing = cell["n"].values, int(np.isnan(mean).sum())
    house.describe(
        ax,
        f"Mean score of every run by the text before the questions, last step, n = {house.span(n[n > 0])} questions; "
        "± half of the 95 % interval where there is room.",
        house.left_out(missing and f"{missing} cells without scores"),
    )
    return ax


@figure("leaks", "leaks", "What every run shows by category of probe at evaluation.")
@figure("leaks_by_probe", "leaks", "The same, every probe by itself.", by="condition")
def draw(source: Source, by: str = "category") -> Panels:
    data = leaks_data(source.store, by)
    plots = [partial(plot_leaks, source.store, score, data=data) for score in strings(data["score"])]
    return Panels(plots, 1, house.row_height(data.sizes["run"], 15.0, 1.6), house.PAGE)
