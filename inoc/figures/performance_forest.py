"""The performance table as a forest plot: correlation of every heuristic with a target, with its interval."""

# matplotlib's stubs leave some argument types unknown
# pyright: reportUnknownMemberType=false

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.errors import IncompleteStore
from inoc.figures import house
from inoc.figures.sources import one_of
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
    """What `inoc.outcomes.performance` says of the store: r, r_lower, r_upper, rho, n, prompts (heuristic, target)."""
    if table is None:
        table = rows(store, heuristics)
    return performance_of(table)


@house.styled
def plot_performance_forest(
    store: Store,
    target: str = "all",
    *,
    most: int = SHOWN,
    data: xr.Dataset | None = None,
    heuristics: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """r (filled) with its 95 % interval and rho (hollow), sorted by the size of r; the strongest `most`."""
    table = performance_forest_data(store, heuristics=heuristics) if data is None else data
    one_of("target", target, [str(t) for t in table["target"].values])
    cell = table.sel(target=target)
    r = cell["r"].values
    known = np.flatnonzero(np.isfinite(r))
    if not known.size:
        raise IncompleteStore(f"no heuristic has a correlation with {target}: too few rows")
    order = known[np.argsort(-np.abs(r[known]), kind="stable")][:most]
    names = [str(cell["heuristic"].values[i]) for i in order]
    ax = house.axes_or_new(ax, height=house.row_height(len(order), 9.5))
    at = np.arange(len(order))
    ax.axvline(0, color="#B5B5B5", lw=0.6, zorder=0)
    lower, upper = cell["r_lower"].values[order], cell["r_upper"].values[order]
    ax.hlines(at, lower, upper, color="black", lw=0.8)
    (shown_r,) = ax.plot(
        r[order], at, ls="", marker="o", ms=3.6, color="black", label="Pearson r, 95 % interval"
    )
    rho = cell["rho"].values[order]
    (shown_rho,) = ax.plot(
        rho, at, ls="", marker="d", ms=3.6, mfc="white", mec="black", mew=0.6, label="Spearman ρ"
    )
    ax.set_yticks(at, names)
    ax.set_ylim(len(order) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(-1.05, 1.05)
    ax.set_xlabel("correlation")
    ax.set_title(TITLES.get(target, target))
    house.legend(ax, [shown_r, shown_rho])
    n, prompts = (int(cell[k].values[order].max()) for k in ("n", "prompts"))
    unknown = r.size - known.size
    house.describe(
        ax,
        f"{TITLES.get(target, target).capitalize()}: n = {n} rows of {prompts} prompts.",
        "Intervals: 95 %, bootstrap over prompts (BCa); on-target rows, one common set of rows per target.",
        f"Shown: the {len(order)} largest of {known.size} correlations." if known.size > len(order) else "",
        f"{unknown} heuristics have no correlation here (constant, or known for too few rows)."
        if unknown
        else "",
        house.left_out(table.attrs.get("left_out", [])),
    )
    return ax
