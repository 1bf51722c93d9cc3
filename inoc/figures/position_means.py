"""Mean token difference by position in the completion: where a prompt has its effect."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.labels import End, EndLabels
from inoc.figures.layout import Panels
from inoc.figures.sources import Source, choose, columns_of
from inoc.figures.token_rows import CELL, token_rows, token_table
from inoc.store.store import Store

ENOUGH = 10
"""Examples a position needs."""
FURTHEST = 512
NAMED = 7


def position_means_data(store: Store, *, completion_set: str = "train") -> xr.Dataset:
    """Mean token difference at each of the first 512 positions.

    Args:
        store: The store to read.
        completion_set: The set of completions.

    Returns:
        `mean` and `se` in nats and `n` examples (prefix_type, prompt, position); NaN below 10 examples.

    Raises:
        IncompleteStore: The set is not stored token by token.
    """
    table = token_table(store, completion_set)
    length = min(int(table.position.max(initial=0)) + 1, FURTHEST)
    shape = (*table.shape, length)
    mean, error, n = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, dtype=np.int64)
    for row in token_rows(store, table, completion_set):
        used = np.isfinite(row.delta) & (table.position < length)
        at, delta = table.position[used], row.delta[used]
        count = np.bincount(at, minlength=length)
        total, square = (np.bincount(at, weights=v, minlength=length) for v in (delta, delta**2))
        enough = count >= ENOUGH
        k = np.where(enough, count, 1)
        level = total / k
        spread = np.sqrt(np.maximum(square / k - level**2, 0) * k / np.maximum(k - 1, 1))
        mean[row.cell] = np.where(enough, level, np.nan)
        error[row.cell] = np.where(enough, spread / np.sqrt(k), np.nan)
        n[row.cell] = count
    dims = (*CELL, "position")
    return xr.Dataset(
        {"mean": (dims, mean, {"units": "nats"}), "se": (dims, error, {"units": "nats"}), "n": (dims, n)},
        coords={**table.coords(store), "position": np.arange(length)},
        attrs={"examples": table.examples},
    )


@house.draws(position_means_data)
def plot_position_means(
    store: Store, *, prefix_type: str = "fixed", data: xr.Dataset | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the running sum of the mean differences by position, one line per prompt.

    A step shows where the prompt helps. The strongest prompts are named, and three of them have a 95 % band.

    Args:
        prefix_type: "fixed" or "mix".

    Raises:
        IncompleteStore: The store has no tokens.
        BadInput: The prefix type is unknown.

    Example:
        >>> ax = inoc.plot_position_means(store, prefix_type="mix")
    """
    data = position_means_data(store) if data is None else data
    cell = data.loc[{"prefix_type": choose(data, "prefix_type", prefix_type)}]
    keys, roles = columns_of(cell, "prompt", "role")
    mean, error = cell["mean"].values, cell["se"].values
    usable = int(np.isfinite(mean).any(axis=0).sum())
    ax = house.axes_or_new(ax, height=2.7)
    position = cell["position"].values[:usable] + 1
    running = np.cumsum(np.nan_to_num(mean[:, :usable]), axis=1)
    band = 1.96 * np.sqrt(np.cumsum(np.nan_to_num(error[:, :usable]) ** 2, axis=1))
    order = [int(i) for i in np.argsort(-np.abs(running[:, -1]), kind="stable")] if usable else []
    ends: list[End] = []
    for place, i in enumerate(order):
        strong, ink = place < NAMED, house.color(roles[i])
        ax.plot(position, running[i], color=ink, lw=1.0 if strong else 0.5, alpha=1 if strong else 0.35)
        if place < 3:
            ax.fill_between(position, running[i] - band[i], running[i] + band[i], color=ink, alpha=0.12, lw=0)
        if strong:
            ends.append(End(float(position[-1]), running[i, -1], house.signed(keys[i], roles[i]), ink))
    EndLabels(ax, ends)
    house.guide(ax, y=0)
    ax.set_xscale("log")
    ax.set(xlabel="position (tokens, log scale)", ylabel="summed mean difference (nats)")
    ax.set_title(f"{prefix_type}: by position")
    house.legend(ax, house.role_handles(roles))
    house.describe(
        ax,
        f"Running sum over positions of the mean token difference, {len(keys)} prompts, {data.attrs['examples']} "
        f"examples, positions with at least {ENOUGH} of them ({usable} of {cell.sizes['position']}).",
        "Bands of the three strongest: 1.96 standard errors, positions taken as independent.",
        f"Named: the {NAMED} prompts that move most." if len(keys) > NAMED else "",
    )
    return ax


@figure("position_means", "tokens", "Where in the completion a prompt has its effect.")
def draw(source: Source) -> Panels:
    return source.by_prefix_type(plot_position_means, data=position_means_data(source.store))
