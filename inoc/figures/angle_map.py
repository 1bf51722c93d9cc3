"""Each prompt by its mean angle to the negative and to the positive prompts."""

# matplotlib's stubs leave some argument types unknown
# pyright: reportUnknownMemberType=false

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.errors import IncompleteStore
from inoc.figures import house
from inoc.figures.labels import PointLabels, extremes
from inoc.figures.sources import heuristics_of, level_prefix, one_of, roles_of
from inoc.store.store import Store


def angle_map_data(
    store: Store, *, tokenwise: bool = False, heuristics: xr.Dataset | None = None
) -> xr.Dataset:
    """to_negative and to_positive (prompt, prefix_type, representation) in degrees; the prompt itself left out."""
    base = f"{level_prefix(tokenwise)}angle_to"
    table = heuristics_of(store, heuristics, [f"{base}_negative", f"{base}_positive"])
    roles = roles_of(store)
    made = xr.Dataset({"to_negative": table[f"{base}_negative"], "to_positive": table[f"{base}_positive"]})
    return made.assign_coords(role=("prompt", [roles.get(str(p), "") for p in table["prompt"].values]))


@house.styled
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
    """Near 90 on an axis: unrelated to that trait. Below: like it. Above: against it."""
    data = angle_map_data(store, tokenwise=tokenwise, heuristics=heuristics)
    one_of("prefix type", prefix_type, [str(k) for k in data["prefix_type"].values])
    cell = data.sel(prefix_type=prefix_type, representation=representation)
    x, y = (cell[k].values.astype(np.float64) for k in ("to_negative", "to_positive"))
    shown = np.isfinite(x) & np.isfinite(y)
    if not shown.any():
        raise IncompleteStore("no prompt has angles to both a negative and a positive prompt")
    keys, roles = ([str(v) for v in cell[k].values[shown]] for k in ("prompt", "role"))
    x, y = x[shown], y[shown]
    ax = house.axes_or_new(ax, height=2.9)
    ax.axvline(90, color="#B5B5B5", lw=0.6, zorder=0)
    ax.axhline(90, color="#B5B5B5", lw=0.6, zorder=0)
    house.points(ax, x, y, roles, [prefix_type] * len(x), 15.0)
    ax.margins(0.12)
    order = extremes(x, y, names, roles)
    tags = [house.signed(keys[i], roles[i]) for i in order]
    PointLabels(
        ax, x[order], y[order], tags, [house.colour(roles[i]) for i in order], np.column_stack([x, y])
    )
    ax.set_xlabel("mean angle to negative prompts (degrees)")
    ax.set_ylabel("mean angle to positive prompts (degrees)")
    ax.set_title(f"{prefix_type}, {representation}")
    house.legend(ax, house.role_handles(roles))
    level = "tokenwise" if tokenwise else "pointwise"
    house.describe(
        ax,
        f"Mean {level} angle of each of {len(x)} prompts to the other negative and the "
        f"other positive prompts ({prefix_type}, {representation}); grey lines: 90 degrees, unrelated.",
        f"The {names} prompts farthest out are named where there is room." if len(x) > names else "",
        house.left_out([f"{int((~shown).sum())} prompts without angles"] if not shown.all() else []),
    )
    return ax
