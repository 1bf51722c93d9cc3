"""The performance table as a forest plot: correlation of every heuristic with a target, with its interval."""

from functools import partial

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.errors import IncompleteStore
from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.layout import Panels
from inoc.figures.sources import Source, choose, strings
from inoc.outcomes import performance_of, rows
from inoc.store.store import Store

SHOWN = 25
TITLES = {
    "all": "suppression, all rows",
    "fixed": "suppression, fixed",
    "mix": "suppression, mix",
    "cross": "suppression of the other trait",
    "gap": "fixed minus mix gap",
}


def performance_forest_data(
    store: Store, *, heuristics: xr.Dataset | None = None, table: xr.Dataset | None = None
) -> xr.Dataset:
    """Correlations of every heuristic with what training did.

    Args:
        store: The store to read.
        heuristics: What `inoc.heuristics.compute` returned; None to compute it.
        table: What `inoc.outcomes.rows` returned; None to compute it.

    Returns:
        What `inoc.outcomes.performance` returns: `r`, `r_lower`, `r_upper`, `rho`, `n`, `prompts` (heuristic, target).

    Raises:
        IncompleteStore: The store has no outcomes.
    """
    return performance_of(rows(store, heuristics) if table is None else table)


@house.draws(performance_forest_data)
def plot_performance_forest(
    store: Store,
    target: str = "all",
    *,
    most: int = SHOWN,
    data: xr.Dataset | None = None,
    heuristics: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw r (filled) with its 95 % interval and rho (hollow), sorted by the size of r.

    Args:
        target: "all", "fixed", "mix", "cross" or "gap".
        most: The number of heuristics to draw, the strongest first.

    Raises:
        IncompleteStore: No heuristic has a correlation with the target.
        BadInput: The target is unknown.

    Example:
        >>> ax = inoc.plot_performance_forest(store, "gap", most=5)
        >>> len(ax.get_yticklabels())
        5
    """
    data = performance_forest_data(store, heuristics=heuristics) if data is None else data
    cell = data.sel(target=choose(data, "target", target))
    r = cell["r"].values
    known = np.flatnonzero(np.isfinite(r))
    if not known.size:
        raise IncompleteStore(f"no heuristic has a correlation with {target}: {_why(cell)}")
    order = known[np.argsort(-np.abs(r[known]), kind="stable")][:most]
    shown = cell.isel(heuristic=order)
    title, at = TITLES.get(target, target), np.arange(len(order))
    ax = house.axes_or_new(ax, height=house.row_height(len(order), 9.5))
    house.guide(ax, x=0)
    ax.hlines(at, shown["r_lower"].values, shown["r_upper"].values, color="black", lw=0.8)
    (filled,) = ax.plot(r[order], at, ls="", marker="o", ms=3.6, color="black", label="Pearson r, 95 % interval")
    (hollow,) = ax.plot(
        shown["rho"].values, at, ls="", marker="d", ms=3.6, mfc="white", mec="black", mew=0.6, label="Spearman ρ",
    )  # fmt: skip
    ax.set_yticks(at, strings(shown["heuristic"]))
    ax.set_ylim(len(order) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(-1.05, 1.05)
    n, prompts = (int(shown[k].values.max()) for k in ("n", "prompts"))
    ax.set(xlabel=f"correlation\nn = {n}, {prompts} prompts", title=title)
    house.legend(ax, [filled, hollow])
    unknown = r.size - known.size
    house.describe(
        ax,
        f"{title.capitalize()}: n = {n} rows of {prompts} prompts.",
        "Intervals: 95 %, bootstrap over prompts (BCa); on-target rows, one common set of rows per target.",
        f"Shown: the {len(order)} largest of {known.size} correlations." if known.size > len(order) else "",
        f"{unknown} heuristics have no correlation here (constant, or known for too few rows)." if unknown else "",
        house.left_out(*data.attrs.get("left_out", [])),
    )
    return ax


def _why(cell: xr.Dataset) -> str:
    """The reason that most heuristics have no correlation for."""
    reasons = [reason for reason in strings(cell["reason"]) if reason]
    return max(set(reasons), key=reasons.count) if reasons else "no heuristic is known"


@figure("performance_forest", "performance", "Every heuristic's correlation with what training did.")
def draw(source: Source) -> Panels:
    data = performance_forest_data(source.store, table=source.rows)
    known = strings(data["target"])
    shown = [t for t in ("all", "cross", "gap") if t in known and data.sel(target=t)["r"].notnull().any()]
    if not shown:
        raise IncompleteStore(f"no heuristic has a correlation: {_why(data.sel(target='all'))}")
    plots = [partial(plot_performance_forest, source.store, target, data=data) for target in shown]
    return Panels(plots, len(shown), house.row_height(SHOWN, 9.5, 0.9))
