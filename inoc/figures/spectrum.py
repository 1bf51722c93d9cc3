"""Prompts in component space, colored by role, suppression or perplexity heuristic."""

from functools import partial
from itertools import product
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

from inoc.errors import BadInput, IncompleteStore
from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.labels import extremes, name_points
from inoc.figures.layout import Panels
from inoc.figures.sources import Source, cells_of, choose, columns_of, heuristics_of, level, variable, with_roles
from inoc.outcomes import suppression
from inoc.store.store import Store

Kind = Literal["pca", "svd"]
PROMPT_LEVEL = (
    "self_perplexity_raw", "self_perplexity_context", "distance_from_neutral", "cos_to_negative", "cos_to_positive",
    "rephrase_std_cos",
)  # fmt: skip
SIGNED = ("suppression", "ph")
"""Colors with white at 0."""
SHARE: dict[str, str] = {"pca": "explained", "svd": "energy"}
SHARED: dict[str, str] = {"pca": "variance", "svd": "energy"}
WORDS: dict[str, str] = {"pca": "PC", "svd": "SV"}


def spectrum_data(
    store: Store, kind: Kind = "pca", *, tokenwise: bool = False, heuristics: xr.Dataset | None = None
) -> xr.Dataset:
    """Coordinates of the prompts on the components of their differences, and what they are colored by.

    Args:
        store: The store to read.
        kind: "pca" (centered) or "svd".
        tokenwise: Use token differences instead of means over examples.
        heuristics: What `inoc.heuristics.compute` returned; None to compute it.

    Returns:
        `coordinate` (prompt, prefix_type, component), `share` (prefix_type, component), `ph` (prompt, prefix_type)
        and `suppression` in pp (prompt, prefix_type, trait; mean over seeds, NaN without a run), with roles.

    Raises:
        IncompleteStore: The components cannot be computed from this store.
    """
    name = variable(kind, tokenwise)
    share = f"{name}_{SHARE[kind]}"
    table = heuristics_of(store, heuristics, [name, share, "ph"])
    keys, kinds = columns_of(table, "prompt", "prefix_type")
    traits = [t.name for t in store.traits]
    held = np.full((len(keys), len(kinds), len(traits)), np.nan)
    try:
        found = suppression(store)
    except IncompleteStore:
        found = None
    if found is not None:
        cells, mean = cells_of(found), found.loc[{"trait": traits}]["mean"].values
        for (p, key), (k, prefix_type) in product(enumerate(keys), enumerate(kinds)):
            if at := cells.get((key, prefix_type)):
                held[p, k] = mean[at].mean(axis=0)
    data = xr.Dataset(
        {
            "coordinate": table[name],
            "share": table[share],
            "ph": table["ph"],
            "suppression": (("prompt", "prefix_type", "trait"), held, {"units": "pp"}),
        },
        attrs={"units": str(table[name].attrs.get("units", "")), "name": name, "kind": kind},
    )
    return with_roles(store, data.assign(trait=traits))


