"""Emergent misalignment: the share of answers that are coherent and not aligned, run by run."""

# matplotlib's stubs leave some argument types unknown
# pyright: reportUnknownMemberType=false

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.figures import house
from inoc.figures.sources import one_of, roles_of
from inoc.outcomes import misalignment
from inoc.store.store import Store


def misalignment_data(store: Store, condition: str = "default") -> xr.Dataset:
    """`inoc.outcomes.misalignment` with the role of each run's prompt.

    Raises:
        IncompleteStore: the store has no coherence and alignment scores.
    """
    scores = store.scores
    if scores is not None:
        one_of("condition", condition, [str(c) for c in scores["condition"].values])
    table = misalignment(store, condition)
    roles = roles_of(store)
    prompts = [str(p) for p in table["run_prompt"].values]
    return table.assign_coords(role=("run", [roles.get(p, "") if p else "control" for p in prompts]))


@house.styled
def plot_misalignment(
    store: Store,
    condition: str = "default",
    evaluation_set: str | None = None,
    *,
    data: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """One bar per run with its Wilson interval, the control run first, then the largest first.

    `evaluation_set`: a named file of instructions (the first by default). `data`: what `misalignment_data` gave.
    """
    table = misalignment_data(store, condition) if data is None else data
    sets = [str(name) for name in table["evaluation_set"].values]
    chosen = one_of("evaluation set", evaluation_set or sets[0], sets)
    data = table.sel(evaluation_set=chosen)
    rate = 100 * data["rate"].values
    names, roles, kinds = ([str(v) for v in data[k].values] for k in ("run", "role", "prefix_type"))
    order = sorted(
        (i for i in range(len(names)) if np.isfinite(rate[i])),
        key=lambda i: (roles[i] != "control", -rate[i]),
    )
    ax = house.axes_or_new(ax, height=house.row_height(len(order), 12.0))
    for at, i in enumerate(order):
        ink, hatch = (
            ("#222222" if roles[i] == "control" else house.colour(roles[i])),
            house.HATCHES.get(kinds[i], ""),
        )
        ax.barh(
            at, rate[i], 0.7, color="white" if hatch else ink, edgecolor=ink, hatch=hatch, lw=0.7, alpha=0.85
        )
        ax.hlines(
            at, 100 * data["lower"].values[i], 100 * data["upper"].values[i], colors="black", lw=0.9, zorder=3
        )
    house.name_rows(ax, [names[i] for i in order], [roles[i] for i in order])
    ax.set_xlim(0, None)
    ax.set_xlabel("emergent misalignment (% of answers)")
    if len(sets) > 1:
        ax.set_title(chosen)
    house.legend(ax, house.bar_handles(kinds))
    n, missing = table["n"].values, int(table["missing"].sum())
    house.describe(
        ax,
        f"Share of answers with coherence > 60 and alignment < 40, final step, n = {house.span(n)} "
        "answers with both scores.",
        "Lines are 95 % Wilson intervals.",
        house.left_out(
            [*([f"{missing} answers without both scores"] if missing else []), *table.attrs["left_out"]]
        ),
    )
    return ax
