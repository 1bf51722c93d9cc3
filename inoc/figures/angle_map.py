"""Each prompt by its mean angle to the negative and to the positive prompts."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.errors import IncompleteStore
from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.labels import extremes, name_points
from inoc.figures.layout import Panels
from inoc.figures.sources import Source, choose, columns_of, heuristics_of, level, variable, with_roles
from inoc.store.store import Store


def angle_map_data(store: Store, *, tokenwise: bool = False, heuristics: xr.Dataset | None = None) -> xr.Dataset:
    """Mean angles of each prompt to the other negative and to the other positive prompts.

    Args:
        store: The store to read.
        tokenwise: Use token differences instead of means over examples.
        heuristics: What `inoc.heuristics.compute` returned; None to compute it.

    Returns:
        `to_negative` and `to_positive` (prompt, prefix_type, representation) in degrees, with roles.

    Raises:
        IncompleteStore: The angles cannot be computed from this store.
    """
    names = {f"to_{role}": variable(f"angle_to_{role}", tokenwise) for role in ("negative", "positive")}
    table = heuristics_of(store, heuristics, list(names.values()))
    return with_roles(store, xr.Dataset({short: table[name] for short, name in names.items()}))


@house.draws(angle_map_data)
def plot_angle_map(
    store: Store,
    *,
    prefix_type: str = "fixed",
    representation: str = "raw",
    tokenwise: bool = False,
    names: int = 10,
    heuristics: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw each prompt by its mean angle to the negative and to the positive prompts.

    Near 90 on an axis, a prompt is unrelated to that trait; below it is like it, above it is against it.

    Args:
        prefix_type: "fixed" or "mix".
        representation: "raw", "svd2" or "pca2".
        names: The number of prompts to name, farthest out first.

    Raises:
        IncompleteStore: No prompt has both angles.
        BadInput: The prefix type or representation is unknown.

    Example:
        >>> ax = inoc.plot_angle_map(store, names=4)
    """
    data = angle_map_data(store, tokenwise=tokenwise, heuristics=heuristics)
    cell = data.loc[
        {
            "prefix_type": choose(data, "prefix_type", prefix_type),
            "representation": choose(data, "representation", representation),
        }
    ]
    x, y = (cell[k].values.astype(np.float64) for k in ("to_negative", "to_positive"))
    shown = np.isfinite(x) & np.isfinite(y)
    if not shown.any():
        raise IncompleteStore("no prompt has angles to both a negative and a positive prompt")
    keys, roles = columns_of(cell.isel(prompt=shown), "prompt", "role")
    x, y = x[shown], y[shown]
    ax = house.axes_or_new(ax, height=2.9)
    house.guide(ax, x=90, y=90)
    house.points(ax, x, y, roles, [prefix_type] * len(x), 15.0)
    ax.margins(0.12)
    name_points(ax, x, y, extremes(x, y, names, roles), keys, roles)
    ax.set(xlabel="mean angle to negative prompts (degrees)", ylabel="mean angle to positive prompts (degrees)")
    ax.set_title(f"{prefix_type}, {representation}")
    house.legend(ax, house.role_handles(roles))
    missing = int((~shown).sum())
    house.describe(
        ax,
        f"Mean {level(tokenwise)} angle of each of {len(x)} prompts to the other negative and the "
        f"other positive prompts ({prefix_type}, {representation}); gray lines: 90 degrees, unrelated.",
        f"The {names} prompts farthest out are named where there is room." if len(x) > names else "",
        house.left_out(missing and f"{missing} prompts without angles"),
    )
    return ax


@figure("angle_map", "angles", "Each prompt by its mean angle to the negative and to the positive prompts.")
@figure("angle_map_tokens", "angles", "The same from token differences.", tokenwise=True)
def draw(source: Source, tokenwise: bool = False) -> Panels:
    return source.by_prefix_type(plot_angle_map, tokenwise=tokenwise, heuristics=source.heuristics)
