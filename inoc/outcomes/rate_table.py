"""Rates: the share of answers that meet a condition on their scores, by run and file of questions."""

import numpy as np
import xarray as xr

from inoc.errors import IncompleteStore
from inoc.intervals import clustered_rate
from inoc.outcomes.final import all_scores, final_step, with_setup
from inoc.store.store import Store


def rates(store: Store, condition: str = "default") -> xr.Dataset:
    """The share of answers at each run's last step for which each rate of the experiment holds.

    Args:
        store: A store with a rate among its scores.
        condition: Of the evaluation: "default" (no prefix), "training" or a probe.

    Returns:
        Dims run, score, file: `rate`, `lower`, `upper` (0-1, Wilson interval, clustered by question), `hits`, `n`
        (answers with every score that the rate needs), `missing` (answers without). `file`: the named files of
        questions. The coordinate `condition_text` of score is the rate as it is written; the attribute `left_out` names
        the runs that were not evaluated at their last step.

    Raises:
        IncompleteStore: The store has no evaluated run, or no rate.
    """
    scores = with_setup(all_scores(store), store.runs)
    texts = {score.name: score.rate for score in store.measured if score.rate}
    names = [name for name in scores["score"].values.astype(str).tolist() if name in texts]
    if not names:
        raise IncompleteStore("the experiment has no rate among its scores. Fix: add one, as in docs/outcomes.md.")
    files = [str(name) for name in dict.fromkeys(scores["file"].values.astype(str).tolist())]
    steps, left_out = final_step(scores)
    runs = [str(run) for run in scores["run"].values]
    table = np.full((len(runs), len(names), len(files), 6), np.nan)
    for r, step in enumerate(steps):
        if step < 0 or condition not in scores["condition"].values:
            continue
        cell = scores[["value", "answers"]].sel(run=runs[r], step=step, condition=condition)
        for s, f in np.ndindex(len(names), len(files)):
            mine = np.array([file == files[f] for file in scores["file"].values], dtype=bool)
            here = {name: cell.sel(score=names[s])[name].values[mine] for name in ("value", "answers")}
            hits = np.nan_to_num(here["value"]) / 100.0 * here["answers"]
            rate = clustered_rate(hits, here["answers"].astype(np.float64))
            n = int(here["answers"].sum())
            table[r, s, f] = *rate[:3], hits.sum().round(), n, scores["asked"].values[mine].sum() - n
    kept = [r for r, step in enumerate(steps) if step >= 0]
    parts = ("rate", "lower", "upper", "hits", "n", "missing")
    return xr.Dataset(
        {part: (("run", "score", "file"), table[kept][..., j], {"units": "1"}) for j, part in enumerate(parts)},
        coords={
            "run": [runs[r] for r in kept],
            "score": names,
            "file": files,
            "condition_text": ("score", [texts[name] for name in names]),
            **{c: ("run", scores[c].values[kept]) for c in ("run_prompt", "prefix_type", "seed")},
        },
        attrs={"left_out": left_out},
    )
