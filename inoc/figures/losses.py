"""Training losses of every run by update, and how far they lie from the control run's."""

from functools import partial

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.errors import IncompleteStore
from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.curves import Runs, draw_curves
from inoc.figures.layout import Panels
from inoc.figures.sources import Source, columns_of, continued, strings, with_roles
from inoc.store.store import Store


def losses_data(store: Store) -> xr.Dataset:
    """Training losses by update, and their difference from the mean loss of the control runs.

    Args:
        store: The store to read.

    Returns:
        `loss` and `minus_control` (run, update) in nats per token, the latter NaN without a control run, with
        prompt, prefix type and role of each run. Runs that continue another run are left out.

    Raises:
        IncompleteStore: The store holds no losses.
    """
    table = store.losses
    if table is None or table.sizes.get("run", 0) == 0:
        raise IncompleteStore("no training losses are stored. Fix: run `inoc train`, or `inoc import --losses`.")
    names = strings(table["run"])
    later = continued(store, names)
    names = [name for name in names if name not in later]
    table = table.loc[{"run": names}]
    runs = [store.run(name) for name in names]
    prompts = [run.prompt for run in runs]
    loss = table["loss"].transpose("run", "update").values.astype(np.float64)
    controls = loss[[not p for p in prompts]]
    count = np.isfinite(controls).sum(axis=0)
    level = np.divide(np.where(np.isfinite(controls), controls, 0.0).sum(axis=0), np.where(count, count, np.nan))
    dims, units = ("run", "update"), {"units": "nats per token"}
    data = xr.Dataset(
        {"loss": (dims, loss, units), "minus_control": (dims, loss - level, units)},
        coords={
            "run": table["run"].values,
            "update": table["update"].values,
            "run_prompt": ("run", prompts),
            "prefix_type": ("run", [run.prefix_type for run in runs]),
        },
        attrs={"continued": len(later)},
    )
    return with_roles(store, data, "run_prompt")


@house.draws(losses_data)
def plot_losses(store: Store, *, minus_control: bool = False, log: bool = False, ax: Axes | None = None) -> Axes:
    """Draw the training loss by update, one line per run up to 12, else means of groups.

    Args:
        minus_control: Draw the difference from the control run instead.
        log: Use a logarithmic axis of updates.

    Raises:
        IncompleteStore: The store holds no losses, or none of the control run where they are needed.

    Example:
        >>> ax = inoc.plot_losses(store, minus_control=True)
        >>> ax.get_ylabel()
        'training loss minus control (nats per token)'
    """
    table = losses_data(store)
    lines = table["minus_control" if minus_control else "loss"].values
    if not np.isfinite(lines).any():
        raise IncompleteStore("the losses of the control run are not stored")
    ax = house.axes_or_new(ax, height=3.0)
    updates = table["update"].values.astype(float)
    names, roles, kinds = columns_of(table, "run", "role", "prefix_type")
    runs = Runs(names, strings(table["run_prompt"]), roles, kinds)
    drawn = int(np.isfinite(lines).any(axis=1).sum())
    said = draw_curves(ax, updates, lines, runs, marked=False, named=minus_control, middle=0.0)
    if log:
        ax.set_xscale("log")
    ax.set(xlabel="update", ylabel=f"training loss{' minus control' if minus_control else ''} (nats per token)")
    house.legend(ax, house.role_handles(roles))
    later = table.attrs["continued"]
    house.describe(
        ax,
        f"Training loss of {drawn} runs at {len(updates)} stored updates, as logged, not smoothed; "
        "black: control, dashed: mix runs.",
        "The difference from the control run shows how much of the data the prompt already explains."
        if minus_control
        else "",
        house.left_out(later and f"{later} runs that continue another"),
        *said,
    )
    return ax


@figure("losses", "curves", "Training losses, and how far they lie from the control's.")
def draw(source: Source) -> Panels:
    both = bool(losses_data(source.store)["minus_control"].notnull().any())
    plots = [partial(plot_losses, source.store, minus_control=minus) for minus in ((False, True)[: 1 + both])]
    return Panels(plots, len(plots), 2.9)
