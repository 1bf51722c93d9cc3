"""Elicitation: how far each prompt alone brings out a trait in the base model."""

from functools import partial

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.layout import Panels
from inoc.figures.sources import Source, choose, columns_of, heuristics_of, with_roles
from inoc.store.store import Store


def elicitation_data(store: Store, *, heuristics: xr.Dataset | None = None) -> xr.Dataset:
    """What each prompt alone adds to the trait scores of the base model.

    Args:
        store: The store to read.
        heuristics: What `inoc.heuristics.compute` returned; None to compute it.

    Returns:
        `elicitation` and `elicitation_ci` in pp and `elicitation_n` instructions, by prompt and trait.

    Raises:
        IncompleteStore: The store has no elicitation.
    """
    names = ["elicitation", "elicitation_ci", "elicitation_n"]
    return with_roles(store, heuristics_of(store, heuristics, names)[names])


@house.draws(elicitation_data)
def plot_elicitation(
    store: Store,
    trait: str | None = None,
    *,
    order: list[str] | None = None,
    heuristics: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the change of a trait score by prompt, with 95 % intervals.

    Args:
        trait: The name of a trait; None for the first.
        order: Keys of the prompts from the top; None to sort by role and size.

    Raises:
        BadInput: The trait is unknown.

    Example:
        >>> ax = inoc.plot_elicitation(store)
    """
    table = elicitation_data(store, heuristics=heuristics)
    chosen = choose(table, "trait", trait)
    cell = table.loc[{"trait": chosen}]
    keys, roles = columns_of(cell, "prompt", "role")
    values, bounds, n = (cell[f"elicitation{part}"].values for part in ("", "_ci", "_n"))
    missing = int((~np.isfinite(values)).sum())
    if order is None:
        rows = [i for i in house.by_role(roles, values) if np.isfinite(values[i])]
    else:
        rows = [keys.index(key) for key in order]
    keys, roles = [keys[i] for i in rows], [roles[i] for i in rows]
    values, bounds, n = values[rows], bounds[rows], n[rows]
    ax = house.axes_or_new(ax, height=house.row_height(len(rows)))
    at = np.arange(len(rows), dtype=float)
    ax.hlines(at, 0, values, colors="#D9D9D9", lw=0.6, zorder=1)
    inks = [house.color(r) for r in roles]
    house.intervals(ax, values, at, bounds[:, 0], bounds[:, 1], inks, vertical=False)
    house.points(ax, values, at, roles, ["fixed"] * len(rows), 11.0)
    house.guide(ax, x=0)
    house.name_rows(ax, keys, roles)
    ax.set(xlabel=f"elicited {chosen} (pp)", title=chosen)
    house.legend(ax, house.role_handles(roles))
    house.describe(
        ax,
        f"Score of the base model with the prompt minus without, same instructions, n = {house.span(n)}.",
        "Lines are 95 % paired t intervals.",
        house.left_out(missing and f"{missing} prompts without elicitation"),
    )
    return ax


@figure("elicitation", "elicitation", "How far each prompt alone brings out each trait.")
def draw(source: Source) -> Panels:
    heuristics = source.heuristics
    data = elicitation_data(source.store, heuristics=heuristics)
    keys, roles = columns_of(data, "prompt", "role")
    size = data["elicitation"].mean("trait").values  # one order for all panels
    order = [keys[i] for i in house.by_role(roles, size) if np.isfinite(size[i])]
    plots = [partial(plot_elicitation, source.store, t, order=order, heuristics=heuristics) for t in source.traits]
    return Panels(plots, 2, house.row_height(heuristics.sizes["prompt"]))
