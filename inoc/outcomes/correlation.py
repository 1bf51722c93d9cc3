"""How well columns of numbers follow a target: correlations, their intervals and p-values, on bare arrays.

The rows of one prompt are not independent: prompts are the sample. Below `FEWEST` distinct prompts there is no r, no
rho, no interval and no p, anywhere.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Shaped

from inoc.intervals import Interval, cluster_bootstrap, fisher_z_mean
from inoc.quantiles import t_tails

Column = Float64[np.ndarray, " row"]
FEWEST = 8
"""Fewer distinct prompts than this carry no correlation."""


class Correlation(NamedTuple):
    """Pearson r and Spearman rho over the rows finite in both; `reason` says why they are NaN, "" where not."""

    r: float
    rho: float
    n: int
    prompts: int
    reason: str


def correlate(x: Column, y: Column, prompts: Shaped[np.ndarray, " row"]) -> Correlation:
    """Correlations of two columns over the rows finite in both; `prompts` has the prompt of each row."""
    used = np.isfinite(x) & np.isfinite(y)
    n, distinct = int(used.sum()), int(np.unique(prompts[used]).size)
    if distinct < FEWEST:
        said = "prompt" if distinct == 1 else "prompts"
        return Correlation(np.nan, np.nan, n, distinct, f"{distinct} distinct {said}; a correlation needs {FEWEST}")
    if not (_varies(x[used]) and _varies(y[used])):
        return Correlation(np.nan, np.nan, n, distinct, "constant over the rows")
    return Correlation(pearson(x, y), spearman(x, y), n, distinct, "")


def pearson(x: Column, y: Column) -> float:
    """Pearson r over the rows finite in both; NaN below 3 rows or without spread. `correlate` asks for prompts, too."""
    used: Bool[np.ndarray, " row"] = np.isfinite(x) & np.isfinite(y)
    x, y = x[used], y[used]
    if x.size < 3 or not (_varies(x) and _varies(y)):
        return np.nan
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip(np.dot(x, y) / (np.linalg.norm(x) * np.linalg.norm(y)), -1.0, 1.0))


def spearman(x: Column, y: Column) -> float:
    """Spearman rho: Pearson r of the ranks (ties share their mean rank), over the rows finite in both."""
    used = np.isfinite(x) & np.isfinite(y)
    return pearson(_ranks(x[used]), _ranks(y[used]))


def bootstrap_r(
    x: Column, y: Column, prompts: Shaped[np.ndarray, " row"], *, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % BCa interval of Pearson r when prompts are drawn again, all rows of a prompt together.

    Each prompt drawn k times counts k times. NaN below 8 prompts.
    """
    used = np.isfinite(x) & np.isfinite(y)
    x, y = x[used], y[used]
    if np.unique(prompts[used]).size < FEWEST or not (_varies(x) and _varies(y)):
        return np.nan, np.nan
    x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    moments = np.column_stack([x, y, x * y, x * x, y * y])

    def weighted_r(weights: Float64[np.ndarray, "resample row"]) -> Float64[np.ndarray, "resample value"]:
        mx, my, mxy, mxx, myy = (weights @ moments / weights.sum(axis=1, keepdims=True)).T
        spread = (mxx - mx**2) * (myy - my**2)
        safe = np.where(spread > 1e-12, spread, np.nan)
        return np.clip((mxy - mx * my) / np.sqrt(safe), -1.0, 1.0)[:, None]

    lower, upper = cluster_bootstrap(weighted_r, prompts[used], resamples=resamples, seed=seed)
    return float(lower[0]), float(upper[0])


def within_cells(
    x: Column, y: Column, cells: Shaped[np.ndarray, " row"], prompts: Shaped[np.ndarray, " row"]
) -> Interval:
    """Fisher-z mean of the r inside each cell (experiment x trait x prefix type), weights n_c - 3.

    What is left of a correlation when cells may differ in level: a pooled r can come from between them alone. NaN
    below 8 distinct prompts in all cells together.
    """
    used = np.isfinite(x) & np.isfinite(y)
    if np.unique(prompts[used]).size < FEWEST:
        return Interval(np.nan, np.nan, np.nan, 0)
    labels = np.unique(cells[used])
    members = [used & (cells == label) for label in labels]
    r = np.array([pearson(x[m], y[m]) for m in members], dtype=np.float64)
    n = np.array([int(m.sum()) for m in members], dtype=np.int64)
    return fisher_z_mean(r, n)


def p_values(
    r: Float64[np.ndarray, " column"], prompts: Shaped[np.ndarray, " column"]
) -> Float64[np.ndarray, " column"]:
    """Two-sided t-test of r = 0 with as many degrees of freedom as distinct prompts minus 2.

    The rows of one prompt are not independent, so prompts are counted, not rows; NaN below 8 prompts.
    """
    df = prompts.astype(np.float64) - 2
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(r) * np.sqrt(df / np.maximum(1 - r**2, 0))
        p = t_tails(t, df)
    return np.where((prompts >= FEWEST) & np.isfinite(r), p, np.nan)


def holm(p: Float64[np.ndarray, " test"]) -> Float64[np.ndarray, " test"]:
    """Holm's step-down correction over the finite p-values (family-wise error); NaN stays NaN."""
    result = np.full(p.shape, np.nan)
    finite = np.flatnonzero(np.isfinite(p))
    order = finite[np.argsort(p[finite], kind="stable")]
    factors = np.arange(order.size, 0, -1)
    result[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return result


def _ranks(x: Column) -> Column:
    """Ranks from 1; ties share their mean rank."""
    _, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _varies(x: Column) -> bool:
    """Whether the range exceeds rounding: 1e-9 of the scale."""
    return bool(np.ptp(x) > 1e-9 * np.abs(x).max())
