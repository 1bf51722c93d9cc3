"""Which examples carry a component, and how unevenly; which token positions do."""

import numpy as np
import xarray as xr
from jaxtyping import Float64
from matplotlib.axes import Axes

from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.labels import extremes, name_points
from inoc.figures.layout import Panels
from inoc.figures.sources import Source, choose, heuristics_of, strings, variable
from inoc.figures.spectrum import WORDS, Kind
from inoc.heuristics.frame.differences import difference
from inoc.store.store import Store

Features = Float64[np.ndarray, " feature"]
DENSE = 400
"""Above this number of examples, only the farthest out keep names away."""


def loadings_data(
    store: Store,
    kind: Kind = "pca",
    *,
    prefix_type: str = "fixed",
    tokenwise: bool = False,
    components: int = 2,
    heuristics: xr.Dataset | None = None,
) -> xr.Dataset:
    """What each example (or token) adds to the first components: W' D / s^2, scaled to unit length.

    Missing differences count as 0. The coordinates of pca sum to zero, so the mean row adds nothing. Rows are read
    one at a time.

    Args:
        store: The store to read.
        kind: "pca" or "svd".
        prefix_type: "fixed" or "mix".
        tokenwise: One feature per token instead of one per example.
        components: The number of components.
        heuristics: What `inoc.heuristics.compute` returned; None to compute it.

    Returns:
        `loading` (component, feature), with the example and (tokenwise) the position of each feature.

    Raises:
        IncompleteStore: The components cannot be computed from this store.
        BadInput: The prefix type is unknown.
    """
    name = variable(kind, tokenwise)
    table = heuristics_of(store, heuristics, [name])
    coordinates = table.sel(prefix_type=choose(table, "prefix_type", prefix_type))[name]
    matrix = difference(store, prefix_type, level="token" if tokenwise else "example")
    keys, places = strings(table["prompt"]), {key: i for i, key in enumerate(strings(matrix["prompt"]))}
    total = np.zeros((components, matrix.shape[1]))
    for key, row in zip(keys, coordinates.values[:, :components].astype(np.float64), strict=True):
        if key in places and np.isfinite(row).all():
            values = matrix[places[key]].values.astype(np.float64)
            total += np.outer(row, np.where(np.isfinite(values), values, 0.0))
    size = np.linalg.norm(total, axis=1, keepdims=True)
    loading = total / np.where(size > 0, size, 1.0)
    data = xr.Dataset(
        {"loading": (("component", "feature"), loading, {"units": "1"})},
        coords={
            "component": np.arange(1, components + 1),
            "example": ("feature", np.asarray(matrix["example"].values).astype(str)),
        },
        attrs={"name": name, "prompts": len(keys), "prefix_type": prefix_type},
    )
    return data.assign(position=("feature", matrix["position"].values)).set_coords("position") if tokenwise else data


@house.draws(loadings_data)
def plot_loadings(
    store: Store,
    kind: Kind = "pca",
    *,
    prefix_type: str = "fixed",
    names: int = 8,
    heuristics: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the loadings of every example on the first two components.

    Args:
        names: The number of examples to name, farthest out first.

    Example:
        >>> ax = inoc.plot_loadings(store, "svd", names=3)
    """
    data = loadings_data(store, kind, prefix_type=prefix_type, heuristics=heuristics)
    x, y = data["loading"].values
    ax = house.axes_or_new(ax, height=2.8)
    ax.scatter(x, y, s=5, c="#5A5A5A", alpha=0.55, lw=0, zorder=2)
    house.guide(ax, x=0, y=0)
    ax.margins(0.1)
    ids = [f"example {name}" for name in strings(data["example"])]
    obstacles = np.column_stack([x, y])[extremes(x, y, DENSE)]
    name_points(ax, x, y, extremes(x, y, names), ids, ["control"] * len(ids), obstacles)
    word = WORDS[kind]
    ax.set(xlabel=f"loading on {word}1 (unit length)", ylabel=f"loading on {word}2 (unit length)")
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


@house.draws(loadings_data)
def plot_token_loadings(
    store: Store,
    kind: Kind = "pca",
    *,
    prefix_type: str = "fixed",
    heuristics: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how much of the first three components the strongest tokens carry.

    Returns:
        The axes: cumulative share of the squared loading by share of the tokens, the strongest first.

    Raises:
        IncompleteStore: The store has no tokens.

    Example:
        >>> ax = inoc.plot_token_loadings(store)
    """
    data = loadings_data(store, kind, prefix_type=prefix_type, tokenwise=True, components=3, heuristics=heuristics)
    ax = house.axes_or_new(ax, height=2.6)
    word = WORDS[kind]
    for c, ls in enumerate(("-", "--", ":")):
        share, carried = concentration(data["loading"].values[c])
        ax.plot(100 * share, 100 * carried, ls=ls, color="black", lw=1.1, label=f"{word}{c + 1}")
    ax.set_xscale("log")
    ax.set_ylim(0, 102)
    ax.set(xlabel="strongest tokens (% of all tokens, log scale)", ylabel="squared loading carried (%)")
    ax.set_title(f"{prefix_type}: tokens")
    house.legend(ax, list(ax.lines))
    first = data["position"].values < 10
    by = [float((data["loading"].values[c] ** 2)[first].sum()) for c in range(2)]
    house.describe(
        ax,
        f"Tokens sorted by loading, n = {len(first)} tokens, {data.attrs['prompts']} prompts.",
        f"The first ten positions of the completions carry {100 * by[0]:.0f} % of {word}1 and {100 * by[1]:.0f} % of "
        f"{word}2.",
    )
    return ax


def concentration(loading: Features) -> tuple[Features, Features]:
    """(share of the features, share of the squared loading they carry), the strongest first."""
    energy = np.sort(loading**2)[::-1]
    total = float(energy.sum())
    share = np.arange(1, len(energy) + 1) / len(energy)
    return share, np.cumsum(energy) / (total if total > 0 else 1.0)


@figure("loadings", "spectra", "Which training examples carry the components.")
def draw(source: Source) -> Panels:
    return source.by_prefix_type(plot_loadings, heuristics=source.heuristics)


@figure("loadings_tokens", "spectra", "How few tokens carry the components.")
def draw_tokens(source: Source) -> Panels:
    return source.by_prefix_type(plot_token_loadings, heuristics=source.heuristics)
