"""Which comparison of fixed and mix goes with the gap: heuristic by variant {raw, pca-1, svd-1}."""

from functools import partial

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from inoc.errors import IncompleteStore
from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.layout import Panels
from inoc.figures.sources import Source, strings
from inoc.heuristics.frame.rows import column_name
from inoc.heuristics.maths.gap import is_constant
from inoc.outcomes import rows
from inoc.outcomes.correlation import FEWEST, bootstrap_r, correlate
from inoc.store.store import Store

HEURISTICS = (
    "ph_ratio", "variance_diff", "gamma_mix", "snr_mix", "cosine", "effective_rank_mix", "snr_ratio",
    "mald_ratio", "snr_abs_mix", "snr_abs_ratio",
)  # fmt: skip
VARIANTS = {"raw": "raw", "pca-1": "pca1", "svd-1": "svd1"}
PALE = 0.3
"""Opacity of a cell whose interval does not exclude 0."""


def gap_grid_data(
    store: Store,
    trait: str | None = None,
    *,
    on_target: bool = True,
    heuristics: xr.Dataset | None = None,
    table: xr.Dataset | None = None,
) -> xr.Dataset:
    """Correlation of each comparison of fixed and mix with the gap.

    Args:
        store: The store to read.
        trait: Only the rows of this trait; None for all.
        on_target: Only rows whose prompt asks for the row's trait, or is neutral.
        heuristics: What `inoc.heuristics.compute` returned; None to compute it.
        table: What `inoc.outcomes.rows` returned; None to compute it.

    Returns:
        `r`, its 95 % prompt-bootstrap interval `lower` and `upper`, `rho`, `n` rows, and `constant` (heuristic,
        variant). r is NaN where the heuristic is constant (range <= 1e-9 of its scale) or known for fewer than 8
        distinct prompts.

    Raises:
        IncompleteStore: Prompts are not scored both fixed and mix, or fewer than 8 distinct prompts have a gap.
    """
    names = [column_name(name, {"variant": kind}) for name in HEURISTICS for kind in VARIANTS.values()]
    if table is None:
        table = rows(store, heuristics, only=None if heuristics is not None else HEURISTICS)
    known = strings(table["heuristic"])
    if not set(names) & set(known):
        raise IncompleteStore("no comparison of fixed and mix is stored. Fix: score both with `inoc score`.")
    y = table["gap"].values.astype(np.float64)
    used = np.isfinite(y) & (table["prefix_type"].values == "mix")
    used &= table["on_target"].values.astype(bool) if on_target else True
    used &= table["trait"].values == trait if trait else True
    y, prompts = y[used], np.asarray(table["prompt"].values[used]).astype(str)
    distinct = int(np.unique(prompts).size)
    if distinct < FEWEST:
        raise IncompleteStore(f"only {distinct} distinct prompts have a gap; a correlation needs {FEWEST}")
    shape = (len(HEURISTICS), len(VARIANTS))
    numbers = {k: np.full(shape, np.nan) for k in ("r", "rho", "lower", "upper", "n")}
    constant = np.zeros(shape, dtype=bool)
    for place, name in zip(np.ndindex(shape), names, strict=True):
        if name not in known:
            continue
        x = table["heuristic_value"].values[known.index(name)].astype(np.float64)[used]
        finite = np.isfinite(x)
        numbers["n"][place] = finite.sum()
        constant[place] = bool(finite.any()) and is_constant(x)
        if not constant[place]:
            found = correlate(x, y, prompts)
            numbers["r"][place], numbers["rho"][place] = found.r, found.rho
            numbers["lower"][place], numbers["upper"][place] = bootstrap_r(x, y, prompts)
    dims = ("heuristic", "variant")
    return xr.Dataset(
        {**{k: (dims, v) for k, v in numbers.items()}, "constant": (dims, constant)},
        coords={"heuristic": list(HEURISTICS), "variant": list(VARIANTS)},
        attrs={"rows": int(used.sum()), "prompts": distinct, "left_out": list(table.attrs.get("left_out", []))},
    )


@house.draws(gap_grid_data)
def plot_gap_grid(
    store: Store,
    trait: str | None = None,
    *,
    on_target: bool = True,
    heuristics: xr.Dataset | None = None,
    table: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw r with the gap as number and color, with its interval.

    Cells whose interval does not exclude 0 are pale; cells that are constant by construction are hatched.

    Example:
        >>> ax = inoc.plot_gap_grid(store)
        >>> [tick.get_text() for tick in ax.get_xticklabels()]
        ['raw', 'pca-1', 'svd-1']
    """
    data = gap_grid_data(store, trait, on_target=on_target, heuristics=heuristics, table=table)
    ax = house.axes_or_new(ax, height=3.6)
    shape = data["r"].shape
    clear = data["lower"].values * data["upper"].values > 0
    pale = np.where(clear, 1.0, PALE)
    ax.imshow(data["r"].values, cmap="PuOr_r", vmin=-1, vmax=1, aspect="auto", alpha=pale)
    for h, v in np.ndindex(shape):
        cell = data.isel(heuristic=h, variant=v)
        r, low, high, n = (float(cell[k]) for k in ("r", "lower", "upper", "n"))
        ink = "#444444"
        if bool(cell["constant"]):
            ax.add_patch(Rectangle((v - 0.5, h - 0.5), 1, 1, fc="#F6F6F6", ec="#DDDDDD", hatch="////", lw=0))
            text = "constant"
        elif not np.isfinite(r):
            text = f"n = {int(np.nan_to_num(n))}"
        else:
            interval = f"[{low:+.2f}, {high:+.2f}]" if np.isfinite(low) else "no interval"
            text = f"{r:+.2f}\n{interval}".replace("-", "−")
            ink = "white" if abs(r) > 0.7 and clear[h, v] else "black"
        ax.text(v, h, text, ha="center", va="center", fontsize=6, color=ink, linespacing=1.15)
    ax.set_xticks(range(shape[1]), strings(data["variant"]))
    ax.set_yticks(range(shape[0]), strings(data["heuristic"]))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xticks(np.arange(0.5, shape[1] - 1), minor=True)
    ax.set_yticks(np.arange(0.5, shape[0] - 1), minor=True)
    ax.tick_params(which="minor", length=0)
    ax.grid(which="minor", color="white", lw=1.5)
    ax.set_title(f"r with the gap{f' of {trait}' if trait else ''} (95 % interval)")
    ax.set_xlabel(f"n = {data.attrs['rows']} rows of {data.attrs['prompts']} prompts")
    house.describe(
        ax,
        f"Pearson r of each fixed-mix comparison with the gap (fixed minus mix suppression): n = {data.attrs['rows']} "
        f"rows of {data.attrs['prompts']} prompts" + (", on target." if on_target else "."),
        "In brackets the 95 % prompt-bootstrap interval; pale: it does not exclude 0; hatched: constant over these "
        "rows by construction.",
        house.left_out(*data.attrs["left_out"]),
    )
    return ax


@figure("gap_grid", "gap", "Which comparison of fixed and mix goes with the gap between them.")
def draw(source: Source) -> Panels:
    options = {"heuristics": source.heuristics, "table": source.rows}
    return Panels([partial(plot_gap_grid, source.store, **options)], height=3.6)
