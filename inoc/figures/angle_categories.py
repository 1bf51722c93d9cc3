"""Mean angle of each category of prompt pairs with its prompt-bootstrap interval."""

# matplotlib's stubs leave some argument types unknown
# pyright: reportUnknownMemberType=false

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.figures import house
from inoc.figures.sources import heuristics_of, level_prefix
from inoc.store.store import Store

WORDS = {
    "within_negative": "− with −",
    "within_positive": "+ with +",
    "cross": "+ with −",
    "negative_neutral": "− with ○",
    "positive_neutral": "+ with ○",
}
REPRESENTATIONS = {"raw": "raw", "svd2": "SVD, 2 dims", "pca2": "PCA, 2 dims (centred)"}


def angle_categories_data(
    store: Store, *, tokenwise: bool = False, heuristics: xr.Dataset | None = None
) -> xr.Dataset:
    """mean, lower, upper (degrees), n pairs, by prefix_type, representation, category."""
    base = f"{level_prefix(tokenwise)}angle_category"
    table = heuristics_of(store, heuristics, [f"{base}_{part}" for part in ("mean", "ci", "n")])
    bounds = table[f"{base}_ci"]
    return xr.Dataset(
        {
            "mean": table[f"{base}_mean"],
            "lower": bounds.sel(bound="lower", drop=True),
            "upper": bounds.sel(bound="upper", drop=True),
            "n": table[f"{base}_n"],
        },
        attrs={"prompts": table.sizes["prompt"]},
    )


@house.styled
def plot_angle_categories(
    store: Store,
    *,
    representation: str = "raw",
    tokenwise: bool = False,
    heuristics: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """One row per category, one marker per prefix type, 95 % intervals; 90 degrees is marked."""
    data = angle_categories_data(store, tokenwise=tokenwise, heuristics=heuristics).sel(
        representation=representation
    )
    ax = house.axes_or_new(ax, height=2.0)
    kinds = [str(k) for k in data["prefix_type"].values]
    names = [str(c) for c in data["category"].values]
    for k, kind in enumerate(kinds):
        cell = data.sel(prefix_type=kind)
        at = np.arange(len(names)) + (k - (len(kinds) - 1) / 2) * 0.28
        ax.hlines(at, cell["lower"].values, cell["upper"].values, color="black", lw=0.8)
        face = "black" if kind == "fixed" else "white"
        ax.plot(
            cell["mean"].values,
            at,
            ls="",
            marker=house.MARKERS.get(kind, "D"),
            mfc=face,
            mec="black",
            mew=0.7,
        )
    counts = data["n"].isel(prefix_type=0).values
    ax.set_yticks(range(len(names)), [f"{WORDS[c]}  (n = {n})" for c, n in zip(names, counts, strict=True)])
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.axvline(90, color="#B5B5B5", lw=0.6, zorder=0)
    ax.set_xlim(0, 180)
    ax.set_xticks([0, 45, 90, 135, 180])
    ax.set_xlabel("mean angle (degrees)")
    ax.set_title(REPRESENTATIONS.get(representation, representation))
    house.legend(ax, house.prefix_handles(kinds))
    missing = int(np.isnan(data["mean"].values).sum())
    level = "tokenwise" if tokenwise else "pointwise"
    house.describe(
        ax,
        f"Mean {level} angle over unordered pairs of prompts by the roles of the pair "
        f"(+ positive, − negative, ○ neutral; n = pairs; {data.attrs['prompts']} prompts).",
        "Lines are 95 % intervals of a bootstrap over prompts.",
        "Two-dimensional PCA is centred, which turns angles across traits: for comparison only.",
        house.left_out([f"{missing} categories without pairs"] if missing else []),
    )
    return ax
