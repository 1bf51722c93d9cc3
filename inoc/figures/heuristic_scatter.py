"""A heuristic against what training did, with the least-squares line and its mean band."""

from collections.abc import Callable, Sequence
from functools import partial
from textwrap import wrap
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.errors import IncompleteStore
from inoc.figures import house, scatter
from inoc.figures.catalog import figure
from inoc.figures.gap_grid import HEURISTICS as COMPARISONS
from inoc.figures.gap_grid import VARIANTS
from inoc.figures.layout import Panels
from inoc.figures.sources import BOUNDS, Source, choose, columns_of, effect_name, strings, with_bounds, with_roles
from inoc.heuristics.frame.registry import find
from inoc.heuristics.frame.rows import column_name
from inoc.outcomes import rows
from inoc.outcomes.tidy import full_names
from inoc.store.store import Store

Target = Literal["suppression", "cross", "gap"]
BASIC = ("elicitation", "ph", "gamma", "sigma", "snr", "mald")
SPECTRAL = ("pca[1]", "pca[2]", "svd[1]", "svd[2]", "token_pca[1]", "token_svd[1]")
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
    trait: str | None = None,
    prefix_type: str | None = None,
    on_target: bool = True,
    heuristics: xr.Dataset | None = None,
    table: xr.Dataset | None = None,
) -> xr.Dataset:
    """A heuristic and an outcome, row by row.

    Args:
        store: The store to read.
        heuristic: The name of a heuristic with one number per prompt and prefix type, or of a part of one.
        target: "suppression", "cross" (of the other trait) or "gap".
        trait: Only the rows of this trait; None for all.
        prefix_type: Only the rows of this prefix type; None for all.
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
    for dim, wanted in (("trait", trait), ("prefix_type", prefix_type)):
        used &= table[dim].values == choose(table, dim, wanted) if wanted else True
    if not used.any():
        of = "".join(f" of {label}" for label in (trait, prefix_type) if label)
        raise IncompleteStore(f"no row{of} has both {name} and {target}")
    table = with_bounds(store, table) if target == "suppression" else table
    x, y = x[used], y[used]
    bounds = [table[k].values[used] if target == "suppression" else np.full(len(y), np.nan) for k in BOUNDS]
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
    data = with_roles(store, data)
    related = scatter.relations(_points(data))
    columns = {k: [getattr(each.found, k) for each in related] for k in ("r", "rho", "n", "prompts", "reason")}
    columns["rmse"] = [each.line.rmse if each.line else np.nan for each in related]
    data = data.assign({name: ("kind", values) for name, values in columns.items()})
    return data.assign(kind=[each.prefix_type for each in related])


def _points(data: xr.Dataset) -> scatter.Points:
    x, y, lower, upper = (data[k].values for k in ("x", "y", "lower", "upper"))
    prompts, roles, kinds = columns_of(data, "prompt", "role", "prefix_type")
    return scatter.Points(x, y, lower, upper, prompts, roles, kinds)


@house.draws(heuristic_scatter_data)
def plot_heuristic_scatter(
    store: Store,
    heuristic: str = "ph",
    target: Target = "suppression",
    *,
    trait: str | None = None,
    prefix_type: str | None = None,
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
    data = heuristic_scatter_data(
        store, heuristic, target, trait=trait, prefix_type=prefix_type, on_target=on_target, heuristics=heuristics,
        table=table,
    )  # fmt: skip
    ax = house.axes_or_new(ax, height=2.8)
    said = scatter.draw(ax, _points(data), sigmoid=sigmoid, names=names)
    name, units = data.attrs["heuristic"], house.units(data.attrs["units"])
    parts = [trait, prefix_type]
    width = house.panel_size(ax)[0]
    if width < scatter.NARROW:
        name, _, variant = name.partition("[")
        parts.append(variant.rstrip("]"))
        ax.set_xlabel(name, fontsize=6)
        ax.set_ylabel(f"{target} (pp)", fontsize=6)
    else:
        what = f"{effect_name(store, trait)} (pp)" if trait and target == "suppression" else TARGETS[target]
        unit = f"({units})" if units not in ("", "1") else ""
        fits = len(name) + len(unit) < (width - 0.5) / scatter.LETTER
        ax.set(xlabel=f"{name}{' ' if fits else chr(10)}{unit}".rstrip(), ylabel=what)
    title = "\n".join(wrap(", ".join(part for part in parts if part), max(int(width / scatter.BOLD), 8)))
    ax.set_title(title, fontsize=6 if width < scatter.NARROW else None)
    house.describe(
        ax,
        f"{data.attrs['heuristic']} against {target}.",
        "On-target rows only (the prompt asks for the row's trait, or is neutral)." if on_target else "",
        f"{trait or 'All traits'}: n = {data.sizes['row']} rows of {len(set(strings(data['prompt'])))} prompts.",
        *said,
        house.left_out(*data.attrs["left_out"]),
    )
    return ax


@figure("scatter_suppression", "scatter", "Heuristics of the base model against suppression.", target="suppression")
@figure("scatter_cross", "scatter", "Heuristics against the suppression of the other trait.", target="cross")
def draw(source: Source, target: Target) -> Panels:
    options = {"sigmoid": True, "names": 4, "heuristics": source.heuristics, "table": source.rows}
    plots = [partial(plot_heuristic_scatter, source.store, name, target, **options) for name in source.scattered]
    return Panels(plots, min(2, len(plots)), 2.3)


@figure("scatter_basic_fixed", "scatter", "Basic heuristics against each trait, fixed.", prefix_type="fixed")
@figure("scatter_basic_mix", "scatter", "Basic heuristics against each trait, mix.", prefix_type="mix")
@figure(
    "scatter_spectral_fixed", "scatter", "Components against each trait, fixed.", columns=SPECTRAL, prefix_type="fixed"
)
@figure("scatter_spectral_mix", "scatter", "Components against each trait, mix.", columns=SPECTRAL, prefix_type="mix")
def draw_of_each_trait(source: Source, prefix_type: str, columns: Sequence[str] = BASIC) -> Panels:
    cells = [(trait, name) for trait in source.traits for name in columns]
    return _grid(source, "suppression", cells, 0, 1.9, prefix_type)


@figure("gap_scatter", "gap", "Every comparison of fixed and mix against the gap: the points behind the grid.")
def draw_gap(source: Source) -> Panels:
    names = [[column_name(name, {"variant": kind}) for kind in VARIANTS.values()] for name in COMPARISONS]
    pairs = [source.traits[i : i + 2] for i in range(0, len(source.traits), 2)]
    cells = [(trait, name) for pair in pairs for line in names for trait in pair for name in line]
    return _grid(source, "gap", cells, 3 * min(len(source.traits), 2), 1.15)


def _grid(
    source: Source,
    target: Target,
    cells: Sequence[tuple[str, str]],
    columns: int,
    height: float,
    kind: str | None = None,
) -> Panels:
    """A panel for each trait and column: one without a row stays empty, an empty line is left out; both are said.

    With `columns` = 0 there are two or three panels in a line, and heuristics that no trait has take no place.
    """
    table = source.rows
    at = table[target].notnull() & table["on_target"]
    at &= table["prefix_type"] == (kind or "mix")
    known = strings(table["heuristic"])
    plots: list[Callable[..., Axes] | None] = []
    missing: list[str] = []
    for trait, name in cells:
        rows = at & (table["trait"] == trait)
        if name not in known or not (rows & table["heuristic_value"].isel(heuristic=known.index(name)).notnull()).any():
            missing.append(f"{name} of {trait}")
            plots.append(None)
            continue
        options = {"trait": trait, "prefix_type": kind, "names": 3 if columns <= 3 else 0}
        options |= {"heuristics": source.heuristics, "table": table}
        plots.append(partial(plot_heuristic_scatter, source.store, name, target, **options))
    if not any(plots):
        names = ", ".join(dict.fromkeys(name for _, name in cells))
        raise IncompleteStore(f"no row has a {target} and one of {names}. Fix: run `inoc score` and `inoc evaluate`.")
    if not columns:
        drawn = {name for (_, name), plot in zip(cells, plots, strict=True) if plot}
        plots = [plot for (_, name), plot in zip(cells, plots, strict=True) if name in drawn]
        columns = 2 if len(drawn) in (2, 4) else 3
    lines = [plots[i : i + columns] for i in range(0, len(plots), columns)]
    filled = [plot for line in lines if any(line) for plot in line]
    return Panels(filled, columns, height, note=house.left_out(", ".join(missing)))
