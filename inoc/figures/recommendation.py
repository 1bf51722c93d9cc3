"""The leak that each prompt holds back against what it costs of the wanted trait, with the Pareto front."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.labels import along, name_points
from inoc.figures.layout import Panels
from inoc.figures.sources import Source, strings
from inoc.outcomes import recommend
from inoc.store.store import Store

PALE = {"front": 1.0, "close": 0.75, "behind": 0.3}
"""Opacity by standing."""


def recommendation_data(store: Store) -> xr.Dataset:
    """What `inoc.outcomes.recommend` says of a store.

    Args:
        store: The store to read.

    Returns:
        `leak` and `loss` with `_lower` and `_upper` (row), `standing`, `measured`, and prompts with role and text.

    Raises:
        IncompleteStore: No prompt can be ranked.
        BadInput: The store does not have one negative and one positive trait.
    """
    return recommend(store)


@house.draws(recommendation_data)
def plot_recommendation(
    store: Store | None = None, *, names: int = 6, data: xr.Dataset | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the loss of the wanted trait by the leak held back, with 95 % intervals; the front is joined by steps.

    Pale: clearly behind. Measured prompts are ringed where others are predicted.

    Args:
        names: The number of prompts to name, those of the front first.

    Example:
        >>> ax = inoc.plot_recommendation(store)
        >>> ax.get_xlabel()
        'Flattering held back (pp)'
    """
    if data is None:
        assert store is not None
        data = recommendation_data(store)
    ax = house.axes_or_new(ax, height=3.0)
    scale = 1.0 if data.attrs["units"] == "pp" else 100.0
    x, y = (scale * data[n].values for n in ("leak", "loss"))
    ends = {n: scale * np.stack([data[f"{n}_lower"].values, data[f"{n}_upper"].values]) for n in ("leak", "loss")}
    keys, roles, kinds, standing = (strings(data[n]) for n in ("prompt", "role", "prefix_type", "standing"))
    house.guide(ax, y=0)
    for i in range(len(x)):
        color, opacity = house.color(roles[i]), 0.6 * PALE[standing[i]]
        ax.hlines(y[i], *ends["leak"][:, i], color=color, lw=0.6, alpha=opacity, zorder=1)
        ax.vlines(x[i], *ends["loss"][:, i], color=color, lw=0.6, alpha=opacity, zorder=1)
    for level, opacity in PALE.items():
        here = np.array([s == level for s in standing])
        chosen, before = np.flatnonzero(here), len(ax.collections)
        house.points(ax, x[here], y[here], [roles[i] for i in chosen], [kinds[i] for i in chosen], 16.0)
        for drawn in ax.collections[before:]:
            drawn.set_alpha(opacity)
    front = sorted((i for i, s in enumerate(standing) if s == "front"), key=lambda i: x[i])
    ax.step(x[front], y[front], where="pre", color="black", lw=0.8, ls="--", zorder=2)
    measured = data["measured"].values
    ringed = measured & ~measured.all()  # where all are measured, rings say nothing
    ax.scatter(x[ringed], y[ringed], s=48, facecolors="none", edgecolors="black", lw=0.6, zorder=3)
    order = [*reversed(front), *(i for i in range(len(x)) if i not in front)]
    ends_of = [along(x, *ends["loss"]), along(y, *ends["leak"], vertical=False)]
    name_points(ax, x, y, order[:names], keys, roles, np.concatenate([np.column_stack([x, y]), *ends_of]))
    unit = "pp" if data.attrs["units"] == "pp" else "% of the control's score"
    ax.set(
        xlabel=f"{data.attrs['leak_trait']} held back ({unit})", ylabel=f"{data.attrs['wanted_trait']} lost ({unit})"
    )
    house.legend(ax, [*house.prefix_handles(kinds), *house.role_handles(roles)])
    house.describe(
        ax,
        f"{len(x)} prompts with a prefix type; right and low is better. Dashed: no other prompt holds back more and "
        "costs less.",
        "Lines are 95 % intervals: of measured prompts (ringed) paired t, of others of the prediction."
        if ringed.any()
        else "Lines are 95 % intervals: paired t; all are measured."
        if measured.all()
        else "Lines are 95 % intervals of the prediction.",
        "Pale: clearly behind the front, by more than both intervals together." if "behind" in standing else "",
        f"{len(data.attrs['left_out'])} left out, most of them {_most(data.attrs['left_out'])}."
        if data.attrs["left_out"]
        else "",
    )
    return ax


def _most(reasons: Sequence[str]) -> str:
    """The reason of most that are left out, each given as "prompt (prefix type): reason"."""
    words = [reason.partition(": ")[2] for reason in reasons]
    return max(dict.fromkeys(words), key=words.count)


def draw_recommendation(data: xr.Dataset, path: Path) -> None:
    """Write the figure of a recommendation to a file."""
    house.write(house.figure_of(plot_recommendation(data=data)), path)


@figure("recommendation", "performance", "Leak held back against loss of the wanted trait, prompt by prompt.")
def draw(source: Source) -> Panels:
    data = recommendation_data(source.store)
    return Panels([partial(plot_recommendation, data=data)], height=3.0)
