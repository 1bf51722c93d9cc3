"""Recovered tokens: of the tokens the model found unlikely, the share the prompt makes likely."""

# matplotlib's stubs leave some argument types unknown
# pyright: reportUnknownMemberType=false

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.figures import house
from inoc.figures.sources import roles_of
from inoc.figures.token_rows import token_rows, token_table
from inoc.intervals import wilson
from inoc.store.store import Store

THRESHOLD = 0.1


def recovered_data(store: Store, *, completion_set: str = "train") -> xr.Dataset:
    """share, lower, upper (Wilson), recovered and unlikely tokens, by prefix_type and prompt.

    unlikely: p_default < 0.1; recovered: of those, p_prefixed > 0.1. Raises IncompleteStore without tokens.
    """
    table = token_table(store, completion_set)
    shape = (len(table.prefix_types), len(table.prompts))
    counts, ends = np.zeros((2, *shape), dtype=np.int64), np.full((3, *shape), np.nan)
    limit = np.log(THRESHOLD)
    for row in token_rows(store, table, completion_set):
        unlikely = np.isfinite(row.delta) & (table.default < limit)
        k = int((row.prefixed[unlikely] > limit).sum())
        counts[:, row.prefix_type, row.prompt] = k, unlikely.sum()
        ends[:, row.prefix_type, row.prompt] = wilson(k, int(unlikely.sum()))[:3]
    roles = roles_of(store)
    cell = ("prefix_type", "prompt")
    return xr.Dataset(
        {
            **{name: (cell, ends[i], {"units": "1"}) for i, name in enumerate(("share", "lower", "upper"))},
            "recovered": (cell, counts[0]),
            "unlikely": (cell, counts[1]),
        },
        coords={
            "prefix_type": list(table.prefix_types),
            "prompt": list(table.prompts),
            "role": ("prompt", [roles.get(p, "") for p in table.prompts]),
        },
    )


@house.styled
def plot_recovered(store: Store, *, data: xr.Dataset | None = None, ax: Axes | None = None) -> Axes:
    """Share by prompt with Wilson intervals, fixed and mix side by side, sorted by role and size."""
    table = recovered_data(store) if data is None else data
    keys, roles = ([str(v) for v in table[k].values] for k in ("prompt", "role"))
    kinds = [str(k) for k in table["prefix_type"].values]
    share = 100 * table["share"].values
    best = np.nanmax(np.where(np.isfinite(share), share, -1.0), axis=0)
    rank = {role: i for i, role in enumerate(house.ROLES)}
    order = sorted(range(len(keys)), key=lambda i: (rank.get(roles[i], 9), -best[i]))
    ax = house.axes_or_new(ax, height=house.row_height(len(order), 8.2 if len(kinds) == 1 else 11.0))
    shown_roles = [roles[i] for i in order]
    for k, kind in enumerate(kinds):
        at = np.arange(len(order)) + (k - (len(kinds) - 1) / 2) * 0.36
        lower, upper = (100 * table[end].values[k][order] for end in ("lower", "upper"))
        house.intervals(
            ax, share[k][order], at, lower, upper, [house.colour(r) for r in shown_roles], vertical=False
        )
        house.points(ax, share[k][order], at, shown_roles, [kind] * len(order), 11.0)
    house.name_rows(ax, [keys[i] for i in order], shown_roles)
    ax.set_xlim(0, None)
    ax.set_xlabel("recovered tokens (%)")
    house.legend(ax, [*house.prefix_handles(kinds), *house.role_handles(roles)])
    n = table["unlikely"].values
    house.describe(
        ax,
        f"Of the tokens with p < 0.1 without the prompt (n = {house.span(n)}), the share with p > 0.1 with it.",
        "Lines are 95 % Wilson intervals that take tokens as independent, which they are not quite.",
    )
    return ax
