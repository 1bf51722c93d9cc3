"""How token differences are distributed, prompt by prompt: histogram, or share of tokens beyond a size (CCDF)."""

# matplotlib's stubs leave some argument types unknown
# pyright: reportUnknownMemberType=false

from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.figures import house
from inoc.figures.labels import EndLabels
from inoc.figures.sources import one_of, roles_of
from inoc.figures.token_rows import token_rows, token_table
from inoc.store.store import Store

EDGES = 0.1 * np.sinh(np.linspace(-1, 1, 44) * np.arcsinh(200.0))
"""Bins of the histogram: fine near 0, to 20 nats either way."""
SIZES = np.geomspace(1e-3, 30.0, 91)
NAMED = 9
FEWEST = 5
"""A tail ends where fewer tokens than this lie beyond."""


def token_differences_data(store: Store, *, completion_set: str = "train") -> xr.Dataset:
    """By prefix_type and prompt: density (bin; per nat, the ends hold all beyond), beyond (size) = share of tokens with
    abs(delta) > size, n tokens, missing.

    Raises IncompleteStore where tokens are not stored.
    """
    table = token_table(store, completion_set)
    shape = (len(table.prefix_types), len(table.prompts))
    density, beyond = np.full((*shape, len(EDGES) - 1), np.nan), np.full((*shape, len(SIZES)), np.nan)
    n = np.zeros((2, *shape), dtype=np.int64)
    for row in token_rows(store, table, completion_set):
        delta = row.delta[np.isfinite(row.delta)]
        n[:, row.prefix_type, row.prompt] = delta.size, row.delta.size - delta.size
        if delta.size:
            counts = np.histogram(np.clip(delta, EDGES[0], EDGES[-1]), EDGES)[0]
            density[row.prefix_type, row.prompt] = counts / delta.size / np.diff(EDGES)
            size = np.sort(np.abs(delta))
            over = size.size - np.searchsorted(size, SIZES, side="right")
            beyond[row.prefix_type, row.prompt] = over / size.size
    roles = roles_of(store)
    cell = ("prefix_type", "prompt")
    return xr.Dataset(
        {
            "density": ((*cell, "bin"), density, {"units": "1/nat"}),
            "beyond": ((*cell, "size"), beyond, {"units": "1"}),
            "n": (cell, n[0]),
            "missing": (cell, n[1]),
        },
        coords={
            "prefix_type": list(table.prefix_types),
            "prompt": list(table.prompts),
            "bin": (EDGES[1:] + EDGES[:-1]) / 2,
            "size": SIZES,
            "role": ("prompt", [roles.get(p, "") for p in table.prompts]),
        },
    )


@house.styled
def plot_token_differences(
    store: Store,
    what: Literal["histogram", "ccdf"] = "ccdf",
    *,
    prefix_type: str = "fixed",
    data: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """One line per prompt; the most and least affected are named, at most 9.

    `ccdf`: share of tokens whose difference is larger than a size, both axes logarithmic. `histogram`: density of the
    signed difference, logarithmic.
    """
    table = token_differences_data(store) if data is None else data
    one_of("prefix type", prefix_type, [str(k) for k in table["prefix_type"].values])
    cell = table.sel(prefix_type=prefix_type)
    keys, roles = ([str(v) for v in cell[k].values] for k in ("prompt", "role"))
    ax = house.axes_or_new(ax, height=2.7)
    x, lines = (
        (cell["size"].values, cell["beyond"].values)
        if what == "ccdf"
        else (cell["bin"].values, cell["density"].values)
    )
    at = int(np.searchsorted(SIZES, 0.5))
    strength = np.nan_to_num(cell["beyond"].values[:, at], nan=-1.0)
    order = [int(i) for i in np.argsort(-strength, kind="stable") if strength[i] >= 0]
    named = order if len(order) <= NAMED else [*order[: NAMED - 3], *order[-3:]]
    ends: list[tuple[float, float, int]] = []
    for i in order:
        shown = lines[i] * cell["n"].values[i] >= (FEWEST if what == "ccdf" else 1e-9)
        emphasis = i in named
        ax.plot(
            x[shown],
            lines[i][shown],
            color=house.colour(roles[i]),
            lw=1.0 if emphasis else 0.5,
            alpha=1 if emphasis else 0.35,
        )
        if emphasis and shown.any():
            ends.append((float(x[shown][-1]), float(lines[i][shown][-1]), i))
    ax.set_yscale("log")
    if what == "ccdf":
        ax.set_xscale("log")
        ax.set_xlim(SIZES[0], None)
        ax.axvline(0.5, color="#B5B5B5", lw=0.6, zorder=0)
        ax.set_xlabel("size of the difference (nats)")
        ax.set_ylabel("share of tokens beyond")
        if ends:
            ex, ey = (np.array([end[k] for end in ends]) for k in (0, 1))
            tags = [house.signed(keys[end[2]], roles[end[2]]) for end in ends]
            EndLabels(ax, ex, ey, tags, [house.colour(roles[end[2]]) for end in ends])
    else:
        ax.axvline(0, color="#B5B5B5", lw=0.6, zorder=0)
        ax.set_xscale("symlog", linthresh=0.1)
        ax.set_xticks([-10, -1, 0, 1, 10], ["−10", "−1", "0", "1", "10"])
        ax.set_xlabel("difference (nats, logarithmic beyond 0.1)")
        ax.set_ylabel("density (per nat)")
    ax.set_title(f"{prefix_type}: {'tail' if what == 'ccdf' else 'density'} of token differences")
    house.legend(ax, house.role_handles(roles))
    n, missing = cell["n"].values, int(cell["missing"].values.sum())
    house.describe(
        ax,
        f"Logprob with minus without the prompt, token by token: {len(order)} prompts, n = {house.span(n)} "
        f"tokens each ({prefix_type}).",
        "Grey line: 0.5 nats; named are the prompts with most and fewest tokens beyond it. Lines end at 5 tokens."
        if what == "ccdf"
        else "Bins widen with the size of the difference.",
        house.left_out([f"{missing} missing token differences"] if missing else []),
    )
    return ax
