"""Which runs would narrow the predictions most: greedy choice on the gate's covariance."""

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float64

from inoc.outcomes.candidates import GATE, PLAIN
from inoc.outcomes.features import NEUTRAL, features
from inoc.outcomes.gate import CELL_SD, NOISE, Gate, Prior, design_of
from inoc.outcomes.learning import sample_of
from inoc.outcomes.shipped import Shipped

Cell = tuple[str, str, str]
Matrix = Float64[np.ndarray, "row column"]


def plan_of(table: xr.Dataset, new: xr.Dataset, k: int, prior: Shipped | None = None) -> list[Cell]:
    """The k runs (experiment, prompt, prefix type) that would narrow the predictions of all others most, the first
    chosen first; fewer where fewer prompts have the features.

    The first is a neutral prompt with a fixed prefix, unless one is trained: what any prefix does is told by no other.
    Then, one after the other, the run after which the mean variance of the predicted shares is smallest.
    """
    read = features(table, new)
    reads = GATE if read.consistency else PLAIN
    sample = sample_of(table, read.names, read.values[0], "on_target")
    place = [read.names.index(name) for name in (*reads, "cell")]
    x = read.values[1][:, place]
    known = sample.columns((*reads, "cell"))
    known, share = (part[np.isfinite(known).all(axis=1)] for part in (known, sample.share))
    weights = prior.priors("on_target", read).get(",".join(reads)) if prior is not None else None
    columns = ("experiment", "prompt", "prefix_type")
    cells = list(zip(*(new[n].values.astype(str).tolist() for n in columns), strict=True))
    done = set(zip(*(table[n].values[np.isfinite(table["suppression"].values)].tolist() for n in columns), strict=True))
    usable = np.isfinite(x).all(axis=1) & new["on_target"].values.astype(bool)
    usable &= np.array([cell not in done for cell in cells], dtype=bool)
    rows = np.flatnonzero(usable)
    first = np.zeros(rows.size, dtype=bool)
    neutral = table["family"].values.astype(str) == NEUTRAL
    if not (neutral & (table["prefix_type"].values.astype(str) == "fixed")).any():
        first = (new["family"].values[rows].astype(str) == NEUTRAL) & (new["prefix_type"].values[rows] == "fixed")
    runs = [cells[row] for row in rows]
    numbers = {cell: i for i, cell in enumerate(dict.fromkeys(runs))}
    run = np.array([numbers[cell] for cell in runs], dtype=np.int64)
    chosen = choose_runs(known, share, x[rows], run, k, first=first, prior=weights)
    named = list(numbers)
    return [(named[i][0], named[i][1], named[i][2]) for i in chosen]


def choose_runs(
    known: Matrix,
    share: Float64[np.ndarray, " trained"],
    new: Float64[np.ndarray, "new column"],
    run: np.ndarray,
    k: int,
    *,
    first: Bool[np.ndarray, " new"],
    prior: Prior | None = None,
) -> list[int]:
    """Numbers of the k runs to train, greedily.

    `known` and `new` are columns of the gate, the number of the cell last, of trained rows and of those to predict;
    `run` is the run that each new row would be measured by; the first run is chosen among those of the rows in `first`,
    if any.
    """
    if not len(new):
        return []
    prior = prior or Prior.weak(new.shape[1] - 1)
    cells = np.unique(np.concatenate([known[:, -1], new[:, -1]]))
    precision = np.eye(new.shape[1] + cells.size) / CELL_SD**2
    precision[: new.shape[1], : new.shape[1]] = np.linalg.inv(prior.covariance)
    gate = Gate(prior).fit(known, share) if len(known) else Gate.of_prior(prior)
    shares = (gate.predict(x) if len(x) else np.empty(0) for x in (known, new))
    steep = [share * (1 - share) for share in shares]  # how much a share moves with its logit
    trained, slopes = (design_of(x, cells) * s[:, None] for x, s in zip((known, new), steep, strict=True))
    precision = precision + trained.T @ trained / NOISE**2
    left = list(dict.fromkeys(run.tolist()))
    chosen: list[int] = []
    while left and len(chosen) < k:
        among = [r for r in left if first[run == r].any()] if not chosen else []
        variance = {r: _mean_variance(precision, slopes, run == r) for r in among or left}
        best = min(variance, key=lambda r: variance[r])
        precision = precision + slopes[run == best].T @ slopes[run == best] / NOISE**2
        chosen.append(best)
        left.remove(best)
    return chosen


def _mean_variance(
    precision: Float64[np.ndarray, "parameter parameter"],
    slopes: Float64[np.ndarray, "row parameter"],
    measured: Bool[np.ndarray, " row"],
) -> float:
    """Mean variance of the predicted shares after some rows are measured."""
    after = precision + slopes[measured].T @ slopes[measured] / NOISE**2
    solved = np.asarray(np.linalg.solve(after, slopes.T), dtype=np.float64)
    return float((slopes * solved.T).sum(axis=1).mean())