@house.draws(spectrum_data)
def plot_spectrum(
    store: Store,
    kind: Kind = "pca",
    color: str = "role",
    *,
    prefix_type: str = "fixed",
    components: tuple[int, int] = (1, 2),
    trait: str | None = None,
    tokenwise: bool = False,
    names: int = 10,
    heuristics: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the prompts on two components; each axis label shows the share of its component.

    Args:
        color: "role"; "suppression" of `trait`; or a heuristic with a number per prompt, such as "ph". Prompts
            without it are small crosses.
        prefix_type: "fixed" or "mix".
        components: The components of the x and y axes, from 1.
        trait: The trait of the suppression; None for the first.
        names: The number of prompts to name, farthest out first.

    Raises:
        IncompleteStore: The components or the color cannot be computed from this store.
        BadInput: The prefix type or the trait is unknown.

    Example:
        >>> ax = inoc.plot_spectrum(store, "svd", color="ph")
        >>> ax.get_title("left")
        'fixed: ph'
    """
    data = spectrum_data(store, kind, tokenwise=tokenwise, heuristics=heuristics)
    cell = data.loc[{"prefix_type": choose(data, "prefix_type", prefix_type)}]
    x, y = (cell.loc[{"component": c}]["coordinate"].values.astype(np.float64) for c in components)
    keys, roles = columns_of(cell, "prompt", "role")
    ax = house.axes_or_new(ax, height=2.9)
    order, note, title = extremes(x, y, len(x), roles), "", f"{prefix_type}: {color}"
    if color == "role":
        house.points(ax, x, y, roles, [prefix_type] * len(x), 15.0)
        house.legend(ax, house.role_handles(roles))
    else:
        if color == "suppression":
            chosen = choose(data, "trait", trait)
            values = cell.loc[{"trait": chosen}]["suppression"]
            title, label = f"{title} of {chosen}", f"{chosen} suppression (pp)"
        else:
            values = _of_prompts(heuristics_of(store, heuristics, [color]), color, prefix_type)
            label = f"{color} ({house.units(str(values.attrs.get('units', '1')))})".removesuffix(" (1)")
        values = values.values.astype(np.float64)
        known = np.isfinite(values)
        if not known.any():
            raise IncompleteStore(f"no prompt of prefix type {prefix_type} has a {color}")
        if not known.all():
            order = [i for i in order if known[i]]
            what = "a run" if color == "suppression" else color
            note = f"Crosses: {int((~known).sum())} prompts without {what}."
        reach = float(np.abs(values[known]).max()) or 1.0
        scale = {"cmap": "PuOr_r", "norm": TwoSlopeNorm(0, -reach, reach)} if color in SIGNED else {"cmap": "cividis"}
        ax.scatter(x[~known], y[~known], s=10, marker="x", c="#B0B0B0", linewidths=0.6, zorder=2)
        shown = ax.scatter(
            x[known], y[known], c=values[known], s=22, marker=house.MARKERS.get(prefix_type, "o"),
            edgecolors="black", linewidths=0.5, zorder=3, **scale,
        )  # fmt: skip
        bar = house.colorbar(ax, shown, label, shrink=0.85, pad=0.02, aspect=25)
        bar.outline.set_linewidth(0.4)  # pyright: ignore[reportCallIssue]
    house.guide(ax, x=0, y=0)
    ax.margins(0.12)
    name_points(ax, x, y, order[:names], keys, roles)
    unit = house.units(data.attrs["units"])
    for c, put in zip(components, (ax.set_xlabel, ax.set_ylabel), strict=True):
        share = 100 * float(cell.loc[{"component": c}]["share"])
        put(f"{WORDS[kind]}{c}, {share:.1f} % of the {SHARED[kind]}\n({unit})")
    ax.set_title(title)
    house.describe(
        ax,
        f"{level(tokenwise).capitalize()} {kind} of the differences, {len(keys)} prompts"
        f"{', centered' if kind == 'pca' else ', uncentered'}, not scaled.",
        f"The {names} prompts farthest out are named where there is room." if len(keys) > names else "",
        note,
    )
    return ax


def _of_prompts(table: xr.Dataset, name: str, prefix_type: str) -> xr.DataArray:
    """A heuristic with one number per prompt."""
    values = (table.loc[{"prefix_type": prefix_type}] if "prefix_type" in table[name].dims else table)[name]
    if values.dims != ("prompt",):
        raise BadInput(f"{name} has several numbers per prompt. Fix: choose one such as ph or {PROMPT_LEVEL[0]}.")
    return values


@figure("spectrum_pca", "spectra", "Prompts in component space by role, ph and suppression.", kind="pca")
@figure("spectrum_pca_tokens", "spectra", "The same from token differences.", kind="pca", tokenwise=True)
@figure("spectrum_svd", "spectra", "Prompts in uncentered component space.", kind="svd")
def draw(source: Source, kind: Kind, tokenwise: bool = False) -> Panels:
    data = spectrum_data(source.store, kind, tokenwise=tokenwise, heuristics=source.heuristics)
    (kinds,) = columns_of(data, "prefix_type")
    plot = partial(plot_spectrum, source.store, kind, tokenwise=tokenwise, heuristics=source.heuristics)
    held = data.loc[{"prefix_type": kinds[0]}]
    plots = [
        *(partial(plot, "role", prefix_type=k) for k in kinds),
        partial(plot, "ph", prefix_type=kinds[0], names=6),
        *(
            partial(plot, "suppression", prefix_type=kinds[0], trait=trait)
            for trait in source.traits
            if held.loc[{"trait": trait}]["suppression"].notnull().any()
        ),
    ]
    return Panels(plots, 2, 2.7)


@figure("spectrum_prompt_level", "spectra", "Self-perplexity and embeddings of the prompts in component space.")
def draw_prompt_level(source: Source) -> Panels:
    table = source.heuristics
    known = [name for name in PROMPT_LEVEL if name in table and bool(table[name].notnull().any())]
    if not known:
        raise IncompleteStore("neither self-perplexity nor embeddings are stored. Fix: run `inoc describe`.")
    plot = partial(plot_spectrum, source.store, heuristics=table, prefix_type=source.prefix_types[0], names=4)
    return Panels([partial(plot, color=name) for name in known], 2, 2.7)
