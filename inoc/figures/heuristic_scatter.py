"""A heuristic against what training did, with the least-squares line and its mean band."""

from functools import partial
from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inoc.errors import IncompleteStore
from inoc.figures import fits, house
from inoc.figures.catalog import figure
from inoc.figures.labels import extremes, name_points
from inoc.figures.sources import Source, cells_of, columns_of, strings, with_roles
from inoc.heuristics.frame.registry import find
from inoc.outcomes import rows, suppression
from inoc.outcomes.correlation import correlate
from inoc.outcomes.tidy import full_names
from inoc.store.store import Store

Target = Literal["suppression", "cross", "gap"]
TARGETS: dict[str, str] = {
    "suppression": "suppression or loss (pp)",
    "cross": "suppression of the other trait (pp)",
    "gap": "fixed minus mix suppression (pp)",
}


def heuristic_scatter_data(
    store: Store,
    heuristic: str = "ph",
    target: Target = "suppression",
    *,
    on_target: bool = True,
    heuristics: xr.Dataset | None = None,
    table: xr.Dataset | None = None,
) -> xr.Dataset:
    """A heuristic and an outcome, row by row.

    Args:
        store: The store to read.
        heuristic: The name of a heuristic with one number per prompt and prefix type, or of a part of one.
        target: "suppression", "cross" (of the other trait) or "gap".
        on_target: Only rows whose prompt asks for the row's trait, or is neutral.
        heuristics: What `inoc.heuristics.compute` returned; None to compute it.
        table: What `inoc.outcomes.rows` returned; None to compute it.

    Returns:
        `x`, `y` in pp, `lower` and `upper` of y where it is a suppression, by row, with prompt, role, trait and
        prefix type. By prefix type (dimension `kind`): `r`, `rho`, `n`, `prompts`, `rmse` of its line and `reason`
        for no r (fewer than 8 distinct prompts, or constant). Attributes: `units` of x, `left_out`.

    Raises:
        IncompleteStore: The heuristic cannot be computed, or no row has both.
        BadInput: The heuristic is unknown.
    """
    name = full_names([heuristic])[0]
    if table is None:
        table = rows(store, heuristics, only=None if heuristics is not None else [name])
    names = strings(table["heuristic"])
    name = f"{name}[1]" if name not in names and f"{name}[1]" in names else name
    if name not in names:
        reasons = [str(a) for a in table.attrs.get("absent", []) if str(a).startswith(name.split("[")[0])]
        raise IncompleteStore(reasons[0] if reasons else f"{name} has no single number per prompt here")
    x = table["heuristic_value"].values[names.index(name)].astype(np.float64)
    y = table[target].values.astype(np.float64)
    used = np.isfinite(x) & np.isfinite(y)
    if on_target:
        used &= table["on_target"].values.astype(bool)
    if target == "gap":
        used &= table["prefix_type"].values == "mix"
    if not used.any():
        raise IncompleteStore(f"no row has both {name} and {target}")
    bounds = _bounds(store, table) if target == "suppression" else np.full((2, len(y)), np.nan)
    x, y, bounds = x[used], y[used], bounds[:, used]
    prompts, kinds = (np.array(strings(table[k][used])) for k in ("prompt", "prefix_type"))
    data = xr.Dataset(
        {k: ("row", v) for k, v in zip(("x", "y", "lower", "upper"), (x, y, *bounds), strict=True)},
        coords={k: ("row", strings(table[k][used])) for k in ("prompt", "trait", "prefix_type")},
        attrs={
            "heuristic": name,
            "target": target,
            "units": find(name.split("[")[0]).units,
            "left_out": list(table.attrs.get("left_out", [])),
            "on_target": on_target,
        },
    )
    drawn = list(dict.fromkeys(kinds.tolist()))
    found = [correlate(x[kinds == k], y[kinds == k], prompts[kinds == k]) for k in drawn]
    lines = [fits.line(x[kinds == k], y[kinds == k], prompts[kinds == k]) for k in drawn]
    columns = {name: [getattr(each, name) for each in found] for name in ("r", "rho", "n", "prompts", "reason")}
    columns["rmse"] = [fit.rmse if fit and not each.reason else np.nan for fit, each in zip(lines, found, strict=True)]
    data = data.assign({name: ("kind", values) for name, values in columns.items()}).assign(kind=drawn)
    return with_roles(store, data)


