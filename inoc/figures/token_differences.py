"""How token differences are distributed, prompt by prompt: histogram, or share of tokens beyond a size (CCDF)."""

from functools import partial
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.labels import End, EndLabels
from inoc.figures.layout import Panels
from inoc.figures.sources import Source, choose, columns_of, strings
from inoc.figures.token_rows import CELL, token_rows, token_table
from inoc.store.store import Store

EDGES = 0.1 * np.sinh(np.linspace(-1, 1, 44) * np.arcsinh(200.0))
"""Bins of the histogram: fine near 0, to 20 nats either way."""
SIZES = np.geomspace(1e-3, 30.0, 91)
NAMED = 9
FEWEST = 5
"""A tail ends where fewer tokens than this lie beyond."""


def token_differences_data(store: Store, *, completion_set: str = "train") -> xr.Dataset:
    """Distributions of the token differences of each prompt.

    Args:
        store: The store to read.
        completion_set: The set of completions.

    Returns:
        By prefix_type and prompt: `density` (bin) per nat, where the outer bins hold all tokens beyond; `beyond`
        (size), the share of tokens with abs(difference) > size; `n` tokens, and `missing` ones.

    Raises:
        IncompleteStore: The set is not stored token by token.
    """
    table = token_table(store, completion_set)
    density = np.full((*table.shape, len(EDGES) - 1), np.nan)
    beyond = np.full((*table.shape, len(SIZES)), np.nan)
    n = np.zeros((2, *table.shape), dtype=np.int64)
    for row in token_rows(store, table, completion_set):
        delta = row.delta[np.isfinite(row.delta)]
        n[:, *row.cell] = delta.size, row.delta.size - delta.size
        if delta.size:
            counts = np.histogram(np.clip(delta, EDGES[0], EDGES[-1]), EDGES)[0]
            density[row.cell] = counts / delta.size / np.diff(EDGES)
            over = delta.size - np.searchsorted(np.sort(np.abs(delta)), SIZES, side="right")
            beyond[row.cell] = over / delta.size
    return xr.Dataset(
        {
            "density": ((*CELL, "bin"), density, {"units": "1/nat"}),
            "beyond": ((*CELL, "size"), beyond, {"units": "1"}),
            "n": (CELL, n[0]),
            "missing": (CELL, n[1]),
        },
        coords={**table.coords(store), "bin": (EDGES[1:] + EDGES[:-1]) / 2, "size": SIZES},
    )


@house.draws(token_differences_data)
def plot_token_differences(
    store: Store,
    what: Literal["histogram", "ccdf"] = "ccdf",
    *,
    prefix_type: str = "fixed",
    data: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the distribution of token differences, one line per prompt; the most and least affected are named.

    Args:
        what: "ccdf", the share of tokens whose difference is larger than a size, on logarithmic axes; or
            "histogram", the density of the signed difference.
        prefix_type: "fixed" or "mix".

    Raises:
        IncompleteStore: The store has no tokens.
        BadInput: The prefix type is unknown.

    Example:
        >>> ax = inoc.plot_token_differences(store, "histogram")
    """
    data = token_differences_data(store) if data is None else data
    cell = data.loc[{"prefix_type": choose(data, "prefix_type", prefix_type)}]
    keys, roles = columns_of(cell, "prompt", "role")
    ax = house.axes_or_new(ax, height=2.7)
    tails = what == "ccdf"
    x, lines, fewest = ("size", "beyond", FEWEST) if tails else ("bin", "density", 1e-9)
    x, lines = cell[x].values, cell[lines].values
    at = int(np.searchsorted(SIZES, 0.5))
    strength = np.nan_to_num(cell["beyond"].values[:, at], nan=-1.0)
    order = [int(i) for i in np.argsort(-strength, kind="stable") if strength[i] >= 0]
    named = order if len(order) <= NAMED else [*order[: NAMED - 3], *order[-3:]]
    ends: list[End] = []
    for i in order:
        shown = lines[i] * cell["n"].values[i] >= fewest
        strong, ink = i in named, house.color(roles[i])
        width, alpha = (1.0, 1) if strong else (0.5, 0.35)
        ax.plot(x[shown], lines[i][shown], color=ink, lw=width, alpha=alpha)
        if strong and shown.any():
            ends.append(End(x[shown][-1], lines[i][shown][-1], house.signed(keys[i], roles[i]), ink))
    ax.set_yscale("log")
    if tails:
        ax.set_xscale("log")
        ax.set_xlim(SIZES[0], None)
        house.guide(ax, x=0.5)
        ax.set(xlabel="size of the difference (nats)", ylabel="share of tokens beyond")
        EndLabels(ax, ends)
    else:
        house.guide(ax, x=0)
        ax.set_xscale("symlog", linthresh=0.1)
        ax.set_xticks([-10, -1, 0, 1, 10], ["−10", "−1", "0", "1", "10"])
        ax.set(xlabel="difference (nats, logarithmic beyond 0.1)", ylabel="density (per nat)")
    ax.set_title(f"{prefix_type}: {'tail' if tails else 'density'} of token differences")
    house.legend(ax, house.role_handles(roles))
    n, missing = cell["n"].values, int(cell["missing"].values.sum())
    house.describe(
        ax,
        f"Logprob with minus without the prompt, token by token: {len(order)} prompts, n = {house.span(n)} "
        f"tokens each ({prefix_type}).",
        "Gray line: 0.5 nats; named are the prompts with most and fewest tokens beyond it. Lines end at 5 tokens."
        if tails
        else "Bins widen with the size of the difference.",
        house.left_out(missing and f"{missing} missing token differences"),
    )
    return ax


@figure("token_differences", "tokens", "How token differences are distributed, prompt by prompt.")
def draw(source: Source) -> Panels:
    data = token_differences_data(source.store)
    plots = [
        partial(plot_token_differences, source.store, what, prefix_type=kind, data=data)
        for kind in strings(data["prefix_type"])
        for what in ("ccdf", "histogram")
    ]
    return Panels(plots, 2, 2.5)
