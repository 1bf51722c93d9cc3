"""Recovered tokens: of the tokens the model found unlikely, the share the prompt makes likely."""

from functools import partial

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.layout import Panels
from inoc.figures.sources import Source, columns_of, strings
from inoc.figures.token_rows import CELL, token_rows, token_table
from inoc.intervals import wilson
from inoc.store.store import Store

THRESHOLD = 0.1


def recovered_data(store: Store, *, completion_set: str = "train") -> xr.Dataset:
    """Shares of recovered tokens: p > 0.1 with the prompt, of the tokens with p < 0.1 without it.

    Args:
        store: The store to read.
        completion_set: The set of completions.

    Returns:
        `share` with its Wilson interval `lower` and `upper`, and the numbers of `recovered` and `unlikely` tokens,
        by prefix_type and prompt.

    Raises:
        IncompleteStore: The set is not stored token by token.
    """
    table = token_table(store, completion_set)
    counts, ends = np.zeros((2, *table.shape), dtype=np.int64), np.full((3, *table.shape), np.nan)
    limit = np.log(THRESHOLD)
    for row in token_rows(store, table, completion_set):
        unlikely = np.isfinite(row.delta) & (table.default < limit)
        k = int((row.prefixed[unlikely] > limit).sum())
        counts[:, *row.cell] = k, unlikely.sum()
        ends[:, *row.cell] = wilson(k, int(unlikely.sum()))[:3]
    shares = {name: (CELL, ends[i], {"units": "1"}) for i, name in enumerate(("share", "lower", "upper"))}
    numbers = {"recovered": (CELL, counts[0]), "unlikely": (CELL, counts[1])}
    return xr.Dataset({**shares, **numbers}, coords=table.coords(store))


@house.draws(recovered_data)
def plot_recovered(store: Store, *, data: xr.Dataset | None = None, ax: Axes | None = None) -> Axes:
    """Draw the share by prompt with Wilson intervals, fixed and mix side by side, sorted by role and size.

    Raises:
        IncompleteStore: The store has no tokens.

    Example:
        >>> ax = inoc.plot_recovered(store)
    """
    data = recovered_data(store) if data is None else data
    best = np.nan_to_num(data["share"].values, nan=-1.0).max(axis=0)
    data = data.isel(prompt=house.by_role(strings(data["role"]), best))
    keys, roles = columns_of(data, "prompt", "role")
    kinds = strings(data["prefix_type"])
    ax = house.axes_or_new(ax, height=house.row_height(len(keys), 8.2 if len(kinds) == 1 else 11.0))
    inks = [house.color(role) for role in roles]
    for k, kind in enumerate(kinds):
        at = np.arange(len(keys)) + (k - (len(kinds) - 1) / 2) * 0.36
        share, lower, upper = (100 * data[part].values[k] for part in ("share", "lower", "upper"))
        house.intervals(ax, share, at, lower, upper, inks, vertical=False)
        house.points(ax, share, at, roles, [kind] * len(keys), 11.0)
    house.name_rows(ax, keys, roles)
    ax.set_xlim(0, None)
    ax.set_xlabel("recovered tokens (%)")
    house.legend(ax, [*house.prefix_handles(kinds), *house.role_handles(roles)])
    n = data["unlikely"].values
    house.describe(
        ax,
        f"Of the tokens with p < 0.1 without the prompt (n = {house.span(n)}), the share with p > 0.1 with it.",
        "Lines are 95 % Wilson intervals that take tokens as independent, which they are not quite.",
    )
    return ax


@figure("recovered", "tokens", "Of the tokens the model found unlikely, the share the prompt makes likely.")
def draw(source: Source) -> Panels:
    data = recovered_data(source.store)
    rows, kinds = data.sizes["prompt"], data.sizes["prefix_type"]
    return Panels(
        [partial(plot_recovered, source.store, data=data)], height=house.row_height(rows, 8.2 if kinds == 1 else 11.0)
    )