@house.draws(heuristic_scatter_data)
def plot_heuristic_scatter(
    store: Store,
    heuristic: str = "ph",
    target: Target = "suppression",
    *,
    on_target: bool = True,
    sigmoid: bool = False,
    names: int = 8,
    heuristics: xr.Dataset | None = None,
    table: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw an outcome by a heuristic, with 95 % intervals; per prefix type a line with the band of its mean, r and rho.

    Nothing is fitted to fewer than 8 distinct prompts.

    Args:
        sigmoid: Also draw a monotone sigmoid, compared with the line by AIC.
        names: The number of prompts to name, farthest out first.

    Example:
        >>> ax = inoc.plot_heuristic_scatter(store, "gamma", "gap")
        >>> ax.get_ylabel()
        'fixed minus mix suppression (pp)'
    """
    data = heuristic_scatter_data(store, heuristic, target, on_target=on_target, heuristics=heuristics, table=table)
    ax = house.axes_or_new(ax, height=2.8)
    x, y, lower, upper = (data[k].values for k in ("x", "y", "lower", "upper"))
    keys, roles, kinds = columns_of(data, "prompt", "role", "prefix_type")
    told: list[str] = []
    drawn = 0
    compared: list[str] = []
    for place, kind in enumerate(strings(data["kind"])):
        cell, mine = data.isel(kind=place), np.array(kinds) == kind
        told.append(f"{kind}: {_correlations(cell)}")
        if str(cell["reason"].item()):
            continue
        fit = fits.line(x[mine], y[mine], np.array(keys)[mine])
        grid = np.linspace(float(x[mine].min()), float(x[mine].max()), 200)
        if fit is None:
            continue
        drawn += 1
        half = fit.half_band(grid)
        ax.plot(grid, fit(grid), color="black", lw=0.9, ls=house.LINES.get(kind, "-"), zorder=1)
        ax.fill_between(grid, fit(grid) - half, fit(grid) + half, color="#888888", alpha=0.18, lw=0, zorder=0)
        curve = fits.sigmoid(x[mine], y[mine]) if sigmoid else None
        if curve is not None:
            ax.plot(grid, curve(grid), color="black", lw=0.9, ls=":", zorder=1)
            compared.append(f"{kind} line {fit.aic:.0f}, sigmoid {curve.aic:.0f}")
    house.intervals(ax, x, y, lower, upper, [house.color(r) for r in roles])
    house.points(ax, x, y, roles, kinds, 15.0)
    low, high = float(min(np.nanmin(lower, initial=0), y.min())), float(y.max())
    ax.set_ylim(low - 0.05 * (high - low), high + 0.38 * (high - low))
    words = ax.text(0.03, 0.97, "\n".join(told), transform=ax.transAxes, va="top", fontsize=6, linespacing=1.3)
    words.set_in_layout(False)
    house.guide(ax, y=0)
    farthest = {keys[i]: i for i in reversed(extremes(x, y, len(x)))}  # one point of each prompt
    name_points(ax, x, y, list(farthest.values())[::-1][:names], keys, roles)
    units = house.units(data.attrs["units"])
    ax.set(xlabel=data.attrs["heuristic"] + (f" ({units})" if units not in ("", "1") else ""), ylabel=TARGETS[target])
    house.legend(ax, [*house.prefix_handles(kinds), *house.role_handles(roles)])
    house.describe(
        ax,
        f"{data.attrs['heuristic']} against {target}: n = {len(x)} rows of {len(set(keys))} prompts"
        + (", on-target rows only (the prompt asks for the row's trait, or is neutral)." if on_target else "."),
        "Lines: least squares per prefix type with the 95 % band of the mean, prompts as sample." if drawn else "",
        f"Dotted: monotone sigmoid, the best of 12 starts (AIC: {'; '.join(compared)})." if compared else "",
        "Vertical lines are 95 % paired t intervals." if np.isfinite(lower).any() else "",
        house.left_out(*data.attrs["left_out"]),
    )
    return ax


def _correlations(cell: xr.Dataset) -> str:
    """r, rho and what they rest on, or why there are none."""
    n = f"n = {int(cell['n'])}, {int(cell['prompts'])} prompts"
    if reason := str(cell["reason"].item()):
        return f"{n}, no r ({reason.split('; ')[-1]})"
    r, rho, rmse = (float(cell[k]) for k in ("r", "rho", "rmse"))
    return f"r = {r:.2f}, ρ = {rho:.2f}, {n}" + (f", RMSE {rmse:.1f}" if np.isfinite(rmse) else "")


def _bounds(store: Store, table: xr.Dataset) -> Float64[np.ndarray, "bound row"]:
    """Ends of the suppression interval of each row; NaN where seeds were averaged."""
    held = suppression(store)
    cells, traits = cells_of(held), strings(held["trait"])
    ends = np.full((2, table.sizes["row"]), np.nan)
    for row, (*cell, trait) in enumerate(zip(*columns_of(table, "prompt", "prefix_type", "trait"), strict=True)):
        found = cells.get((cell[0], cell[1]), [])
        if len(found) == 1:
            ends[:, row] = [held[part].values[found[0], traits.index(trait)] for part in ("lower", "upper")]
    return ends


@figure("scatter_suppression", "scatter", "Heuristics of the base model against suppression.", target="suppression")
@figure("scatter_cross", "scatter", "Heuristics against the suppression of the other trait.", target="cross")
def draw(source: Source, target: Target) -> Figure:
    options = {"sigmoid": True, "names": 4, "heuristics": source.heuristics, "table": source.rows}
    plots = [partial(plot_heuristic_scatter, source.store, name, target, **options) for name in source.scattered]
    return house.panels(plots, min(2, len(plots)), 2.3)
