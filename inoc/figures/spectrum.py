"""Prompts in component space, coloured by role, suppression or perplexity heuristic."""

# matplotlib's stubs leave some argument types unknown
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

from inoc.errors import IncompleteStore
from inoc.figures import house
from inoc.figures.labels import PointLabels, extremes
from inoc.figures.sources import heuristics_of, level_prefix, one_of, roles_of
from inoc.outcomes import suppression
from inoc.store.store import Store

Kind = Literal["pca", "svd"]
Colour = Literal["role", "suppression", "ph"]
SHARE: dict[str, str] = {"pca": "explained", "svd": "energy"}
WORDS: dict[str, str] = {"pca": "PC", "svd": "SV"}


def spectrum_data(
    store: Store, kind: Kind = "pca", *, tokenwise: bool = False, heuristics: xr.Dataset | None = None
) -> xr.Dataset:
    """coordinate (prompt, prefix_type, component), share (prefix_type, component), ph, role, and suppression
    (prompt, prefix_type, trait) where runs exist, else NaN.
    """
    name = level_prefix(tokenwise) + kind
    share = f"{name}_{SHARE[kind]}"
    table = heuristics_of(store, heuristics, [name, share, "ph"])
    roles = roles_of(store)
    keys = [str(p) for p in table["prompt"].values]
    kinds = [str(k) for k in table["prefix_type"].values]
    traits = [t.name for t in store.traits]
    held = np.full((len(keys), len(kinds), len(traits)), np.nan)
    try:
        found = suppression(store)
    except IncompleteStore:
        found = None
    if found is not None:
        cells = list(zip(found["run_prompt"].values, found["prefix_type"].values, strict=True))
        for p, key in enumerate(keys):
            for k, prefix_type in enumerate(kinds):
                at = [i for i, cell in enumerate(cells) if cell == (key, prefix_type)]
                if at:
                    held[p, k] = found["mean"].sel(trait=traits).values[at].mean(axis=0)
    return xr.Dataset(
        {
            "coordinate": table[name],
            "share": table[share],
            "ph": table["ph"],
            "suppression": (("prompt", "prefix_type", "trait"), held, {"units": "pp"}),
        },
        attrs={"units": str(table[name].attrs.get("units", "")), "name": name, "kind": kind},
    ).assign_coords(role=("prompt", [roles.get(k, "") for k in keys]), trait=traits)


@house.styled
def plot_spectrum(
    store: Store,
    kind: Kind = "pca",
    colour: Colour = "role",
    *,
    prefix_type: str = "fixed",
    components: tuple[int, int] = (1, 2),
    trait: str | None = None,
    tokenwise: bool = False,
    names: int = 10,
    heuristics: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Two components, one point per prompt; the share of each component stands in its axis label.

    `colour`: role; the suppression of `trait` (prompts without a run are small crosses); or ph. The prompts farthest
    out are named, `names` at most.
    """
    data = spectrum_data(store, kind, tokenwise=tokenwise, heuristics=heuristics)
    one_of("prefix type", prefix_type, [str(k) for k in data["prefix_type"].values])
    cell = data.sel(prefix_type=prefix_type)
    x, y = (cell["coordinate"].sel(component=c).values.astype(np.float64) for c in components)
    keys, roles = ([str(v) for v in cell[k].values] for k in ("prompt", "role"))
    ax = house.axes_or_new(ax, height=2.9)
    note, title = "", f"{prefix_type}: role"
    if colour == "role":
        house.points(ax, x, y, roles, [prefix_type] * len(x), 15.0)
        house.legend(ax, house.role_handles(roles))
    else:
        traits = [str(t) for t in data["trait"].values]
        if colour == "suppression":
            chosen = one_of("trait", trait or (traits[0] if traits else ""), traits)
            values = cell["suppression"].sel(trait=chosen).values.astype(np.float64)
            title, label = f"{prefix_type}: suppression of {chosen}", f"{chosen} suppression (pp)"
        else:
            values, title, label = (
                cell["ph"].values.astype(np.float64),
                f"{prefix_type}: ph",
                "ph (nats per token)",
            )
        known = np.isfinite(values)
        if not known.any():
            raise IncompleteStore(f"no prompt of prefix type {prefix_type} has a {colour}")
        reach = float(np.abs(values[known]).max()) or 1.0
        ax.scatter(x[~known], y[~known], s=10, marker="x", c="#B0B0B0", linewidths=0.6, zorder=2)
        shown = ax.scatter(
            x[known],
            y[known],
            c=values[known],
            s=22,
            marker=house.MARKERS.get(prefix_type, "o"),
            cmap="PuOr_r",
            norm=TwoSlopeNorm(0, -reach, reach),
            edgecolors="black",
            linewidths=0.5,
            zorder=3,
        )
        figure = ax.get_figure(root=True)
        assert figure is not None
        figure.colorbar(shown, ax=ax, label=label, shrink=0.85, pad=0.02, aspect=25).outline.set_linewidth(
            0.4
        )  # pyright: ignore[reportCallIssue]
        note = f"Crosses: {int((~known).sum())} prompts without a run." if colour == "suppression" else ""
    house.zero(ax, x=True, y=True)
    ax.margins(0.12)
    order = extremes(x, y, len(x), roles)
    if colour == "suppression":
        order = [i for i in order if np.isfinite(cell["suppression"].sel(trait=chosen).values[i])]  # pyright: ignore[reportPossiblyUnboundVariable]
    order = order[:names]
    inks = [house.colour(roles[i]) for i in order]
    tags = [house.signed(keys[i], roles[i]) for i in order]
    PointLabels(ax, x[order], y[order], tags, inks, np.column_stack([x, y])[np.isfinite(x) & np.isfinite(y)])
    share = cell["share"]
    word = "variance" if kind == "pca" else "energy"
    unit = house.units(data.attrs["units"])
    for c, put in zip(components, (ax.set_xlabel, ax.set_ylabel), strict=True):
        put(f"{WORDS[kind]}{c}, {100 * float(share.sel(component=c)):.1f} % of the {word}\n({unit})")
    ax.set_title(title)
    house.describe(
        ax,
        f"{'Tokenwise' if tokenwise else 'Pointwise'} {kind} of the differences, {len(keys)} prompts"
        f"{', centred' if kind == 'pca' else ', uncentred'}, not scaled.",
        f"The {names} prompts farthest out are named where there is room." if len(keys) > names else "",
        note,
    )
    return ax
