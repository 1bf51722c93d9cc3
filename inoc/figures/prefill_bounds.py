"""Which prefill level carries the lower bound of a rate."""

from functools import partial

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from inoc.emergence import smoothed_log_rate
from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.layout import Panels
from inoc.figures.prefill_rates import MOST_PANELS, cases_of, one_case
from inoc.figures.sources import Source
from inoc.store.store import Store


def prefill_bounds_data(store: Store) -> xr.Dataset:
    """The log rate after every prefill and what is left of it once the prefill is paid for.

    Args:
        store: The store to read.

    Returns:
        `log_rate`, `after_surprisal` and `after_kl` in nats, by case, checkpoint and prefill.

    Raises:
        IncompleteStore: The store has no prefill counts.
    """
    table = cases_of(store)
    level = table["prefill"].values
    log_rate = smoothed_log_rate(table["successes"].values, table["trials"].values)
    paid = {
        "log_rate": np.zeros_like(log_rate),
        "after_surprisal": np.where(level == 0, 0.0, table["surprisal"].values),
        "after_kl": np.where(level == 0, 0.0, -table["neg_kl"].values),
    }
    dims = table["successes"].dims
    return table[["trials"]].assign({name: (dims, log_rate - cost, {"units": "nat"}) for name, cost in paid.items()})


@house.draws(prefill_bounds_data)
def plot_prefill_bounds(store: Store, case: int = 0, *, data: xr.Dataset | None = None, ax: Axes | None = None) -> Axes:
    """Draw, at the last checkpoint, the log rate by prefill level, less the surprisal and less the KL estimate.

    Args:
        case: Which run and behavior, by place.

    Raises:
        BadInput: There is no such case.

    Example:
        >>> ax = inoc.plot_prefill_bounds(emerging)
    """
    cell = one_case(prefill_bounds_data(store) if data is None else data, case).isel(checkpoint=-1)
    ax = house.axes_or_new(ax)
    level = cell["prefill"].values
    drawn = (
        ("log_rate", "#5A5A5A", "o", "log rate after the prefill"),
        ("after_kl", "#0072B2", "^", "less the KL estimate"),
        ("after_surprisal", "#D55E00", "s", "less the surprisal: a lower bound"),
    )
    for name, ink, marker, label in drawn:
        values = cell[name].values
        ax.plot(level, values, color=ink, marker=marker, ms=3, lw=0.9, label=label)
    bound = cell["after_surprisal"].values
    if np.isfinite(bound).any():
        best = int(np.nanargmax(bound))
        ax.plot(level[best], bound[best], marker="s", ms=7, mfc="none", mec="#D55E00", ls="")
    ax.set(xlabel="forced tokens", ylabel="nats", title=_title(cell))
    house.legend(ax, [Line2D([], [], color=ink, marker=m, ms=3, label=label) for _, ink, m, label in drawn])
    house.describe(
        ax,
        f"Update {int(cell['checkpoint'])}, n = {house.span(cell['trials'].values)} answers a level.",
        "The ringed level carries the bound. Rates are (successes + 0.5) / (answers + 1).",
    )
    return ax


def _title(cell: xr.Dataset) -> str:
    run, behavior = str(cell["run"].values), str(cell["behavior"].values)
    return run if run == behavior else f"{run}: {behavior}"


@figure("prefill_bounds", "emergence", "Which prefill level carries the lower bound of a rate.")
def draw(source: Source) -> Panels:
    data = prefill_bounds_data(source.store)
    places = range(min(MOST_PANELS, data.sizes["case"]))
    return Panels([partial(plot_prefill_bounds, source.store, k, data=data) for k in places], 3, 2.0)
