"""Q1: signed coordinates of the first two components against the suppression of each trait."""

# matplotlib's stubs leave some argument types unknown
# pyright: reportUnknownMemberType=false

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.errors import IncompleteStore
from inoc.figures import fits, house
from inoc.figures.labels import PointLabels, extremes
from inoc.figures.sources import one_of
from inoc.figures.spectrum import Kind, spectrum_data
from inoc.heuristics.maths.angles import SHOW_R_FROM, correlation
from inoc.store.store import Store


def component_suppression_data(
    store: Store,
    kind: Kind = "pca",
    *,
    tokenwise: bool = False,
    show_from: int = SHOW_R_FROM,
    heuristics: xr.Dataset | None = None,
) -> xr.Dataset:
    """r, p, n (prefix_type, component, trait) of coordinate and suppression over the trained prompts, and both sides.

    r is NaN with fewer than `show_from` prompts. Components 1 and 2.
    """
    data = spectrum_data(store, kind, tokenwise=tokenwise, heuristics=heuristics)
    data = data.sel(component=[1, 2]).transpose("prefix_type", "component", "trait", "prompt")
    if not np.isfinite(data["suppression"].values).any():
        raise IncompleteStore(
            "no scored prompt has a suppression; `inoc train` and `inoc evaluate` measure it"
        )
    dims = ("prefix_type", "component", "trait")
    found = np.full((*(data.sizes[d] for d in dims), 3), np.nan)
    for f, c, t in np.ndindex(found.shape[:3]):
        x = data["coordinate"].values[f, c].astype(np.float64)
        y = data["suppression"].isel(prefix_type=f, trait=t).values.astype(np.float64)
        found[f, c, t] = tuple(correlation(x, y, show_from=show_from))
    for i, name in enumerate(("r", "p", "n")):
        data[name] = (dims, found[..., i])
    data.attrs["show_from"] = show_from
    return data


@house.styled
def plot_component_suppression(
    store: Store,
    component: int = 1,
    trait: str | None = None,
    kind: Kind = "pca",
    *,
    tokenwise: bool = False,
    heuristics: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Suppression of one trait by the signed coordinate of one component, all prefix types; r from 8 prompts on."""
    data = component_suppression_data(store, kind, tokenwise=tokenwise, heuristics=heuristics)
    traits = [str(t) for t in data["trait"].values]
    chosen = one_of("trait", trait or traits[0], traits)
    cell = data.sel(component=component, trait=chosen)
    kinds = [str(k) for k in data["prefix_type"].values]
    x = cell["coordinate"].transpose("prefix_type", "prompt").values.astype(np.float64)
    y = cell["suppression"].transpose("prefix_type", "prompt").values.astype(np.float64)
    shown = np.isfinite(x) & np.isfinite(y)
    f, p = np.nonzero(shown)
    roles = [str(data["role"].values[i]) for i in p]
    keys = [str(data["prompt"].values[i]) for i in p]
    ax = house.axes_or_new(ax, height=2.7)
    house.points(ax, x[shown], y[shown], roles, [kinds[i] for i in f], 15.0)
    lines: list[str] = []
    for k, kind_name in enumerate(kinds):
        n, r = int(cell["n"].values[k]), float(cell["r"].values[k])
        said = f"r = {r:.2f}" if np.isfinite(r) else f"no r below n = {data.attrs['show_from']}"
        lines.append(f"{kind_name}: n = {n}, {said}")
        fit = fits.line(x[k], y[k]) if np.isfinite(r) else None
        if fit is not None:
            ends = np.array([np.nanmin(x[k][shown[k]]), np.nanmax(x[k][shown[k]])])
            ax.plot(ends, fit(ends), color="black", lw=0.8, ls=house.LINES.get(kind_name, "-"), zorder=1)
    ax.set_ylim(min(y[shown].min(), 0) - 4, y[shown].max() + 0.4 * max(float(np.ptp(y[shown])), 10.0))
    ax.margins(x=0.12)
    ax.text(0.03, 0.98, "\n".join(lines), transform=ax.transAxes, va="top", fontsize=6.5)
    house.zero(ax, x=True, y=True)
    order = extremes(x[shown], y[shown], 5)
    tags = [house.signed(keys[i], roles[i]) for i in order]
    at = np.column_stack([x[shown], y[shown]])
    PointLabels(ax, at[order, 0], at[order, 1], tags, [house.colour(roles[i]) for i in order], at)
    word = "PC" if kind == "pca" else "SV"
    share = 100 * float(data["share"].sel(component=component).isel(prefix_type=0))
    ax.set_xlabel(
        f"{word}{component} ({share:.1f} % of the {'variance' if kind == 'pca' else 'energy'}, {kinds[0]})"
    )
    ax.set_ylabel(f"{chosen} suppression (pp)")
    house.legend(ax, [*house.prefix_handles(kinds), *house.role_handles(roles)])
    level = "tokenwise" if tokenwise else "pointwise"
    house.describe(
        ax,
        f"Signed {level} {kind} coordinates of the trained prompts against suppression.",
        f"Left out: {int((~shown).sum())} of {shown.size} prompts and prefix types without a run.",
    )
    return ax
