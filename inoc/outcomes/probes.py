"""Leaks by category of probe: what every run shows when other texts are put before the questions."""

import numpy as np
import xarray as xr

from inoc.errors import IncompleteStore
from inoc.heuristics.maths.pointwise import mean_of_finite
from inoc.intervals import mean_level
from inoc.outcomes.final import all_scores, final_step, with_setup
from inoc.store.schema import CONDITIONS
from inoc.store.store import Store


def leaks(store: Store, *, by: str = "category") -> xr.Dataset:
    """The scores of every run at its last step by category of probe, beside those without and with its own prompt.

    Args:
        store: A store whose runs were asked under probes.
        by: "category", the mean over the probes of a category; or "condition", every probe by itself.

    Returns:
        Dims run, condition (the categories, or the probes; `default` and `training` first), score: `mean`, `lower`,
        `upper` (0-100), `n` (questions). Questions are the draws: the scores of a question are averaged over the probes
        of a category before the interval is taken. `left_out` names the runs without scores at their last step.

    Raises:
        IncompleteStore: No run was asked under a probe.
    """
    scores = with_setup(all_scores(store), store.runs)
    probes = {str(c): str(p) for c, p in zip(scores["condition"].values, scores["probe"].values, strict=True)}
    if not any(probes.values()):
        raise IncompleteStore("no run was asked under a probe. Fix: add `evaluation.probes` to the experiment.")
    of = {c: category if by == "category" and category else c for c, category in probes.items()}
    order = sorted(probes, key=lambda c: CONDITIONS.index(c) if c in CONDITIONS else len(CONDITIONS))
    columns = list(dict.fromkeys(of[c] for c in order))
    steps, left_out = final_step(scores)
    kept = [r for r, step in enumerate(steps) if step >= 0]
    names = [str(name) for name in scores["score"].values]
    table = np.full((len(kept), len(columns), len(names), 4), np.nan)
    for row, r in enumerate(kept):
        cell = scores.isel(run=r).sel(step=steps[r])["value"].transpose("condition", "score", "question").values
        for c, column in enumerate(columns):
            mine = [i for i, condition in enumerate(probes) if of[condition] == column]
            for s in range(len(names)):
                table[row, c, s] = mean_level(mean_of_finite(cell[mine, s].T))
    dims = ("run", "condition", "score")
    return xr.Dataset(
        {
            **{p: (dims, table[..., i], {"units": "pp"}) for i, p in enumerate(("mean", "lower", "upper"))},
            "n": (dims, np.nan_to_num(table[..., 3]).astype(np.int64), {"units": "1", "long_name": "questions"}),
        },
        coords={
            "run": [str(scores["run"].values[r]) for r in kept],
            "condition": columns,
            "score": names,
            **{name: ("run", scores[name].values[kept]) for name in ("run_prompt", "prefix_type", "seed")},
        },
        attrs={"left_out": left_out},
    )
