"""Training losses of every run by update, and how far they lie from the control run's."""

# matplotlib's stubs leave some argument types unknown
# pyright: reportUnknownMemberType=false

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.errors import IncompleteStore
from inoc.figures import house
from inoc.figures.labels import EndLabels
from inoc.figures.sources import continued, roles_of
from inoc.store.store import Store

MOST = 24
"""Runs named at most."""


def losses_data(store: Store) -> xr.Dataset:
    """loss and minus_control (run, update) in nats per token, with prompt, prefix type and role of each run.

    `minus_control`: loss minus the mean loss of the control runs at the same update, NaN without control.

    Raises:
        IncompleteStore: the store holds no losses.
    """
    table = store.losses
    if table is None or table.sizes.get("run", 0) == 0:
        raise IncompleteStore(
            "no training losses are stored; `inoc train` or `inoc import --losses` adds them"
        )
    roles = roles_of(store)
    later = continued(store, [str(name) for name in table["run"].values])
    table = table.sel(run=[str(name) for name in table["run"].values if str(name) not in later])
    runs = [store.runs[str(name)] for name in table["run"].values]
    prompts = [run.prompt for run in runs]
    loss = table["loss"].transpose("run", "update").values.astype(np.float64)
    controls = loss[[not p for p in prompts]]
    count = np.isfinite(controls).sum(axis=0)
    level = np.divide(
        np.where(np.isfinite(controls), controls, 0.0).sum(axis=0), np.where(count, count, np.nan)
    )
    units = {"units": "nats per token"}
    return xr.Dataset(
        {"loss": (("run", "update"), loss, units), "minus_control": (("run", "update"), loss - level, units)},
        coords={
            "run": table["run"].values,
            "update": table["update"].values,
            "run_prompt": ("run", prompts),
            "prefix_type": ("run", [run.prefix_type for run in runs]),
            "role": ("run", [roles.get(p, "") if p else "control" for p in prompts]),
        },
        attrs={"continued": len(later)},
    )


@house.styled
def plot_losses(
    store: Store, *, minus_control: bool = False, log: bool = False, ax: Axes | None = None
) -> Axes:
    """Training loss by update, one line per run; `minus_control`: as the difference from the control run.

    Raises IncompleteStore without losses, or without a control run where one is needed.
    """
    table = losses_data(store)
    name = "minus_control" if minus_control else "loss"
    if not np.isfinite(table[name].values).any():
        raise IncompleteStore("the losses of the control run are not stored")
    ax = house.axes_or_new(ax, height=3.0)
    updates = table["update"].values.astype(float)
    roles, kinds = [str(r) for r in table["role"].values], [str(k) for k in table["prefix_type"].values]
    ends: list[tuple[float, float, str, str]] = []
    for i, key in enumerate(table["run"].values):
        values = table[name].values[i]
        shown = np.isfinite(values)
        if not shown.any():
            continue
        control = roles[i] == "control"
        ink = "black" if control else house.colour(roles[i])
        ls, width = house.LINES.get(kinds[i], "-"), 1.6 if control else 0.7
        ax.plot(updates[shown], values[shown], color=ink, ls=ls, lw=width, zorder=4 if control else 3)
        label = "control" if control else house.signed(str(key), roles[i])
        ends.append((updates[shown][-1], values[shown][-1], label, ink))
    if log:
        ax.set_xscale("log")
    ends.sort(key=lambda end: (end[2] != "control", -abs(end[1])))
    named = ends[:MOST] if minus_control else []
    if named:
        x, y = (np.array([end[k] for end in named]) for k in (0, 1))
        EndLabels(ax, x, y, [end[2] for end in named], [end[3] for end in named])
    ax.set_xlabel("update")
    ax.set_ylabel(f"training loss{' minus control' if minus_control else ''} (nats per token)")
    house.legend(ax, house.role_handles(roles))
    house.describe(
        ax,
        f"Training loss of {len(ends)} runs at {len(updates)} stored updates, as logged, not smoothed; "
        "black: control, dashed: mix runs.",
        "The difference from the control run shows how much of the data the prompt already explains."
        if minus_control
        else "",
        house.left_out(
            [f"{table.attrs['continued']} runs that continue another"] if table.attrs["continued"] else []
        ),
        f"{len(ends) - MOST} of {len(ends)} lines carry no name."
        if minus_control and len(ends) > MOST
        else "",
    )
    return ax
