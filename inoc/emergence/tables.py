"""Cases: one behavior of one run each, counted on a common grid of checkpoints and prefill levels."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from jaxtyping import Float64, Int64

from inoc.emergence.estimators import ESTIMATORS, beginnings, estimators_for, pool_equal, smoothed_log_rate
from inoc.errors import BadInput

Metric = Float64[np.ndarray, "case checkpoint"]
_CELL = ("case", "checkpoint", "prefill")


def case_table(
    run: list[str],
    behavior: list[str],
    checkpoint: Int64[np.ndarray, " checkpoint"],
    prefill: Int64[np.ndarray, " prefill"],
    successes: Int64[np.ndarray, "case checkpoint prefill"],
    trials: Int64[np.ndarray, "case checkpoint prefill"],
    surprisal: Float64[np.ndarray, "case checkpoint prefill"],
    neg_kl: Float64[np.ndarray, "case checkpoint prefill"],
) -> xr.Dataset:
    """Counts of cases with their labels.

    Args:
        run, behavior: What each case is about.
        checkpoint: Updates, ascending.
        prefill: Levels in tokens, ascending.
        successes, trials: Answers with the behavior, and all.
        surprisal: Mean -log P(prefill) under the checkpoint, in nats; NaN = not measured.
        neg_kl: Mean log P(prefill) under the checkpoint minus that under the donor, in nats; NaN = not measured.

    Returns:
        The arrays over (case, checkpoint, prefill).

    Raises:
        BadInput: Labels are not ascending, a cell has more successes than trials, or a surprisal is negative.
    """
    for name, values in (("checkpoint", checkpoint), ("prefill", prefill)):
        if (np.diff(values) <= 0).any() or (values < 0).any():
            raise BadInput(f"{name}s {values.tolist()} are not ascending from 0. Fix: sort them, each once.")
    wrong = {"more successes than trials": successes > trials, "a negative surprisal": surprisal < 0}
    for what, cells in wrong.items():
        if cells.any():
            k, c, p = np.argwhere(cells)[0]
            cell = f"run {run[k]}, behavior {behavior[k]}, checkpoint {checkpoint[c]}, prefill {prefill[p]}"
            raise BadInput(f"{cell} has {what}. Fix: correct the table.")
    nat = {"units": "nat"}
    return xr.Dataset(
        {
            "successes": (_CELL, successes, {"units": "answer", "long_name": "answers with the behavior"}),
            "trials": (_CELL, trials, {"units": "answer", "long_name": "answers judged"}),
            "surprisal": (_CELL, surprisal, {**nat, "long_name": "mean surprisal of the prefill"}),
            "neg_kl": (_CELL, neg_kl, {**nat, "long_name": "mean log-probability of the prefill, checkpoint - donor"}),
        },
        coords={
            "run": ("case", np.asarray(run, object)),
            "behavior": ("case", np.asarray(behavior, object)),
            "checkpoint": ("checkpoint", checkpoint, {"units": "update"}),
            "prefill": ("prefill", prefill, {"units": "token"}),
        },
    )


def cases(counts: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """The cases of a store's runs, summed over the texts of each prefill level.

    Args:
        counts: By run, such as `store.emergence`.

    Returns:
        As `case_table`.

    Raises:
        BadInput: There is no run, or runs differ in checkpoints or levels.
    """
    if not counts:
        raise BadInput("there are no prefill counts. Fix: make them with `inoc evaluate`, or import a table of counts.")
    names, first = list(counts), next(iter(counts.values()))
    for name, entry in counts.items():
        for dim in ("checkpoint", "prefill"):
            if not np.array_equal(entry[dim].values, first[dim].values):
                raise BadInput(
                    f"run {name} has {dim}s {entry[dim].values.tolist()}, run {names[0]} has "
                    f"{first[dim].values.tolist()}. Fix: name runs that share them with --run."
                )
    parts = [_summed(entry) for entry in counts.values()]
    labels = [(name, str(behavior)) for name, entry in counts.items() for behavior in entry["behavior"].values]
    successes, trials, surprisal, neg_kl = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return case_table(
        [run for run, _ in labels],
        [behavior for _, behavior in labels],
        first["checkpoint"].values,
        first["prefill"].values,
        successes,
        trials,
        surprisal,
        neg_kl,
    )


def _summed(entry: xr.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    order = ("behavior", "checkpoint", "prefill", "text")
    successes, trials, surprisal, neg_kl = (
        entry[name].transpose(*order).values for name in ("successes", "trials", "surprisal", "neg_kl")
    )
    means = [_mean(values, trials) for values in (surprisal, neg_kl)]
    return successes.sum(-1), trials.sum(-1), means[0], means[1]


def _mean(values: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """Mean over the texts that were sampled and measured; NaN where there are none."""
    used = np.isfinite(values) & (trials > 0)
    with np.errstate(invalid="ignore"):
        return np.where(used, values, 0).sum(-1) / used.sum(-1)


def estimate(counts: xr.Dataset) -> xr.Dataset:
    """The rate without a prefill, by every estimator that holds for where the run's prefills come from.

    Args:
        counts: One run, an entry of `store.emergence`; its attribute `source` decides the estimators.

    Returns:
        `log_rate` with `lower` and `upper` (nats), `effective` and `texts` (estimator, checkpoint, prefill,
        behavior); and over the levels `bound` with `bound_lower` and `bound_upper`, and `bound_level`, the level that
        carries it (checkpoint, behavior).
    """
    names = estimators_for(counts.attrs["source"])
    sizes = [counts.sizes[dim] for dim in ("checkpoint", "prefill", "behavior")]
    found = np.full((5, len(names), *sizes), np.nan)
    bounds = np.full((4, sizes[0], sizes[2]), np.nan)
    questions = max(1, len(set(counts["question"].values.tolist())))
    arrays = {name: counts[name].values for name in ("successes", "trials", "surprisal", "neg_kl")}
    donor = arrays["surprisal"] + arrays["neg_kl"]
    for c, p, b in np.ndindex(*sizes):
        y, n, s, d = (a[c, p, :, b] for a in (arrays["successes"], arrays["trials"], arrays["surprisal"], donor))
        for e, name in enumerate(names):
            if name == "distinct_texts":
                texts = [
                    f"{q}\0{t}" for q, t in zip(counts["question"].values, counts["text"].values[c, p], strict=True)
                ]
                y, n, s = pool_equal(texts, y, n, s)
            found[:, e, c, p, b] = ESTIMATORS[name].function(y, n, s, d, questions)
    if counts.attrs["source"] != "self":
        for c, b in np.ndindex(sizes[0], sizes[2]):
            bounds[:, c, b] = _bound(counts, arrays, found[:3, names.index("distinct_texts"), c, :, b], (c, b))
    cell, over = ("estimator", "checkpoint", "prefill", "behavior"), ("checkpoint", "behavior")
    nat = {"units": "nat"}
    return xr.Dataset(
        {
            "log_rate": (cell, found[0], {**nat, "long_name": "log rate without a prefill"}),
            "lower": (cell, found[1], nat),
            "upper": (cell, found[2], nat),
            "effective": (cell, found[3], {"units": "1", "long_name": "effective number of prefills"}),
            "texts": (cell, found[4], {"units": "1", "long_name": "prefills"}),
            "bound": (over, bounds[0], {**nat, "long_name": "largest lower bound over the levels"}),
            "bound_lower": (over, bounds[1], nat),
            "bound_upper": (over, bounds[2], nat),
            "bound_level": (over, bounds[3], {"units": "token", "long_name": "level that carries the bound"}),
        },
        coords={
            "estimator": list(names),
            "what": ("estimator", [ESTIMATORS[name].what for name in names]),
            **{dim: counts[dim] for dim in ("checkpoint", "prefill", "behavior")},
        },
    )


def _bound(
    counts: xr.Dataset,
    arrays: Mapping[str, np.ndarray],
    by_level: Float64[np.ndarray, "part level"],
    place: tuple[int, int],
) -> Float64[np.ndarray, " 4"]:
    """The largest lower bound over levels with its interval, and the level: of one text its beginnings, of many texts
    their sums."""
    c, b = place
    level, none = counts["prefill"].values, np.full(4, np.nan)
    if counts.sizes["text"] > 1:
        if not np.isfinite(by_level[0]).any():
            return none
        best = int(np.nanargmax(by_level[0]))
        return np.array([*by_level[:, best], level[best]], np.float64)
    y, n, s = (arrays[name][c, :, 0, b] for name in ("successes", "trials", "surprisal"))
    s = np.where(level == 0, 0.0, s)
    terms = smoothed_log_rate(y, n) - s
    if not np.isfinite(terms).any():
        return none
    return np.array([*beginnings(y, n, s)[:3], level[int(np.nanargmax(terms))]], np.float64)
