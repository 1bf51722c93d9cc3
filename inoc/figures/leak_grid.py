"""Leak grid: how strongly every trained run shows a trait under each prompt at evaluation."""

from functools import partial

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inoc.errors import IncompleteStore
from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.sources import Source, choose, columns_of, roles_of, strings
from inoc.intervals import mean_z
from inoc.store.store import Store

ENDING = "+leak"
FULL, PLAIN = 32.0, 14.0
"""Points of width from which a cell holds mean and interval, or the mean alone."""


def leak_grid_data(store: Store) -> xr.Dataset:
    """Scores of the trained runs under other prompts, at the last step.

    Args:
        store: The store to read.

    Returns:
        `mean`, `lower`, `upper` in pp and `n` instructions (run, condition, trait); conditions are "default" (no
        prompt) and prompt keys; with the role of each run and of each condition.

    Raises:
        IncompleteStore: No run was evaluated under other prompts.
    """
    scores = store.scores
    names = [] if scores is None else strings(scores["run"])
    grids = [n for n in names if n.endswith(ENDING)]
    if scores is None or not grids:
        raise IncompleteStore(
            "no run was evaluated under other prompts. Fix: set `evaluation: leak_grid:` in the experiment file."
        )
    known = [c for c in strings(scores["condition"]) if c != "training"]
    traits = strings(scores["trait"])
    runs = [grid.removesuffix(ENDING) for grid in grids]
    table = np.full((len(grids), len(known), len(traits), 4), np.nan)
    for g, grid in enumerate(grids):
        for c, condition in enumerate(known):
            name = runs[g] if condition == "default" else grid
            if name not in names:
                continue
            cell = scores["score"].sel(run=name, condition=condition).transpose("step", "trait", "instruction")  # pyright: ignore[reportUnknownMemberType]
            filled = np.flatnonzero(np.isfinite(cell.values).any(axis=(1, 2)))
            for t in range(len(traits)) if filled.size else ():
                table[g, c, t] = tuple(mean_z(cell.values[filled[-1], t].astype(np.float64)))
    kept = np.flatnonzero(np.isfinite(table[..., 0]).any(axis=(0, 2)))
    conditions = [known[c] for c in kept]
    dims = ("run", "condition", "trait")
    return xr.Dataset(
        {p: (dims, table[:, kept][..., i]) for i, p in enumerate(("mean", "lower", "upper", "n"))},
        coords={
            "run": runs,
            "condition": conditions,
            "trait": traits,
            "role": ("run", roles_of(store, strings(scores["run_prompt"].sel(run=grids)))),  # pyright: ignore[reportUnknownMemberType]
            "condition_role": ("condition", roles_of(store, conditions)),
        },
    )


@house.draws(leak_grid_data)
def plot_leak_grid(
    store: Store, trait: str | None = None, *, data: xr.Dataset | None = None, ax: Axes | None = None
) -> Axes:
    """Draw scores as color, and as number with half the 95 % interval where the cells are large enough.

    Args:
        trait: The name of a trait; None for the first.

    Raises:
        BadInput: The trait is unknown.

    Example:
        >>> ax = inoc.plot_leak_grid(store, "Flattering")
    """
    data = leak_grid_data(store) if data is None else data
    chosen = choose(data, "trait", trait)
    cell = data.loc[{"trait": chosen}].transpose("run", "condition")
    mean = cell["mean"].values
    half = ((cell["upper"] - cell["lower"]) / 2).values
    rows, columns = mean.shape
    width = house.COLUMN if columns <= 5 else house.PAGE
    ax = house.axes_or_new(ax, width, house.row_height(rows, 15.0, 1.5))
    shown = ax.imshow(mean, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    names, roles, conditions, asked = columns_of(cell, "run", "role", "condition", "condition_role")
    house.name_rows(ax, names, roles)
    ax.set_ylim(rows - 0.5, -0.5)
    tops = ["no prompt" if condition == "default" else condition for condition in conditions]
    house.name_columns(ax, tops, [role or "control" for role in asked])
    ax.tick_params(length=0)
    ax.set(xlabel="prompt at evaluation", ylabel="run")
    house.colorbar(ax, shown, f"{chosen} score (pp)", shrink=0.8, pad=0.02, aspect=25)
    ax.set_title(chosen)
    whole_figure = house.figure_of(ax)
    whole_figure.draw_without_rendering()  # so that the room of a cell is known
    room = ax.get_window_extent().width / whole_figure.dpi * 72 / columns
    for r, c in np.ndindex(mean.shape):
        if np.isfinite(mean[r, c]) and room >= PLAIN:
            ink = "white" if mean[r, c] < 55 else "black"
            both = room >= FULL and np.isfinite(half[r, c])
            text = f"{mean[r, c]:.0f} ±{half[r, c]:.0f}" if both else f"{mean[r, c]:.0f}"
            ax.text(c, r, text, ha="center", va="center", fontsize=6, color=ink)
    n, missing = cell["n"].values, int(np.isnan(mean).sum())
    house.describe(
        ax,
        f"Mean score of every run under each prompt at evaluation, last step, "
        f"n = {house.span(n[np.isfinite(n)])} instructions; ± half of the 95 % interval where there is room.",
        house.left_out(missing and f"{missing} cells without scores"),
    )
    return ax


@figure("leak_grid", "leaks", "What every run shows under every prompt at evaluation.")
def draw(source: Source) -> Figure:
    data = leak_grid_data(source.store)
    plots = [partial(plot_leak_grid, source.store, trait, data=data) for trait in source.traits]
    return house.panels(plots, 1, house.row_height(data.sizes["run"], 15.0, 1.6))
