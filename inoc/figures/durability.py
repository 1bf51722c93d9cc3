"""Durability: what further training leaves of a suppression, and how the trait comes back."""

from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.curves import Runs, draw_curves
from inoc.figures.labels import extremes, name_points
from inoc.figures.layout import Panels
from inoc.figures.sources import Source, choose, columns_of, strings, with_roles
from inoc.outcomes import durability
from inoc.outcomes.continuation import at_last
from inoc.store.store import Store

MOST = 16
"""The most runs to name."""


def durability_data(store: Store) -> xr.Dataset:
    """Suppression before and during further training, with the role and the name of each run.

    Args:
        store: The store to read.

    Returns:
        What `inoc.outcomes.durability` returns, and by run the `role` of its first prompt and a `name` to draw.

    Raises:
        IncompleteStore: No run was continued.
    """
    table = durability(store)
    prompts, kinds, files = columns_of(table, "run_prompt", "prefix_type", "data")
    names = [
        (prompt or "control")
        + (" mix" if kind == "mix" else "")
        + (f", {Path(file).stem or 'same data'}" if len(set(files)) > 1 else "")
        for prompt, kind, file in zip(prompts, kinds, files, strict=True)
    ]
    return with_roles(store, table.assign(name=("run", names)).set_coords("name"), "run_prompt")


@house.draws(durability_data)
def plot_durability(
    store: Store, trait: str | None = None, *, data: xr.Dataset | None = None, ax: Axes | None = None
) -> Axes:
    """Draw what remains of a suppression after further training by what it was before.

    One point per continued run, with 95 % intervals both ways. On the dashed line nothing was lost.

    Args:
        trait: The name of a trait; None for the first.

    Raises:
        BadInput: The trait is unknown.

    Example:
        >>> ax = inoc.plot_durability(store)
    """
    data = durability_data(store) if data is None else data
    chosen = choose(data, "trait", trait)
    t = strings(data["trait"]).index(chosen)
    before = [data[f"before{end}"].values[:, t] for end in ("", "_lower", "_upper")]
    after = [at_last(data, f"remaining{end}")[:, t] for end in ("", "_lower", "_upper")]
    shown = np.flatnonzero(np.isfinite(before[0]) & np.isfinite(after[0]))
    (x, x_low, x_high), (y, y_low, y_high) = ([v[shown] for v in side] for side in (before, after))
    ax = house.axes_or_new(ax)
    names, roles, kinds = columns_of(data.isel(run=shown), "name", "role", "prefix_type")
    inks = [house.color(r) for r in roles]
    house.intervals(ax, x, y, y_low, y_high, inks)
    house.intervals(ax, x, y, x_low, x_high, inks, vertical=False)
    house.points(ax, x, y, roles, kinds)
    ends = np.concatenate([x, y, x_low, x_high, y_low, y_high])
    ends = ends[np.isfinite(ends)]
    low, high = min(0.0, float(ends.min(initial=0.0))), max(10.0, float(ends.max(initial=0.0)))
    room = 0.06 * (high - low)
    ax.set_xlim(low - room, high + room)
    ax.set_ylim(low - room, high + room)
    ax.axline((0, 0), slope=1, color="#888888", lw=0.8, ls="--", zorder=1)
    house.guide(ax, x=0, y=0)
    name_points(ax, x, y, extremes(x, y, MOST, roles), names, roles)
    ax.set(xlabel="suppression after the first training (pp)", ylabel="what remains of it (pp)")
    ax.set_title(f"{chosen}: what lasts")
    house.legend(ax, [*house.prefix_handles(kinds), *house.role_handles(roles)])
    against = [text for text in dict.fromkeys(strings(data["against"])) if text]
    n = at_last(data, "n")[shown, t]
    house.describe(
        ax,
        f"Suppression of {len(shown)} runs at the end of the first training and what remains of it at the last step of "
        f"further training, n = {house.span(n[n > 0])} instructions, against the "
        f"{' or the '.join(against) or 'control'}; on the dashed line nothing was lost.",
        "Thin lines are 95 % paired t intervals.",
        house.left_out(*data.attrs["left_out"]),
        house.unnamed(len(shown), MOST, "points"),
    )
    return ax


@house.draws(durability_data)
def plot_durability_curve(
    store: Store, trait: str | None = None, *, data: xr.Dataset | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the mean score without any prompt by updates of further training, with 95 % bands.

    Args:
        trait: The name of a trait; None for the first.

    Returns:
        The axes, with one line per continued run.

    Raises:
        BadInput: The trait is unknown.

    Example:
        >>> ax = inoc.plot_durability_curve(store)
    """
    data = durability_data(store) if data is None else data
    chosen = choose(data, "trait", trait)
    cell = data.loc[{"trait": chosen}]
    ax = house.axes_or_new(ax)
    steps = cell["step"].values.astype(float)
    names, roles, kinds = columns_of(cell, "name", "role", "prefix_type")
    mean, lower, upper = (cell[f"score{end}"].values for end in ("", "_lower", "_upper"))
    said = draw_curves(ax, steps, mean, Runs(names, strings(cell["run_prompt"]), roles, kinds), (lower, upper))
    ax.set(xlabel="updates of further training", ylabel=f"{chosen} score (pp)")
    ax.set_ylim(-3, 103)
    ax.set_title(f"{chosen}, no prompt at evaluation")
    house.legend(ax, [*house.prefix_handles(kinds), *house.role_handles(roles)])
    n = cell["n"].values
    house.describe(
        ax,
        f"Mean score by updates of further training, n = {house.span(n[n > 0])} instructions; "
        "vertical lines are 95 % intervals.",
        house.left_out(*data.attrs["left_out"]),
        *said,
    )
    return ax


@figure("durability", "outcomes", "What further training leaves of a suppression, and how the trait comes back.")
def draw(source: Source) -> Panels:
    data = durability_data(source.store)
    plots = [
        partial(plot, source.store, trait, data=data)
        for trait in source.traits
        for plot in (plot_durability, plot_durability_curve)
    ]
    return Panels(plots, 2, 2.8)
