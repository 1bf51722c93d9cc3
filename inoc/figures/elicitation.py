"""Elicitation: how far each prompt alone brings out a trait in the base model."""

# matplotlib's stubs leave some argument types unknown
# pyright: reportUnknownMemberType=false

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.figures import house
from inoc.figures.sources import heuristics_of, one_of, roles_of
from inoc.store.store import Store


def elicitation_data(store: Store, *, heuristics: xr.Dataset | None = None) -> xr.Dataset:
    """elicitation, elicitation_ci, elicitation_n (prompt, trait) in pp, with the role of each prompt.

    Raises IncompleteStore without elicitation.
    """
    names = ["elicitation", "elicitation_ci", "elicitation_n"]
    table = heuristics_of(store, heuristics, names)[names]
    roles = roles_of(store)
    return table.assign_coords(role=("prompt", [roles.get(str(p), "") for p in table["prompt"].values]))


@house.styled
def plot_elicitation(
    store: Store,
    trait: str | None = None,
    *,
    order: list[str] | None = None,
    heuristics: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Change of the trait score by prompt with 95 % intervals, sorted by role and size (or in the `order` given)."""
    table = elicitation_data(store, heuristics=heuristics)
    chosen = one_of("trait", trait or str(table["trait"].values[0]), [str(t) for t in table["trait"].values])
    cell = table.sel(trait=chosen)
    keys, roles = ([str(v) for v in cell[name].values] for name in ("prompt", "role"))
    values, bounds, n = (cell[f"elicitation{part}"].values for part in ("", "_ci", "_n"))
    rank = {role: i for i, role in enumerate(house.ROLES)}
    known = [i for i in range(len(keys)) if np.isfinite(values[i])]
    if order is None:
        rows = sorted(known, key=lambda i: (rank.get(roles[i], 9), -values[i]))
    else:
        rows = [keys.index(k) for k in order]
    ax = house.axes_or_new(ax, height=house.row_height(len(rows)))
    at = np.arange(len(rows), dtype=float)
    shown_roles = [roles[i] for i in rows]
    ax.hlines(at, 0, values[rows], colors="#D9D9D9", lw=0.6, zorder=1)
    inks = [house.colour(r) for r in shown_roles]
    house.intervals(ax, values[rows], at, bounds[rows, 0], bounds[rows, 1], inks, vertical=False)
    house.points(ax, values[rows], at, shown_roles, ["fixed"] * len(rows), 11.0)
    house.zero(ax, x=True)
    house.name_rows(ax, [keys[i] for i in rows], shown_roles)
    ax.set_xlabel(f"elicited {chosen} (pp)")
    ax.set_title(chosen)
    house.legend(ax, house.role_handles(shown_roles))
    house.describe(
        ax,
        "Score of the base model with the prompt minus without, same instructions, "
        f"n = {house.span(n[rows])}.",
        "Lines are 95 % paired t intervals.",
        house.left_out(
            [f"{len(keys) - len(known)} prompts without elicitation"] if len(known) < len(keys) else []
        ),
    )
    return ax
