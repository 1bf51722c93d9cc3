"""How well simple predictors sort what will emerge, by checkpoints seen."""

from functools import partial

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from inoc.emergence import auc_table
from inoc.emergence.predictors import FEWEST
from inoc.errors import IncompleteStore
from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.layout import Panels
from inoc.figures.prefill_rates import cases_of
from inoc.figures.sources import Source, strings
from inoc.store.store import Store

DRAWN = {
    "mean_neg_kl": ("#0072B2", "mean −KL"),
    "exploit_rate": ("#5A5A5A", "rate"),
    "log_exploit_lower_bound": ("#D55E00", "bound"),
    "kl_bound": ("#009E73", "KL bound"),
}
"""Color and label of each metric."""
LINES = {"slope": "-", "level": "--"}


def emergence_auc_data(store: Store) -> xr.Dataset:
    """AUC of level and slope of every metric against the label at the last checkpoint.

    Args:
        store: The store to read.

    Returns:
        `auc` with `lower` and `upper`, by predictor and checkpoints seen.

    Raises:
        IncompleteStore: The store has fewer than 8 cases.
    """
    table = cases_of(store)
    if table.sizes["case"] < FEWEST:
        raise IncompleteStore(
            f"{store.path.name} has {table.sizes['case']} behaviors of runs. Fix: an AUC needs at least {FEWEST}."
        )
    found = auc_table(table)
    return found.sel(predictor=[name for name in strings(found["predictor"]) if name.split()[1] in LINES])


@house.draws(emergence_auc_data)
def plot_emergence_auc(store: Store, *, data: xr.Dataset | None = None, ax: Axes | None = None) -> Axes:
    """Draw the AUC over checkpoints seen: slopes solid, levels dashed, intervals for slopes.

    Raises:
        IncompleteStore: The store has fewer than 8 cases.

    Example:
        >>> ax = inoc.plot_emergence_auc(emerging)
    """
    data = emergence_auc_data(store) if data is None else data
    ax = house.axes_or_new(ax)
    seen = data["seen"].values
    for k, name in enumerate(strings(data["predictor"])):
        metric, kind = name.split()
        cell, ink = data.isel(predictor=k), DRAWN[metric][0]
        ax.plot(seen, cell["auc"].values, color=ink, ls=LINES[kind], lw=1.0)
        if kind == "slope":
            ax.fill_between(seen, cell["lower"].values, cell["upper"].values, color=ink, alpha=0.08, lw=0)
    house.guide(ax, y=0.5)
    ax.set(xlabel="checkpoints seen", ylabel="AUC", ylim=(0, 1.03))
    metrics = [Line2D([], [], color=ink, label=label) for ink, label in DRAWN.values()]
    house.legend(ax, [*metrics, *(Line2D([], [], color="black", ls=line, label=kind) for kind, line in LINES.items())])
    house.describe(
        ax,
        "Share of pairs (emerges, does not) sorted right.",
        "Bands are 95 % bootstrap intervals over cases, for slopes only.",
    )
    return ax


@figure("emergence_auc", "emergence", "How well simple predictors sort the behaviors that will emerge.")
def draw(source: Source) -> Panels:
    return Panels([partial(plot_emergence_auc, source.store, data=emergence_auc_data(source.store))])
