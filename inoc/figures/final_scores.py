"""Bars per prompt: the final score or the suppression of one trait, fixed solid and mix hatched."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.layout import Panels
from inoc.figures.sources import Source, choose, columns_of, effect_name, with_roles
from inoc.intervals import mean_level
from inoc.outcomes import suppression
from inoc.outcomes.final import final_scores, run_scores
from inoc.store.store import Store

Quantity = Literal["score", "suppression"]
MANY = 24
"""Above this number of prompts, rows are lower."""
WORDS = {"score": ", the gray band that of the control run.", "suppression": " (paired t on control minus run)."}


def final_scores_data(store: Store) -> xr.Dataset:
    """Score and suppression of every run at its final step.

    Args:
        store: The store to read.

    Returns:
        `score` and `suppression` in pp with `score_ci` (of a level) and `suppression_ci` (paired
        t), and `n` instructions, by run and trait. Control runs are included (run_prompt ""); their suppression
        is NaN. Runs that contradict themselves are left out and named in the attribute `left_out`.

    Raises:
        IncompleteStore: The store has no scores of runs.
    """
    final = final_scores(run_scores(store))
    shape = (len(final.run), len(final.trait))
    stored = np.where(np.array(final.inverted)[:, None], 100.0 - final.score, final.score)
    levels = np.array([tuple(mean_level(stored[i, t])) for i, t in np.ndindex(shape)]).reshape((*shape, 4))
    held = suppression(store).reindex(run=list(final.run)).transpose("run", "trait", ...)
    pair = np.stack([held["lower"].values, held["upper"].values], axis=-1)
    cell, pp = ("run", "trait"), {"units": "pp"}
    data = xr.Dataset(
        {
            "score": (cell, levels[..., 0], pp),
            "score_ci": ((*cell, "bound"), levels[..., 1:3], pp),
            "n": (cell, levels[..., 3].astype(np.int64)),
            "suppression": (cell, held["mean"].values, pp),
            "suppression_ci": ((*cell, "bound"), pair, pp),
        },
        coords={
            "run": list(final.run),
            "trait": list(final.trait),
            "effect": ("trait", list(final.effect)),
            "run_prompt": ("run", list(final.prompt)),
            "prefix_type": ("run", list(final.prefix_type)),
            "seed": ("run", final.seed),
            "bound": ["lower", "upper"],
        },
        attrs={"left_out": list(final.left_out), "step": sorted({int(s) for s in final.step if s >= 0})},
    )
    return with_roles(store, data, "run_prompt")


@house.draws(final_scores_data)
def plot_final_scores(
    store: Store,
    trait: str | None = None,
    quantity: Quantity = "score",
    *,
    order: Sequence[str] | None = None,
    data: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one bar per run, prompts sorted by role and size; a line with its band marks the control run.

    Args:
        trait: The name of a trait; None for the first.
        quantity: "score" or "suppression".
        order: Keys of the prompts from the top; None to sort by role and size.

    Raises:
        BadInput: The trait is unknown.

    Example:
        >>> ax = inoc.plot_final_scores(store, "German", "suppression")
        >>> ax.get_xlabel()
        'loss of German (pp)'
    """
    data = final_scores_data(store) if data is None else data
    chosen = choose(data, "trait", trait)
    cell = data.loc[{"trait": chosen}]
    values, bounds = cell[quantity].values, cell[f"{quantity}_ci"].values
    prompts, kinds, roles = columns_of(cell, "run_prompt", "prefix_type", "role")
    known = [i for i in house.by_role(roles, values) if np.isfinite(values[i])]
    order = list(dict.fromkeys(prompts[i] for i in known if prompts[i])) if order is None else order
    ax = house.axes_or_new(ax, height=house.row_height(len(order), 17.0))
    for at, prompt in enumerate(order):
        same = [i for i in sorted(known) if prompts[i] == prompt]
        each = 0.76 / max(len(same), 2)
        for k, i in enumerate(same):
            place = at + (k - (len(same) - 1) / 2) * each
            house.bar(ax, place, values[i], each * 0.92, house.color(roles[i]), kinds[i])
            ax.hlines(place, *bounds[i], colors="black", lw=0.8, zorder=3)
    house.name_rows(ax, order, [roles[prompts.index(p)] for p in order])
    for i in (i for i in sorted(known) if not prompts[i] and quantity == "score"):
        ax.axvspan(*bounds[i], color="#DDDDDD", zorder=0, lw=0)
        ax.axvline(values[i], color="black", lw=1.0, ls=":", zorder=1, label="control run")
        house.legend(ax, [ax.lines[-1]])
    house.guide(ax, x=0)
    what = f"{chosen} score" if quantity == "score" else effect_name(store, chosen)
    ax.set(xlabel=f"{what} (pp)", title=chosen)
    house.legend(ax, house.bar_handles(kinds))
    n, steps = cell["n"].values, ", ".join(str(s) for s in data.attrs["step"])
    house.describe(
        ax,
        f"Final {quantity if quantity == 'score' else what} by prompt, no prompt at evaluation, step {steps}, "
        f"n = {house.span(n[n > 0])} instructions.",
        f"Black lines are 95 % intervals{WORDS[quantity]}",
        house.left_out(*data.attrs["left_out"]),
    )
    return ax


@figure("final_scores", "outcomes", "What every run shows at its final step without any prompt.", quantity="score")
@figure(
    "suppression", "outcomes", "How much each prompt held each trait back, with paired 95 % intervals.",
    quantity="suppression",
)  # fmt: skip
def draw(source: Source, quantity: Quantity) -> Panels:
    data = final_scores_data(source.store)
    prompts, roles = columns_of(data, "run_prompt", "role")
    size = data[quantity].mean("trait").values  # one order for all panels
    order = list(dict.fromkeys(prompts[i] for i in house.by_role(roles, size) if prompts[i]))
    plots = [partial(plot_final_scores, source.store, t, quantity, order=order, data=data) for t in source.traits]
    return Panels(plots, 2, house.row_height(len(order), 17.0 if len(order) <= MANY else 11.0, 0.9))
