"""All angles between prompts, sorted by role and by closeness to the other trait."""

# matplotlib's stubs leave some argument types unknown
# pyright: reportUnknownMemberType=false

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.figures import house
from inoc.figures.sources import heuristics_of, level_prefix, one_of, roles_of
from inoc.store.store import Store


def angle_heatmap_data(
    store: Store,
    *,
    prefix_type: str = "fixed",
    representation: str = "raw",
    tokenwise: bool = False,
    heuristics: xr.Dataset | None = None,
) -> xr.Dataset:
    """angle (prompt, other_prompt) in degrees, prompts sorted by role, then by the first eigenvector of the cosines."""
    name = f"{level_prefix(tokenwise)}angle"
    table = heuristics_of(store, heuristics, [name])
    one_of("prefix type", prefix_type, [str(k) for k in table["prefix_type"].values])
    one_of("representation", representation, [str(k) for k in table["representation"].values])
    angle = table[name].sel(prefix_type=prefix_type, representation=representation)
    angle = angle.transpose("prompt", "other_prompt")
    keys = [str(p) for p in angle["prompt"].values]
    roles = roles_of(store)
    cosine = np.cos(np.radians(np.nan_to_num(angle.values.astype(np.float64), nan=90.0)))
    leading = np.linalg.eigh((cosine + cosine.T) / 2)[1][:, -1]
    leading = leading * (np.sign(leading[np.abs(leading).argmax()]) or 1.0)
    rank = {role: i for i, role in enumerate(house.ROLES)}
    order = sorted(range(len(keys)), key=lambda i: (rank.get(roles.get(keys[i], ""), 9), -leading[i]))
    sorted_angle = angle.isel(prompt=order, other_prompt=order).drop_vars(
        [c for c in ("role", "family") if c in angle.coords]
    )
    made = xr.Dataset({"angle": sorted_angle}, attrs={"name": name, "representation": representation})
    return made.assign_coords(role=("prompt", [roles.get(keys[i], "") for i in order]))


@house.styled
def plot_angle_heatmap(
    store: Store,
    *,
    prefix_type: str = "fixed",
    representation: str = "raw",
    tokenwise: bool = False,
    heuristics: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Angles as colour, white at 90 degrees; every prompt is named, by role."""
    data = angle_heatmap_data(
        store,
        prefix_type=prefix_type,
        representation=representation,
        tokenwise=tokenwise,
        heuristics=heuristics,
    )
    keys, roles = ([str(v) for v in data[k].values] for k in ("prompt", "role"))
    n = len(keys)
    if ax is None:
        side = max(house.COLUMN, min(house.PAGE, 1.4 + n * 8.2 / 72))
        ax = house.axes_or_new(None, side, side)
    shown = ax.imshow(
        data["angle"].values, cmap="RdBu", vmin=0, vmax=180, aspect="auto", interpolation="nearest"
    )
    house.name_rows(ax, keys, roles)
    ax.set_ylim(n - 0.5, -0.5)
    ax.set_xticks(range(n), [house.signed(k, r) for k, r in zip(keys, roles, strict=True)], rotation=90)
    ax.tick_params(axis="x", length=0)
    for tick, role in zip(ax.get_xticklabels(), roles, strict=True):
        tick.set_color(house.colour(role))
    for i in range(1, n):
        if roles[i] != roles[i - 1]:
            ax.axhline(i - 0.5, color="black", lw=0.6)
            ax.axvline(i - 0.5, color="black", lw=0.6)
    figure = ax.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(shown, ax=ax, label="angle (degrees)", shrink=0.6, pad=0.015, aspect=30)
    bar.set_ticks([0, 45, 90, 135, 180])
    ax.set_title(f"{prefix_type}, {representation}{', tokenwise' if tokenwise else ''}")
    missing = int(np.isnan(data["angle"].values).sum())
    level = "tokenwise" if tokenwise else "pointwise"
    house.describe(
        ax,
        f"Angles between the differences of {n} prompts ({prefix_type}, {representation}, "
        f"{level}), sorted by role (+ positive, ○ neutral, − negative), then by the "
        "leading eigenvector of their cosines.",
        house.left_out([f"{missing} angles of prompts without data"] if missing else []),
    )
    return ax
