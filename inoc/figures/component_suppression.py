"""Q1: signed coordinates of the first two components against the suppression of each trait."""

from functools import partial

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.errors import IncompleteStore
from inoc.figures import house, scatter
from inoc.figures.catalog import figure
from inoc.figures.layout import Panels
from inoc.figures.sources import Source, choose, effect_name, level, strings
from inoc.figures.spectrum import SHARED, WORDS, Kind, spectrum_data
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
    """Coordinates of the first two components, suppression, and their correlation.

    Args:
        store: The store to read.
        kind: "pca" or "svd".
        tokenwise: Use token differences instead of means over examples.
        show_from: The fewest prompts for which r is computed.
        heuristics: What `inoc.heuristics.compute` returned; None to compute it.

    Returns:
        `r`, `p`, `n` (prefix_type, component, trait) over the trained prompts, and what `spectrum_data` returns
        for components 1 and 2. r is NaN for fewer than `show_from` prompts.

    Raises:
        IncompleteStore: No scored prompt has a suppression.
    """
    data = spectrum_data(store, kind, tokenwise=tokenwise, heuristics=heuristics)
    data = data.loc[{"component": [1, 2]}].transpose("prefix_type", "component", "trait", "prompt")
    if not np.isfinite(data["suppression"].values).any():
        raise IncompleteStore("no scored prompt has a suppression. Fix: run `inoc train` and `inoc evaluate`.")
    dims = ("prefix_type", "component", "trait")
    found = np.full((*(data.sizes[d] for d in dims), 3), np.nan)
    for f, c, t in np.ndindex(found.shape[:3]):
        x = data["coordinate"].values[f, c].astype(np.float64)
        y = data["suppression"].isel(prefix_type=f, trait=t).values.astype(np.float64)
        found[f, c, t] = tuple(correlation(x, y, show_from=show_from))
    for i, name in enumerate(("r", "p", "n")):
        data[name] = (dims, found[..., i])
    return data


@house.draws(component_suppression_data)
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
    """Draw the suppression of one trait by the coordinate of one component, for all prefix types.

    Args:
        component: 1 or 2.
        trait: The name of a trait; None for the first.

    Returns:
        The axes. r and its line are shown from 8 prompts on.

    Raises:
        BadInput: The trait is unknown.

    Example:
        >>> ax = inoc.plot_component_suppression(store, 2)
    """
    data = component_suppression_data(store, kind, tokenwise=tokenwise, heuristics=heuristics)
    chosen = choose(data, "trait", trait)
    cell = data.loc[{"component": component, "trait": chosen}].transpose("prefix_type", "prompt")
    x, y = (cell[name].values.astype(np.float64) for name in ("coordinate", "suppression"))
    shown = np.isfinite(x) & np.isfinite(y)
    f, p = np.nonzero(shown)
    kinds = strings(data["prefix_type"])
    roles, keys = (strings(data[name][p]) for name in ("role", "prompt"))
    ax = house.axes_or_new(ax, height=2.7)
    unknown = np.full(len(f), np.nan)
    points = scatter.Points(x[shown], y[shown], unknown, unknown, keys, roles, [kinds[i] for i in f])
    said = scatter.draw(ax, points, names=5)
    house.guide(ax, x=0)
    share = 100 * float(data.sel(component=component)["share"].isel(prefix_type=0))
    ax.set_xlabel(f"{WORDS[kind]}{component} ({share:.1f} % of the {SHARED[kind]}, {kinds[0]})")
    ax.set_ylabel(f"{effect_name(store, chosen)} (pp)")
    house.describe(
        ax,
        f"Signed {level(tokenwise)} {kind} coordinates of the trained prompts against suppression.",
        *said,
        f"Left out: {int((~shown).sum())} of {shown.size} prompts and prefix types without a run.",
    )
    return ax


@figure("component_suppression", "angles", "Q1: do the components predict the suppression of the traits?")
@figure("component_suppression_tokens", "angles", "Q1 from token differences.", tokenwise=True)
@figure("component_suppression_svd", "angles", "Q1 with components that are not centered.", kind="svd")
@figure("component_suppression_svd_tokens", "angles", "The same from token differences.", kind="svd", tokenwise=True)
def draw(source: Source, kind: Kind = "pca", tokenwise: bool = False) -> Panels:
    options = {"kind": kind, "tokenwise": tokenwise, "heuristics": source.heuristics}
    plot = partial(plot_component_suppression, source.store, **options)
    plots = [partial(plot, component, trait) for component in (1, 2) for trait in source.traits]
    return Panels(plots, max(len(source.traits), 1), 2.3)
