"""Mean token difference by position in the completion: where a prompt does its work."""

# matplotlib's stubs leave some argument types unknown
# pyright: reportUnknownMemberType=false

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.figures import house
from inoc.figures.labels import EndLabels
from inoc.figures.sources import one_of, roles_of
from inoc.figures.token_rows import token_rows, token_table
from inoc.store.store import Store

ENOUGH = 10
"""Examples a position needs."""
FURTHEST = 512
NAMED = 7


def position_means_data(store: Store, *, completion_set: str = "train") -> xr.Dataset:
    """mean, se (prefix_type, prompt, position) in nats and n examples (position); NaN below 10 examples.

    Positions 0 to 511. Raises IncompleteStore without tokens.
    """
    table = token_table(store, completion_set)
    length = min(int(table.position.max(initial=0)) + 1, FURTHEST)
    shape = (len(table.prefix_types), len(table.prompts), length)
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
        place = row.prefix_type, row.prompt
        mean[place], error[place] = (
            np.where(enough, level, np.nan),
            np.where(enough, spread / np.sqrt(k), np.nan),
        )
        n[place] = count
    roles = roles_of(store)
    dims = ("prefix_type", "prompt", "position")
    return xr.Dataset(
        {"mean": (dims, mean, {"units": "nats"}), "se": (dims, error, {"units": "nats"}), "n": (dims, n)},
        coords={
            "prefix_type": list(table.prefix_types),
            "prompt": list(table.prompts),
            "position": np.arange(length),
            "role": ("prompt", [roles.get(p, "") for p in table.prompts]),
        },
        attrs={"examples": table.examples},
    )


@house.styled
def plot_position_means(
    store: Store, *, prefix_type: str = "fixed", data: xr.Dataset | None = None, ax: Axes | None = None
) -> Axes:
    """Cumulative mean difference by position, one line per prompt; the strongest are named and carry their 95 % band.

    The running sum of the mean differences up to a position: a step shows where the prompt helps.
    """
    table = position_means_data(store) if data is None else data
    one_of("prefix type", prefix_type, [str(k) for k in table["prefix_type"].values])
    cell = table.sel(prefix_type=prefix_type)
    keys, roles = ([str(v) for v in cell[k].values] for k in ("prompt", "role"))
    mean, error = cell["mean"].values, cell["se"].values
    usable = int(np.isfinite(mean).any(axis=0).sum())
    ax = house.axes_or_new(ax, height=2.7)
    position = cell["position"].values[:usable] + 1
    running = np.cumsum(np.nan_to_num(mean[:, :usable]), axis=1)
    band = 1.96 * np.sqrt(np.cumsum(np.nan_to_num(error[:, :usable]) ** 2, axis=1))
    order = np.argsort(-np.abs(running[:, -1]), kind="stable") if usable else np.zeros(0, dtype=int)
    named = [int(i) for i in order[:NAMED]]
    for i in (int(i) for i in order):
        strong = i in named
        ink = house.colour(roles[i])
        ax.plot(position, running[i], color=ink, lw=1.0 if strong else 0.5, alpha=1 if strong else 0.35)
        if i in named[:3]:
            ax.fill_between(position, running[i] - band[i], running[i] + band[i], color=ink, alpha=0.12, lw=0)
    if named:
        ends = np.array([running[i, -1] for i in named])
        tags = [house.signed(keys[i], roles[i]) for i in named]
        EndLabels(
            ax, np.full(len(named), float(position[-1])), ends, tags, [house.colour(roles[i]) for i in named]
        )
    house.zero(ax, y=True)
    ax.set_xscale("log")
    ax.set_xlabel("position in the completion (tokens, log scale)")
    ax.set_ylabel("summed mean difference (nats)")
    ax.set_title(f"{prefix_type}: by position")
    house.legend(ax, house.role_handles(roles))
    house.describe(
        ax,
        f"Running sum over positions of the mean token difference, {len(keys)} prompts, "
        f"{table.attrs['examples']} examples, "
        f"positions with at least {ENOUGH} of them ({usable} of {cell.sizes['position']}).",
        "Bands of the three strongest: 1.96 standard errors, positions taken as independent.",
        f"Named: the {NAMED} prompts that move most." if len(keys) > NAMED else "",
    )
    return ax
