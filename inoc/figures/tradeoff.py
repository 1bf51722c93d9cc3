"""What further training leaves of a behavior, by what it brings of a capability."""

from collections.abc import Mapping
from functools import partial
from textwrap import wrap

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.errors import IncompleteStore
from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.layout import Panels
from inoc.figures.sources import Source, choose, strings
from inoc.outcomes import tradeoff
from inoc.outcomes.tidy import prompt_column
from inoc.store.store import Store

LETTER = 0.068
"""Inches of a letter of a title, at most."""


def tradeoff_data(
    store: Store, scores: Mapping[str, tuple[str, str]] | None = None, *, condition: str = "training"
) -> xr.Dataset:
    """The curves of `inoc.outcomes.tradeoff`.

    Args:
        store: The store to read.
        scores: For each prompt the scores (behavior, capability); None for the trait that a prompt asks for and the
            first other one.
        condition: Where the behavior is asked for.

    Returns:
        What `inoc.outcomes.tradeoff` returns.

    Raises:
        IncompleteStore: No run of these prompts was continued and evaluated.
        BadInput: There is no such score or condition.
    """
    if scores is None:
        names = {trait.family: trait.name for trait in store.traits}
        families = prompt_column(store, "family").items()
        scores = {
            key: (names[family], next(name for name in names.values() if name != names[family]))
            for key, family in families
            if family in names and len(names) > 1
        }
    if not scores:
        raise IncompleteStore("no prompt asks for one of two traits. Fix: name `scores`, or traits in the experiment.")
    return tradeoff(store, scores, condition=condition)


@house.draws(tradeoff_data)
def plot_tradeoff(
    store: Store,
    way: str | None = None,
    *,
    scores: Mapping[str, tuple[str, str]] | None = None,
    data: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the rate of the behavior by the capability: runs, and their mean with a pointwise 95 % band.

    Args:
        way: How the behavior was trained in, as `way_of` has it; None for the first.

    Raises:
        BadInput: The way is unknown.

    Example:
        >>> ax = inoc.plot_tradeoff(store)
    """
    data = tradeoff_data(store, scores) if data is None else data
    chosen = choose(data, "way_of", way)
    ax = house.axes_or_new(ax)
    mine = data.isel(point=np.flatnonzero((data["way"].values == chosen) & data["chosen"].values))
    units = list(zip(*(mine[name].values.tolist() for name in ("prompt", "seed", "data")), strict=True))
    for unit in dict.fromkeys(units):
        at = [i for i, other in enumerate(units) if other == unit]
        at.sort(key=lambda i: float(mine["capability"].values[i]))
        ax.plot(mine["capability"].values[at], mine["rate"].values[at], "o-", color="#B0B0B0", ms=2.5, lw=0.6)
    curve = data.sel(way_of=chosen)
    curve = curve.isel(level=np.flatnonzero(curve["mean_n"].values == len(set(units))))
    ink = house.color("positive")
    ax.fill_between(curve["level"], curve["mean_lower"], curve["mean_upper"], color=ink, alpha=0.15, lw=0)
    ax.plot(curve["level"], curve["mean"], color=ink, lw=1.8)
    ax.set(xlim=(-4, 104), ylim=(-4, 104), xlabel="capability (pp)", ylabel="behavior (pp)")
    ax.set_title("\n".join(wrap(chosen, int((house.panel_size(ax)[0] - 0.5) / LETTER))))
    house.describe(
        ax,
        "What further training leaves of the behavior of a prompt, by what it brings of a capability. Gray: runs at "
        "the checkpoints of most capability after fewest updates; blue: their mean where all of them are, with 95 % "
        f"intervals, pointwise over {data.attrs['over']}.",
        f"{chosen or 'any way'}: n = {len(set(units))} runs.",
        house.left_out(*data.attrs["left_out"]),
    )
    return ax


@figure("tradeoff", "outcomes", "What further training leaves of a behavior, by what it brings of a capability.")
def draw(source: Source) -> Panels:
    data = tradeoff_data(source.store)
    plots = [partial(plot_tradeoff, source.store, way, data=data) for way in strings(data["way_of"])]
    return Panels(plots, min(3, len(plots)), 2.6)
