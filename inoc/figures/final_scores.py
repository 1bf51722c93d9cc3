"""Bars per prompt: the final score or the suppression of one trait, fixed solid and mix hatched."""

# matplotlib's stubs leave some argument types unknown
# pyright: reportUnknownMemberType=false

from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.figures import house
from inoc.figures.sources import one_of, roles_of
from inoc.intervals import mean_z
from inoc.outcomes import suppression
from inoc.outcomes.effects import run_scores
from inoc.outcomes.final import final_scores
from inoc.store.store import Store

Quantity = Literal["score", "suppression"]


def final_scores_data(store: Store) -> xr.Dataset:
    """score and suppression with lower and upper (bound), and n, by run and trait, in pp; final step.

    The control runs are rows too (run_prompt ""); their suppression is NaN. `score`: +/- 1.96 sd / sqrt(n);
    `suppression`: paired t. Runs that contradict themselves are left out (attr `left_out`).
    """
    final = final_scores(run_scores(store))
    held = suppression(store)
    roles = roles_of(store)
    shape = (len(final.run), len(final.trait))
    levels = np.array([[tuple(mean_z(final.score[i, t])) for t in range(shape[1])] for i in range(shape[0])])
    levels = levels.reshape((*shape, 4))
    reached = held.reindex(run=list(final.run))
    coords = {
        "run": list(final.run),
        "trait": list(final.trait),
        "run_prompt": ("run", list(final.prompt)),
        "prefix_type": ("run", list(final.prefix_type)),
        "seed": ("run", final.seed),
        "role": ("run", [roles.get(p, "") if p else "control" for p in final.prompt]),
        "bound": ["lower", "upper"],
    }
    pair = np.stack([reached["lower"].values, reached["upper"].values], axis=-1)
    cell = ("run", "trait")
    return xr.Dataset(
        {
            "score": (cell, levels[..., 0], {"units": "pp"}),
            "score_ci": ((*cell, "bound"), levels[..., 1:3], {"units": "pp"}),
            "n": (cell, levels[..., 3].astype(np.int64)),
            "suppression": (cell, reached["mean"].transpose("run", "trait").values, {"units": "pp"}),
            "suppression_ci": ((*cell, "bound"), pair, {"units": "pp"}),
        },
        coords=coords,
        attrs={"left_out": list(final.left_out), "step": sorted({int(s) for s in final.step})},
    )


@house.styled
def plot_final_scores(
    store: Store,
    trait: str | None = None,
    quantity: Quantity = "score",
    *,
    data: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """One bar per run, prompts sorted by role and size; a line with its band marks the control run."""
    table = final_scores_data(store) if data is None else data
    chosen = one_of("trait", trait or str(table["trait"].values[0]), [str(t) for t in table["trait"].values])
    cell = table.sel(trait=chosen)
    values, bounds = cell[quantity].values, cell[f"{quantity}_ci"].values
    prompts, kinds = ([str(v) for v in cell[name].values] for name in ("run_prompt", "prefix_type"))
    roles = [str(v) for v in cell["role"].values]
    order = _order(prompts, roles, values)
    ax = house.axes_or_new(ax, height=house.row_height(len(order), 17.0))
    width = 0.38
    for i, prompt in enumerate(prompts):
        if not prompt or not np.isfinite(values[i]):
            continue
        same = [j for j, p in enumerate(prompts) if p == prompt and np.isfinite(values[j])]
        each = 2 * width / max(len(same), 2)
        at = order.index(prompt) + (same.index(i) - (len(same) - 1) / 2) * each
        ink = house.colour(roles[i])
        hatch = house.HATCHES.get(kinds[i], "")
        ax.barh(
            at, values[i], each * 0.92, color="white" if hatch else ink, edgecolor=ink, hatch=hatch, lw=0.7
        )
        ax.hlines(at, *bounds[i], colors="black", lw=0.8, zorder=3)
    house.name_rows(ax, order, [roles[prompts.index(p)] for p in order])
    for i in (i for i, p in enumerate(prompts) if not p and quantity == "score" and np.isfinite(values[i])):
        ax.axvspan(*bounds[i], color="#DDDDDD", zorder=0, lw=0)
        ax.axvline(values[i], color="black", lw=1.0, ls=":", zorder=1, label="control run")
        house.legend(ax, [ax.lines[-1]])
    house.zero(ax, x=True)
    word = "score" if quantity == "score" else "suppression"
    ax.set_xlabel(f"{chosen} {word} (pp)")
    ax.set_title(chosen)
    house.legend(ax, house.bar_handles(kinds))
    n = cell["n"].values
    steps = ", ".join(str(s) for s in table.attrs["step"])
    house.describe(
        ax,
        f"Final {word} by prompt, no prompt at evaluation, step {steps}, "
        f"n = {house.span(n[n > 0])} instructions.",
        "Black lines are 95 % intervals"
        + (
            " (paired t on control minus run)."
            if quantity == "suppression"
            else ", the grey band that of the control run."
        ),
        house.left_out(table.attrs["left_out"]),
    )
    return ax


def _order(prompts: list[str], roles: list[str], values: np.ndarray) -> list[str]:
    """Prompts with a value: by role, then the largest first."""
    best: dict[str, float] = {}
    for prompt, value in zip(prompts, values, strict=True):
        if prompt and np.isfinite(value):
            best[prompt] = max(best.get(prompt, -np.inf), float(value))
    rank = {role: i for i, role in enumerate(house.ROLES)}
    return sorted(best, key=lambda p: (rank.get(roles[prompts.index(p)], 9), -best[p]))
