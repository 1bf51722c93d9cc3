"""Mean angle of each category of prompt pairs with its prompt-bootstrap interval."""

from functools import partial

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.layout import Panels
from inoc.figures.sources import Source, choose, heuristics_of, level, strings, variable
from inoc.store.store import Store

WORDS = {
    "within_negative": "− with −",
    "within_positive": "+ with +",
    "cross": "+ with −",
    "negative_neutral": "− with ○",
    "positive_neutral": "+ with ○",
}
REPRESENTATIONS = {"raw": "raw", "svd2": "SVD, 2 dims", "pca2": "PCA, 2 dims, centered"}


def angle_categories_data(store: Store, *, tokenwise: bool = False, heuristics: xr.Dataset | None = None) -> xr.Dataset:
    """Mean angles between prompts by the roles of the pair.

    Args:
        store: The store to read.
        tokenwise: Use token differences instead of means over examples.
        heuristics: What `inoc.heuristics.compute` returned; None to compute it.

    Returns:
        `mean`, `lower`, `upper` in degrees and `n` pairs, by prefix_type, representation and category.

    Raises:
        IncompleteStore: The angles cannot be computed from this store.
    """
    base = variable("angle_category", tokenwise)
    table = heuristics_of(store, heuristics, [f"{base}_{part}" for part in ("mean", "ci", "n")])
    return xr.Dataset(
        {
            "mean": table[f"{base}_mean"],
            "lower": table.sel(bound="lower")[f"{base}_ci"].drop_vars("bound"),
            "upper": table.sel(bound="upper")[f"{base}_ci"].drop_vars("bound"),
            "n": table[f"{base}_n"],
        },
        attrs={"prompts": table.sizes["prompt"]},
    )


@house.draws(angle_categories_data)
def plot_angle_categories(
    store: Store,
    *,
    representation: str = "raw",
    tokenwise: bool = False,
    heuristics: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one row per category, one marker per prefix type, with 95 % intervals; 90 degrees is marked.

    Args:
        representation: "raw", "svd2" or "pca2".

    Raises:
        BadInput: The representation is unknown.

    Example:
        >>> ax = inoc.plot_angle_categories(store, representation="svd2")
        >>> ax.get_title("left")
        'SVD, 2 dims'
    """
    data = angle_categories_data(store, tokenwise=tokenwise, heuristics=heuristics)
    data = data.loc[{"representation": choose(data, "representation", representation)}]
    ax = house.axes_or_new(ax, height=2.0)
    kinds, names = strings(data["prefix_type"]), strings(data["category"])
    for k, kind in enumerate(kinds):
        cell = data.loc[{"prefix_type": kind}]
        at = np.arange(len(names)) + (k - (len(kinds) - 1) / 2) * 0.28
        ax.hlines(at, cell["lower"].values, cell["upper"].values, color="black", lw=0.8)
        face, marker = "black" if kind == "fixed" else "white", house.MARKERS.get(kind, "D")
        ax.plot(cell["mean"].values, at, ls="", marker=marker, mfc=face, mec="black", mew=0.7)
    counts = data["n"].isel(prefix_type=0).values
    ax.set_yticks(range(len(names)), [f"{WORDS[c]}  (n = {n})" for c, n in zip(names, counts, strict=True)])
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    house.guide(ax, x=90)
    ax.set_xlim(0, 180)
    ax.set_xticks([0, 45, 90, 135, 180])
    ax.set(xlabel="mean angle (degrees)", title=REPRESENTATIONS.get(representation, representation))
    house.legend(ax, house.prefix_handles(kinds))
    missing = int(np.isnan(data["mean"].values).sum())
    house.describe(
        ax,
        f"Mean {level(tokenwise)} angle over unordered pairs of prompts by the roles of the pair "
        f"(+ positive, − negative, ○ neutral; n = pairs; {data.attrs['prompts']} prompts).",
        "Lines are 95 % intervals of a bootstrap over prompts.",
        "Two-dimensional PCA is centered, which turns angles across traits: for comparison only.",
        house.left_out(missing and f"{missing} categories without pairs"),
    )
    return ax


@figure("angle_categories", "angles", "Mean angle within and between roles, with prompt-bootstrap intervals.")
@figure("angle_categories_tokens", "angles", "The same from token differences.", tokenwise=True)
def draw(source: Source, tokenwise: bool = False) -> Panels:
    plot = partial(plot_angle_categories, source.store, tokenwise=tokenwise, heuristics=source.heuristics)
    return Panels([partial(plot, representation=r) for r in REPRESENTATIONS], 3, 2.2)
