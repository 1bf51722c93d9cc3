"""Leak grid: how strongly every trained run shows a trait under each prompt at evaluation."""

# matplotlib's stubs leave some argument types unknown
# pyright: reportUnknownMemberType=false

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.errors import IncompleteStore
from inoc.figures import house
from inoc.figures.sources import one_of, roles_of
from inoc.intervals import mean_z
from inoc.store.store import Store

ENDING = "+leak"
FULL, PLAIN = 32.0, 14.0
"""Points of width from which a cell holds mean and interval, or the mean alone."""


def leak_grid_data(store: Store) -> xr.Dataset:
    """mean, lower, upper, n (run, condition, trait) in pp at the last step; conditions are "default" and prompt keys.

    Raises:
        IncompleteStore: no run was evaluated under other prompts.
    """
    scores = store.scores
    names = [] if scores is None else [str(n) for n in scores["run"].values]
    grids = [n for n in names if n.endswith(ENDING)]
    if scores is None or not grids:
        raise IncompleteStore(
            "no run was evaluated under other prompts; `evaluation: leak_grid:` asks for it"
        )
    known = [str(c) for c in scores["condition"].values if str(c) != "training"]
    traits = [str(t) for t in scores["trait"].values]
    table = np.full((len(grids), len(known), len(traits), 4), np.nan)
    for g, name in enumerate(grids):
        base = name.removesuffix(ENDING)
        for c, condition in enumerate(known):
            source = base if condition == "default" else name
            if source not in names:
                continue
            cell = (
                scores["score"].sel(run=source, condition=condition).transpose("step", "trait", "instruction")
            )
            filled = np.flatnonzero(np.isfinite(cell.values).any(axis=(1, 2)))
            for t in range(len(traits)) if filled.size else ():
                table[g, c, t] = tuple(mean_z(cell.values[filled[-1], t].astype(np.float64)))
    kept = [c for c in range(len(known)) if np.isfinite(table[:, c, :, 0]).any()]
    of = {str(r): str(p) for r, p in zip(scores["run"].values, scores["run_prompt"].values, strict=True)}
    roles = roles_of(store)
    parts = ("mean", "lower", "upper", "n")
    return xr.Dataset(
        {p: (("run", "condition", "trait"), table[:, kept][..., i]) for i, p in enumerate(parts)},
        coords={
            "run": [g.removesuffix(ENDING) for g in grids],
            "condition": [known[c] for c in kept],
            "trait": traits,
            "role": ("run", [roles.get(of[g], "") if of[g] else "control" for g in grids]),
            "condition_role": ("condition", [roles.get(known[c], "") for c in kept]),
        },
    )


@house.styled
def plot_leak_grid(
    store: Store, trait: str | None = None, *, data: xr.Dataset | None = None, ax: Axes | None = None
) -> Axes:
    """Scores as colour, and as number with half width of the 95 % interval where the cells are large enough."""
    table = leak_grid_data(store) if data is None else data
    chosen = one_of("trait", trait or str(table["trait"].values[0]), [str(t) for t in table["trait"].values])
    cell = table.sel(trait=chosen)
    mean = cell["mean"].transpose("run", "condition").values
    half = ((cell["upper"] - cell["lower"]) / 2).transpose("run", "condition").values
    rows, columns = mean.shape
    ax = house.axes_or_new(
        ax, width=house.COLUMN if columns <= 5 else house.PAGE, height=house.row_height(rows, 15.0, 1.5)
    )
    shown = ax.imshow(mean, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    names, roles = ([str(v) for v in cell[k].values] for k in ("run", "role"))
    house.name_rows(ax, names, roles)
    ax.set_ylim(rows - 0.5, -0.5)
    tops = [str(v) for v in cell["condition"].values]
    role = [str(v) for v in cell["condition_role"].values]
    ax.set_xticks(
        range(columns),
        ["no prompt" if t == "default" else house.signed(t, r) for t, r in zip(tops, role, strict=True)],
        rotation=90,
    )
    for tick, r in zip(ax.get_xticklabels(), role, strict=True):
        tick.set_color(house.colour(r) if r else "black")
    ax.tick_params(length=0)
    ax.set_xlabel("prompt at evaluation")
    ax.set_ylabel("run")
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.colorbar(shown, ax=ax, label=f"{chosen} score (pp)", shrink=0.8, pad=0.02, aspect=25)
    ax.set_title(chosen)
    figure.draw_without_rendering()  # so that the room of a cell is known
    room = ax.get_window_extent().width / figure.dpi * 72 / columns
    for r, c in np.ndindex(mean.shape):
        if np.isfinite(mean[r, c]) and room >= PLAIN:
            ink = "white" if mean[r, c] < 55 else "black"
            whole = room >= FULL and np.isfinite(half[r, c])
            text = f"{mean[r, c]:.0f} ±{half[r, c]:.0f}" if whole else f"{mean[r, c]:.0f}"
            ax.text(c, r, text, ha="center", va="center", fontsize=6, color=ink)
    n, missing = cell["n"].values, int(np.isnan(mean).sum())
    house.describe(
        ax,
        f"Mean score of every run under each prompt at evaluation, last step, "
        f"n = {house.span(n[np.isfinite(n)])} instructions; ± half of the 95 % interval where there is room.",
        house.left_out([f"{missing} cells without scores"] if missing else []),
    )
    return ax
