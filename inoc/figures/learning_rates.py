"""Learning-rate sweep: what runs end at and how fast they get there, by learning rate."""

from functools import partial
from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Float64
from matplotlib.axes import Axes

from inoc.errors import IncompleteStore
from inoc.figures import house
from inoc.figures.catalog import figure
from inoc.figures.curves import JOINED, Runs, draw_curves
from inoc.figures.layout import Panels
from inoc.figures.sources import Source, choose, columns_of, strings, with_roles
from inoc.figures.training_curves import training_curves_data
from inoc.store.store import Store

Quantity = Literal["final", "steps"]
REACHED = 0.7
"""The share of the whole change that counts as reached."""
WORDS = {"final": "final {} score (pp)", "steps": "updates to 70 % ({})"}
Curve = Float64[np.ndarray, " step"]


def learning_rates_data(store: Store) -> xr.Dataset:
    """Final scores and updates to 70 % of the whole change, by learning rate; no prompt at evaluation.

    Args:
        store: The store to read.

    Returns:
        `final` with `lower` and `upper` in pp (seeds averaged), and `steps` in updates (cell, rate, score), NaN where
        unknown; a cell is a prompt with a prefix type.

    Raises:
        IncompleteStore: The store has no runs, or fewer than two learning rates.
    """
    table = training_curves_data(store).sel(condition="default").transpose("run", "step", "score")
    names, prompts, kinds = columns_of(table, "run", "run_prompt", "prefix_type")
    stored = [store.run(name).settings.get("learning_rate") for name in names]
    of = [float(rate) if isinstance(rate, int | float) and rate > 0 else np.nan for rate in stored]
    rates = sorted({rate for rate in of if np.isfinite(rate)})
    if len(rates) < 2:
        raise IncompleteStore("runs have one learning rate. Fix: list runs with others in `training.runs`.")
    cells = list(dict.fromkeys(zip(prompts, kinds, strict=True)))
    found = np.full((4, len(cells), len(rates), table.sizes["score"]), np.nan)
    parts = [table[name].values for name in ("mean", "lower", "upper")]
    steps = table["step"].values.astype(np.float64)
    for c, r, s in np.ndindex(found.shape[1:]):
        seeds = [i for i, cell in enumerate(zip(prompts, kinds, strict=True)) if cell == cells[c] and of[i] == rates[r]]
        last = [np.flatnonzero(np.isfinite(parts[0][i, :, s]))[-1:] for i in seeds]
        ends = [[part[i, at[0], s] for part in parts] for i, at in zip(seeds, last, strict=True) if at.size]
        if ends:
            found[:3, c, r, s] = np.mean(ends, axis=0)
            found[3, c, r, s] = np.mean([steps_to(steps, parts[0][i, :, s]) for i in seeds])
    dims = ("cell", "rate", "score")
    units = ("pp", "pp", "pp", "updates")
    data = xr.Dataset(
        {name: (dims, found[i], {"units": units[i]}) for i, name in enumerate(("final", "lower", "upper", "steps"))},
        coords={
            "rate": rates, "score": strings(table["score"]), "run_prompt": ("cell", [p for p, _ in cells]),
            "prefix_type": ("cell", [k for _, k in cells]),
        },
        attrs={"unknown": int(np.isnan(of).sum()), "n": table.attrs["n"]},
    )  # fmt: skip
    return with_roles(store, data, "run_prompt")


def steps_to(steps: Curve, level: Curve, share: float = REACHED) -> float:
    """The update at which a curve has done that share of its change from first to last, between stored steps by a line.

    NaN for fewer than four steps, or a change of less than 5 pp.
    """
    known = np.isfinite(level)
    at, y = steps[known], level[known]
    if len(y) < JOINED or abs(y[-1] - y[0]) < 5:
        return np.nan
    done = (y - y[0]) / (y[-1] - y[0])
    k = int(np.argmax(done >= share))
    return float(np.interp(share, done[k - 1 : k + 1], at[k - 1 : k + 1]))


@house.draws(learning_rates_data)
def plot_learning_rates(
    store: Store,
    score: str | None = None,
    quantity: Quantity = "final",
    *,
    data: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the final score, or the updates to 70 % of its change, by learning rate: a line per prompt and prefix type.

    Args:
        score: The name of a score; None for the first.
        quantity: "final" or "steps".

    Raises:
        BadInput: The score is unknown.

    Example:
        >>> ax = inoc.plot_learning_rates(sweep, "German", "steps")
        >>> ax.get_ylabel()
        'updates to 70 % (German)'
    """
    data = learning_rates_data(store) if data is None else data
    chosen = choose(data, "score", score)
    cell = data.loc[{"score": chosen}]
    prompts, kinds, roles = columns_of(cell, "run_prompt", "prefix_type", "role")
    names = [f"{prompt}, {kind}" for prompt, kind in zip(prompts, kinds, strict=True)]
    bounds = (cell["lower"].values, cell["upper"].values) if quantity == "final" else None
    ax = house.axes_or_new(ax, height=2.8)
    ax.set_xscale("log")
    said = draw_curves(ax, data["rate"].values, cell[quantity].values, Runs(names, prompts, roles, kinds), bounds)
    ax.set(xlabel="learning rate (log scale)", ylabel=WORDS[quantity].format(chosen))
    house.legend(ax, [*house.prefix_handles(kinds), *house.role_handles(roles)])
    house.describe(
        ax,
        f"Final score, n = {data.attrs['n']} instructions at most, and updates at which 70 % of the change from the "
        f"first to the last step is done, by learning rate ({data.sizes['rate']} rates); no prompt at evaluation.",
        "No updates are given for fewer than 4 stored steps or a change of less than 5 pp.",
        *said,
        house.left_out(data.attrs["unknown"] and f"{data.attrs['unknown']} runs without a known learning rate"),
    )
    return ax


@figure("learning_rates", "curves", "What runs end at and how fast they get there, by learning rate.")
def draw(source: Source) -> Panels:
    data = learning_rates_data(source.store)
    plot = partial(plot_learning_rates, source.store, data=data)
    return Panels([partial(plot, score, q) for score in strings(data["score"]) for q in ("final", "steps")], 2, 2.6)
