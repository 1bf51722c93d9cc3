"""Rates after forced beginnings of answers, over checkpoints."""

from functools import partial

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

from inoc.emergence import cases
from inoc.errors import BadInput, IncompleteStore
from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.layout import Panels
from inoc.figures.sources import Source
from inoc.intervals import wilson_interval
from inoc.store.store import Store

MOST_PANELS = 12


def cases_of(store: Store) -> xr.Dataset:
    """The cases of a store; IncompleteStore where it has no prefill counts."""
    if not store.emergence:
        raise IncompleteStore(f"{store.path.name} has no prefill counts. Fix: run `inoc prefill` or `inoc import`.")
    return cases(store.emergence)


def one_case(data: xr.Dataset, case: int) -> xr.Dataset:
    """A case by its place; BadInput where there is none."""
    if not 0 <= case < data.sizes["case"]:
        raise BadInput(f"case {case} does not exist. Fix: name one of 0 to {data.sizes['case'] - 1}.")
    return data.isel(case=case)


def prefill_rates_data(store: Store) -> xr.Dataset:
    """Rates of every behavior after every prefill level, with Wilson intervals.

    Args:
        store: The store to read.

    Returns:
        `rate` with `lower` and `upper`, `successes` and `trials`, by case, checkpoint and prefill.

    Raises:
        IncompleteStore: The store has no prefill counts.
    """
    table = cases_of(store)
    bounds = wilson_interval(table["successes"].values, table["trials"].values)
    dims = table["successes"].dims
    with np.errstate(invalid="ignore"):
        rate = table["successes"].values / table["trials"].values
    parts = {"rate": rate, "lower": bounds[..., 0], "upper": bounds[..., 1]}
    return table[["successes", "trials"]].assign({name: (dims, v, {"units": "1"}) for name, v in parts.items()})


@house.draws(prefill_rates_data)
def plot_prefill_rates(store: Store, case: int = 0, *, data: xr.Dataset | None = None, ax: Axes | None = None) -> Axes:
    """Draw the rate of a behavior over checkpoints, a line for each prefill level, both axes logarithmic.

    Args:
        case: Which run and behavior, by place.

    Raises:
        BadInput: There is no such case.

    Example:
        >>> ax = inoc.plot_prefill_rates(emerging)
    """
    cell = one_case(prefill_rates_data(store) if data is None else data, case)
    ax = house.axes_or_new(ax)
    step, level = cell["checkpoint"].values, cell["prefill"].values
    inks = [to_hex(ink) for ink in colormaps["viridis"](np.linspace(0.85, 0.0, level.size))]
    floor = 0.3 / max(1, int(cell["trials"].max()))
    for p in range(level.size):
        rate, lower, upper = (np.maximum(cell[n].values[:, p], floor) for n in ("rate", "lower", "upper"))
        shift = step * 1.03 ** (p - (level.size - 1) / 2)
        ax.plot(shift, rate, color=inks[p], lw=0.9, marker="o", ms=2.5)
        house.intervals(ax, shift, rate, lower, upper, inks[p], vertical=True)
    ax.axhline(0.1, color="#5A5A5A", lw=0.6, ls=":")
    ax.set(xscale="log", yscale="log", xlabel="update", ylabel="rate of the behavior")
    run, behavior = str(cell["run"].values), str(cell["behavior"].values)
    ax.set_title(run if run == behavior else f"{run}: {behavior}")
    named = zip(inks, level, strict=True)
    house.legend(ax, [Line2D([], [], color=ink, marker="o", ms=2.5, label=f"{n} tokens") for ink, n in named])
    house.describe(
        ax,
        f"Share of answers with the behavior after forced first tokens, n = {house.span(cell['trials'].values)}.",
        f"Lines are 95 % Wilson intervals; zero is drawn at {floor:.1g}. Dotted: 10 %.",
    )
    return ax


@figure("prefill_rates", "emergence", "How often a behavior follows forced beginnings of an answer.")
def draw(source: Source) -> Panels:
    data = prefill_rates_data(source.store)
    places = range(min(MOST_PANELS, data.sizes["case"]))
    return Panels([partial(plot_prefill_rates, source.store, k, data=data) for k in places], 3, 2.0)
