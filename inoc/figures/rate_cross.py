"""Rates of two files of questions against each other: what a run shows in its own domain and what spreads."""

from functools import partial

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.errors import IncompleteStore
from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.labels import along, name_points
from inoc.figures.layout import Panels
from inoc.figures.rates import rates_data
from inoc.figures.sources import Source, choose, columns_of, strings
from inoc.store.store import Store


@house.draws(rates_data)
def plot_rate_cross(
    store: Store,
    condition: str = "default",
    score: str | None = None,
    x: str | None = None,
    y: str | None = None,
    *,
    data: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the rate on one file of questions by the rate on another, a point per run with both Wilson intervals.

    Args:
        score: A rate of the experiment; None for the first.
        x: A named file of questions; None for the first.
        y: Another; None for the second.

    Raises:
        BadInput: The condition, the rate or a file is unknown.
        IncompleteStore: The questions come from one file.

    Example:
        >>> ax = inoc.plot_rate_cross(two_files)
        >>> ax.get_xlabel()
        'in_domain: Misaligned (% of answers)'
    """
    data = rates_data(store, condition) if data is None else data
    chosen, files = choose(data, "score", score), strings(data["file"])
    if len(files) < 2:
        raise IncompleteStore("the questions come from one file. Fix: name two in `evaluation.questions`.")
    sides = [choose(data, "file", x or files[0]), choose(data, "file", y or files[1])]
    cells = [data.loc[{"score": chosen, "file": side}] for side in sides]
    rates = [[100 * cell[k].values for k in ("rate", "lower", "upper")] for cell in cells]
    shown = np.flatnonzero(np.isfinite(rates[0][0]) & np.isfinite(rates[1][0]))
    (across, left, right), (up, low, high) = ([value[shown] for value in side] for side in rates)
    names, roles, kinds = columns_of(data.isel(run=shown), "run", "role", "prefix_type")
    inks = [house.color(role) for role in roles]
    ax = house.axes_or_new(ax)
    house.intervals(ax, across, up, low, high, inks)
    house.intervals(ax, across, up, left, right, inks, vertical=False)
    house.points(ax, across, up, roles, kinds)
    ax.axline((0, 0), slope=1, color="#888888", lw=0.8, ls="--", zorder=1)
    ax.set(xlim=(-5, 105), ylim=(-5, 105))
    ax.set(xlabel=f"{sides[0]}: {chosen} (% of answers)", ylabel=f"{sides[1]}: {chosen} (% of answers)")
    around = [np.column_stack([across, up]), along(across, low, high), along(up, left, right, vertical=False)]
    around.append(np.linspace([0.0, 0.0], [100.0, 100.0], 60))  # the dashed line
    name_points(ax, across, up, list(range(len(names))), names, roles, np.concatenate(around))
    house.legend(ax, [*house.prefix_handles(kinds), *house.role_handles(roles)])
    n = np.concatenate([cell["n"].values[shown] for cell in cells])
    house.describe(
        ax,
        f"Share of answers with {cells[0]['condition_text'].item()} by file of questions, final step, n = "
        f"{house.span(n)} answers; lines are 95 % Wilson intervals. On the dashed line both files show the same.",
        house.left_out(len(names) < data.sizes["run"] and f"{data.sizes['run'] - len(names)} runs without both"),
    )
    return ax


@figure("rate_cross", "rates", "Rates of two files of questions against each other, such as in-domain by general.")
def draw(source: Source) -> Panels:
    data = rates_data(source.store)
    plots = [partial(plot_rate_cross, source.store, score=score, data=data) for score in strings(data["score"])]
    return Panels(plots, len(plots), 2.8)
