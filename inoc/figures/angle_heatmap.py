"""All angles between prompts, sorted by role and by closeness to the other trait."""

from functools import partial

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.errors import IncompleteStore
from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.layout import Panels
from inoc.figures.sources import Source, choose, columns_of, heuristics_of, level, variable, with_roles
from inoc.store.store import Store


def angle_heatmap_data(
    store: Store,
    *,
    prefix_type: str = "fixed",
    representation: str = "raw",
    tokenwise: bool = False,
    heuristics: xr.Dataset | None = None,
) -> xr.Dataset:
    """Angles of all pairs of prompts, sorted by role, then by the first eigenvector of the cosines.

    Args:
        store: The store to read.
        prefix_type: "fixed" or "mix".
        representation: "raw", "svd2" or "pca2".
        tokenwise: Use token differences instead of means over examples.
        heuristics: What `inoc.heuristics.compute` returned; None to compute it.

    Returns:
        `angle` (prompt, other_prompt) in degrees, with the role of each prompt.

    Raises:
        IncompleteStore: The angles cannot be computed from this store.
        BadInput: The prefix type or representation is unknown.
    """
    name = variable("angle", tokenwise)
    table = heuristics_of(store, heuristics, [name])
    kind, representation = choose(table, "prefix_type", prefix_type), choose(table, "representation", representation)
    angle = table.sel(prefix_type=kind, representation=representation)[name]
    angle = angle.transpose("prompt", "other_prompt")
    angle = angle.drop_vars(["role", "family"], errors="ignore")
    data = with_roles(store, xr.Dataset({"angle": angle}))
    cosine = np.cos(np.radians(np.nan_to_num(angle.values.astype(np.float64), nan=90.0)))
    leading = np.linalg.eigh((cosine + cosine.T) / 2)[1][:, -1]
    leading = leading * (np.sign(leading[np.abs(leading).argmax()]) or 1.0)
    order = house.by_role(columns_of(data, "role")[0], leading)
    return data.isel(prompt=order, other_prompt=order)


@house.draws(angle_heatmap_data)
def plot_angle_heatmap(
    store: Store,
    *,
    prefix_type: str = "fixed",
    representation: str = "raw",
    tokenwise: bool = False,
    heuristics: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the angle of every pair of prompts as a color, white at 90 degrees; every prompt is named, by role.

    Args:
        ax: The axes to draw into; None for a new figure that has room for all names.

    Example:
        >>> ax = inoc.plot_angle_heatmap(store, prefix_type="mix")
    """
    data = angle_heatmap_data(
        store, prefix_type=prefix_type, representation=representation, tokenwise=tokenwise, heuristics=heuristics
    )
    keys, roles = columns_of(data, "prompt", "role")
    n = len(keys)
    ax = house.axes_or_new(ax, side(n), side(n))
    values = data["angle"].values
    shown = ax.imshow(values, cmap=house.ANGLE_COLORS, vmin=0, vmax=180, aspect="auto", interpolation="nearest")
    house.name_rows(ax, keys, roles)
    ax.set_ylim(n - 0.5, -0.5)
    house.name_columns(ax, keys, roles)
    for i in range(1, n):
        if roles[i] != roles[i - 1]:
            ax.axhline(i - 0.5, color="black", lw=0.6)
            ax.axvline(i - 0.5, color="black", lw=0.6)
    bar = house.colorbar(ax, shown, "angle (degrees)", shrink=0.6, pad=0.015, aspect=30)
    bar.set_ticks([0, 45, 90, 135, 180])  # pyright: ignore[reportUnknownMemberType]
    ax.set_title(f"{prefix_type}, {representation}{', tokenwise' if tokenwise else ''}")
    missing = int(np.isnan(values).sum())
    house.describe(
        ax,
        f"Angles between the differences of {n} prompts ({prefix_type}, {representation}, {level(tokenwise)}), sorted "
        "by role (+ positive, ○ neutral, − negative), then by the leading eigenvector of their cosines.",
        house.left_out(missing and f"{missing} angles of prompts without data"),
    )
    return ax


def side(prompts: int) -> float:
    """Inches that as many names need."""
    return max(house.COLUMN, min(house.PAGE, 1.4 + prompts * 8.2 / 72))


@figure("angle_heatmap_fixed", "angles", "The angle of every pair of prompts, sorted by role.", prefix_type="fixed")
@figure("angle_heatmap_mix", "angles", "The same with a rewording per example.", prefix_type="mix")
@figure("angle_heatmap_tokens", "angles", "The same from token differences.", prefix_type="fixed", tokenwise=True)
def draw(source: Source, prefix_type: str, tokenwise: bool = False) -> Panels:
    if prefix_type not in source.prefix_types:
        raise IncompleteStore(f"no logprobs of prefix type {prefix_type} are stored. Fix: run `inoc score`.")
    options = {"prefix_type": prefix_type, "tokenwise": tokenwise, "heuristics": source.heuristics}
    size = side(source.heuristics.sizes["prompt"])
    return Panels([partial(plot_angle_heatmap, source.store, **options)], 1, size, size)
