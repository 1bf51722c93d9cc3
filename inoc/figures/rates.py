"""Rates: the share of answers for which a condition on their scores holds, run by run."""

from functools import partial

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.layout import Panels
from inoc.figures.sources import Source, choose, columns_of, strings, with_roles
from inoc.outcomes import rates
from inoc.store.store import Store


def rates_data(store: Store, condition: str = "default") -> xr.Dataset:
    """The rates of the experiment by run.

    Args:
        store: The store to read.
        condition: The condition at evaluation, such as "default" or "training".

    Returns:
        What `inoc.outcomes.rates` returns, with the role of each run's prompt.

    Raises:
        IncompleteStore: The store has no rate among its scores.
        BadInput: The condition is unknown.
    """
    if (scores := store.scores) is not None:
        choose(scores, "condition", condition)
    return with_roles(store, rates(store, condition), "run_prompt")


@house.draws(rates_data)
def plot_rates(
    store: Store,
    condition: str = "default",
    score: str | None = None,
    file: str | None = None,
    *,
    data: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one bar per run with its Wilson interval, the control run first, then the largest first.

    Args:
        score: A rate of the experiment; None for the first.
        file: A named file of questions; None for the first.

    Raises:
        BadInput: The condition, the rate or the file is unknown.

    Example:
        >>> ax = inoc.plot_rates(misaligned)
        >>> [tick.get_text() for tick in ax.get_yticklabels()]
        ['control', '− be_evil']
    """
    data = rates_data(store, condition) if data is None else data
    chosen, of = choose(data, "score", score), choose(data, "file", file)
    cell = data.loc[{"score": chosen, "file": of}]
    rate, lower, upper = (100 * cell[k].values for k in ("rate", "lower", "upper"))
    names, roles, kinds = columns_of(cell, "run", "role", "prefix_type")
    known = (int(i) for i in np.flatnonzero(np.isfinite(rate)))
    order = sorted(known, key=lambda i: (roles[i] != "control", -rate[i]))
    ax = house.axes_or_new(ax, height=house.row_height(len(order), 12.0))
    for at, i in enumerate(order):
        ink = "#222222" if roles[i] == "control" else house.color(roles[i])
        house.bar(ax, at, rate[i], 0.7, ink, kinds[i], alpha=0.85)
        ax.hlines(at, lower[i], upper[i], colors="black", lw=0.9, zorder=3)
    house.name_rows(ax, [names[i] for i in order], [roles[i] for i in order])
    ax.set_xlim(0, None)
    ax.set_xlabel(f"{chosen} (% of answers)")
    if data.sizes["file"] > 1:
        ax.set_title(of)
    house.legend(ax, house.bar_handles(kinds))
    n, missing = cell["n"].values, int(cell["missing"].sum())
    house.describe(
        ax,
        f"Share of answers with {cell['condition_text'].item()}, final step, n = {house.span(n)} answers with all "
        "scores that it needs.",
        "Lines are 95 % Wilson intervals.",
        house.left_out(missing and f"{missing} answers without them", *data.attrs["left_out"]),
    )
    return ax


@figure("rates", "rates", "Rates, such as emergent misalignment, by run, with Wilson intervals.")
def draw(source: Source) -> Panels:
    data = rates_data(source.store)
    files = strings(data["file"])
    plots = [
        partial(plot_rates, source.store, score=score, file=file, data=data)
        for score in strings(data["score"])
        for file in files
    ]
    height = house.row_height(data.sizes["run"], 12.0)
    return Panels(plots, len(files), height)
