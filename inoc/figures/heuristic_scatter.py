"""A heuristic against what training did, with the least-squares line and its mean band."""

# matplotlib's stubs leave some argument types unknown
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.errors import IncompleteStore
from inoc.figures import fits, house
from inoc.figures.labels import PointLabels, extremes
from inoc.figures.sources import roles_of
from inoc.outcomes import rows, suppression
from inoc.outcomes.correlation import SMALLEST, pearson, spearman
from inoc.outcomes.tidy import full_names
from inoc.store.store import Store

Target = Literal["suppression", "cross", "gap"]
TARGETS: dict[str, str] = {
    "suppression": "suppression (pp)",
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
    """x and y by row, with prompt, role, trait, prefix type, and lower and upper ends of y where it is a suppression.

    attrs: `r`, `rho`, `n`, `rmse` (of the line), `units`, `left_out`. `table`: what `inoc.outcomes.rows` gave.
    """
    name = full_names([heuristic])[0]
    if table is None:
        table = rows(store, heuristics, only=None if heuristics is not None else [name])
    names = [str(h) for h in table["heuristic"].values]
    name = f"{name}[1]" if name not in names and f"{name}[1]" in names else name
    if name not in names:
        reasons = [str(a) for a in table.attrs.get("absent", []) if str(a).startswith(name.split("[")[0])]
        raise IncompleteStore(reasons[0] if reasons else f"{name} is no single number per prompt here")
    x = table["heuristic_value"].values[names.index(name)].astype(np.float64)
    y = table[target].values.astype(np.float64)
    used = np.isfinite(x) & np.isfinite(y)
    if on_target:
        used &= table["on_target"].values.astype(bool)
    if target == "gap":
        used &= table["prefix_type"].values == "mix"
    if not used.any():
        raise IncompleteStore(f"no row has both {name} and {target}")
    lower, upper = _bounds(store, table) if target == "suppression" else (np.full(len(y), np.nan),) * 2
    x, y = x[used], y[used]
    fit = fits.line(x, y)
    labels = {k: [str(v) for v in table[k].values[used]] for k in ("prompt", "trait", "prefix_type")}
    roles = roles_of(store)
    return xr.Dataset(
        {"x": ("row", x), "y": ("row", y), "lower": ("row", lower[used]), "upper": ("row", upper[used])},
        coords={
            **{k: ("row", v) for k, v in labels.items()},
            "role": ("row", [roles.get(p, "") for p in labels["prompt"]]),
        },
        attrs={
            "heuristic": name,
            "target": target,
            "r": float(pearson(x[None], y)[0]),
            "rho": float(spearman(x[None], y)[0]),
            "n": len(x),
            "rmse": fit.rmse if fit else float("nan"),
            "units": _units(store, name, heuristics),
            "left_out": list(table.attrs.get("left_out", [])),
            "on_target": on_target,
        },
    )


@house.styled
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
    """Points with 95 % intervals, the least-squares line with the 95 % band of the mean, and r, rho, n, RMSE.

    `sigmoid`: also a monotone sigmoid, compared with the line by AIC. `names`: prompts named, farthest out first.
    """
    data = heuristic_scatter_data(
        store, heuristic, target, on_target=on_target, heuristics=heuristics, table=table
    )
    ax = house.axes_or_new(ax, height=2.8)
    x, y = data["x"].values, data["y"].values
    roles, kinds = ([str(v) for v in data[k].values] for k in ("role", "prefix_type"))
    grid = np.linspace(x.min(), x.max(), 200) if np.ptp(x) > 0 else x[:1]
    fit = fits.line(x, y)
    lines = [_correlations(data), f"n = {len(x)}"]
    if fit is not None:
        lines[-1] += f"   RMSE = {fit.rmse:.1f} pp"
        ax.plot(grid, fit(grid), color="black", lw=0.9, zorder=1)
        half = fit.half_band(grid)
        ax.fill_between(grid, fit(grid) - half, fit(grid) + half, color="#E3E3E3", lw=0, zorder=0)
    curve = fits.sigmoid(x, y) if sigmoid else None
    if curve is not None and fit is not None:
        ax.plot(grid, curve(grid), color="black", lw=0.9, ls=":", zorder=1)
        lines.append(f"AIC line {fit.aic:.0f}, sigmoid {curve.aic:.0f}")
    house.intervals(ax, x, y, data["lower"].values, data["upper"].values, [house.colour(r) for r in roles])
    house.points(ax, x, y, roles, kinds, 15.0)
    low, high = float(min(np.nanmin(data["lower"].values, initial=0), y.min())), float(y.max())
    ax.set_ylim(low - 0.05 * (high - low), high + 0.38 * (high - low))
    ax.text(0.03, 0.97, "\n".join(lines), transform=ax.transAxes, va="top", fontsize=6.5, linespacing=1.3)
    house.zero(ax, y=True)
    chosen = [i for i in extremes(x, y, len(x))]
    first = list({str(data["prompt"].values[i]): i for i in reversed(chosen)}.values())[::-1][:names]
    tags = [house.signed(str(data["prompt"].values[i]), roles[i]) for i in first]
    PointLabels(
        ax, x[first], y[first], tags, [house.colour(roles[i]) for i in first], np.column_stack([x, y])
    )
    units = house.units(data.attrs["units"])
    ax.set_xlabel(data.attrs["heuristic"] + (f" ({units})" if units not in ("", "1") else ""))
    ax.set_ylabel(TARGETS[target])
    house.legend(ax, [*house.prefix_handles(kinds), *house.role_handles(roles)])
    house.describe(
        ax,
        f"{data.attrs['heuristic']} against {target}: n = {len(x)} rows of {len(set(data['prompt'].values))} prompts"
        + (
            ", on-target rows only (the prompt asks for the row's trait, or is neutral)."
            if on_target
            else "."
        ),
        "Line: least squares with the 95 % band of its mean." if fit is not None else "",
        "Dotted: monotone sigmoid, the best of 12 starts." if curve is not None else "",
        "Vertical lines are 95 % paired t intervals." if np.isfinite(data["lower"].values).any() else "",
        house.left_out(data.attrs["left_out"]),
    )
    return ax


def _correlations(data: xr.Dataset) -> str:
    """r and rho in words, or why there are none."""
    r, rho, n = (data.attrs[k] for k in ("r", "rho", "n"))
    if np.isfinite(r) and np.isfinite(rho):
        return f"r = {r:.2f}   ρ = {rho:.2f}"
    return f"no r below n = {SMALLEST}" if n < SMALLEST else "no r: all alike in x or y"


def _bounds(store: Store, table: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the suppression interval of each row; NaN where seeds were averaged."""
    held = suppression(store)
    places: dict[tuple[str, str], list[int]] = {}
    for i, key in enumerate(zip(held["run_prompt"].values, held["prefix_type"].values, strict=True)):
        places.setdefault((str(key[0]), str(key[1])), []).append(i)
    traits = [str(t) for t in held["trait"].values]
    ends = np.full((2, table.sizes["row"]), np.nan)
    keys = zip(table["prompt"].values, table["prefix_type"].values, table["trait"].values, strict=True)
    for row, (prompt, kind, trait) in enumerate(keys):
        found = places.get((str(prompt), str(kind)), [])
        if len(found) == 1:
            t = traits.index(str(trait))
            ends[:, row] = held["lower"].values[found[0], t], held["upper"].values[found[0], t]
    return ends[0], ends[1]


def _units(store: Store, name: str, heuristics: xr.Dataset | None) -> str:
    from inoc.heuristics.frame.registry import find

    return find(name.split("[")[0]).units
