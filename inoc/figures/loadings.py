"""Which examples carry a component, and how unevenly; which token positions do."""

# matplotlib's stubs leave some argument types unknown
# pyright: reportUnknownMemberType=false

from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Float64
from matplotlib.axes import Axes

from inoc.figures import house
from inoc.figures.labels import PointLabels, extremes
from inoc.figures.sources import heuristics_of
from inoc.heuristics.frame.differences import difference
from inoc.store.store import Store

Kind = Literal["pca", "svd"]
DENSE = 400
"""Of more features than this, those nearest the middle are drawn pale and not considered for names."""


def loadings_data(
    store: Store,
    kind: Kind = "pca",
    *,
    prefix_type: str = "fixed",
    tokenwise: bool = False,
    components: int = 2,
    heuristics: xr.Dataset | None = None,
) -> xr.Dataset:
    """loading (component, feature) = coordinates' W / s^2 scaled to unit length: what each example (or token) adds.

    A feature is an example, or with `tokenwise` a token (coordinates `example`, `position`). Missing differences
    count as 0; the coordinates of pca sum to zero, so the mean row adds nothing. Rows are read one at a time.
    """
    name = ("token_" if tokenwise else "") + kind
    table = heuristics_of(store, heuristics, [name])
    scores = table[name].sel(prefix_type=prefix_type).values[:, :components].astype(np.float64)
    matrix = difference(store, prefix_type, level="token" if tokenwise else "example")
    keys = [str(p) for p in table["prompt"].values]
    places = {str(p): i for i, p in enumerate(matrix["prompt"].values)}
    total = np.zeros((components, matrix.shape[1]))
    for key, row in zip(keys, scores, strict=True):
        if key in places and np.isfinite(row).all():
            values = matrix[places[key]].values.astype(np.float64)
            total += np.outer(row, np.where(np.isfinite(values), values, 0.0))
    size = np.linalg.norm(total, axis=1, keepdims=True)
    loading = total / np.where(size > 0, size, 1.0)
    coords: dict[str, object] = {
        "component": np.arange(1, components + 1),
        "example": ("feature", np.asarray(matrix["example"].values).astype(str)),
    }
    if tokenwise:
        coords["position"] = ("feature", np.asarray(matrix["position"].values))
    return xr.Dataset(
        {"loading": (("component", "feature"), loading, {"units": "1"})},
        coords=coords,
        attrs={"name": name, "prompts": len(keys), "prefix_type": prefix_type},
    )


@house.styled
def plot_loadings(
    store: Store,
    kind: Kind = "pca",
    *,
    prefix_type: str = "fixed",
    names: int = 8,
    heuristics: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Loadings of every example on the first two components; the examples that carry most are named by id."""
    data = loadings_data(store, kind, prefix_type=prefix_type, heuristics=heuristics)
    x, y = data["loading"].values
    ax = house.axes_or_new(ax, height=2.8)
    ax.scatter(x, y, s=5, c="#5A5A5A", alpha=0.55, lw=0, zorder=2)
    house.zero(ax, x=True, y=True)
    ax.margins(0.1)
    order = extremes(x, y, names)
    ids = [f"example {data['example'].values[i]}" for i in order]
    PointLabels(
        ax, x[order], y[order], ids, ["black"] * len(order), np.column_stack([x, y])[extremes(x, y, DENSE)]
    )
    word = "PC" if kind == "pca" else "SV"
    ax.set_xlabel(f"loading on {word}1 (unit length)")
    ax.set_ylabel(f"loading on {word}2 (unit length)")
    ax.set_title(f"{prefix_type}: examples")
    tenth = max(1, len(x) // 10)
    shares = [float(np.sort(v**2)[::-1][:tenth].sum()) for v in (x, y)]
    house.describe(
        ax,
        f"Loadings of {len(x)} examples on the first two components ({data.attrs['prompts']} prompts, {prefix_type}).",
        f"The strongest tenth of the examples carries {100 * shares[0]:.0f} % of {word}1 "
        f"and {100 * shares[1]:.0f} % of {word}2.",
    )
    return ax


@house.styled
def plot_token_loadings(
    store: Store,
    kind: Kind = "pca",
    *,
    prefix_type: str = "fixed",
    heuristics: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """How much of each component the strongest tokens carry: cumulative share of squared loading by share of tokens."""
    data = loadings_data(
        store, kind, prefix_type=prefix_type, tokenwise=True, components=3, heuristics=heuristics
    )
    ax = house.axes_or_new(ax, height=2.6)
    word = "PC" if kind == "pca" else "SV"
    for c, ls in enumerate(("-", "--", ":")):
        share, carried = concentration(data["loading"].values[c])
        ax.plot(100 * share, 100 * carried, ls=ls, color="black", lw=1.1, label=f"{word}{c + 1}")
    ax.set_xscale("log")
    ax.set_ylim(0, 102)
    ax.set_xlabel("strongest tokens (% of all tokens, log scale)")
    ax.set_ylabel("squared loading carried (%)")
    ax.set_title(f"{prefix_type}: tokens")
    house.legend(ax, list(ax.lines))
    first = data["position"].values
    by = [float((data["loading"].values[c] ** 2)[first < 10].sum()) for c in range(2)]
    house.describe(
        ax,
        f"Tokens sorted by loading, n = {len(first)} tokens, {data.attrs['prompts']} prompts.",
        f"The first ten positions of the completions carry {100 * by[0]:.0f} % of {word}1 and {100 * by[1]:.0f} % of "
        f"{word}2.",
    )
    return ax


def concentration(
    loading: Float64[np.ndarray, " feature"],
) -> tuple[Float64[np.ndarray, " feature"], Float64[np.ndarray, " feature"]]:
    """(share of the features, share of the squared loading they carry), the strongest first."""
    energy = np.sort(loading**2)[::-1]
    total = float(energy.sum())
    share = np.arange(1, len(energy) + 1) / len(energy)
    return share, np.cumsum(energy) / (total if total > 0 else 1.0)
