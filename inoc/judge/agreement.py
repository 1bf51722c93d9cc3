"""How well judges agree with people and with each other: Cohen's kappa and Pearson's r, with 95 % intervals."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from inoc.intervals import Interval, cluster_bootstrap
from inoc.values import Json

LEAST = 8
"""Texts below which nothing is said."""


class Agreement(NamedTuple):
    """Two columns of scores of the same texts. `kappa`: of scores above the threshold; `r`: Pearson. Intervals draw
    whole questions with replacement (BCa bootstrap). `missing`: texts without one of the two."""

    first: str
    second: str
    kappa: Interval
    r: Interval
    missing: int

    def to_json(self) -> dict[str, Json]:
        """Numbers by name; missing ones are null."""
        found: dict[str, Json] = {"first": self.first, "second": self.second, "n": self.r.n, "missing": self.missing}
        for name, interval in (("kappa", self.kappa), ("r", self.r)):
            for part, value in zip(("", "_lower", "_upper"), interval[:3], strict=True):
                found[name + part] = value if np.isfinite(value) else None
        return found

    def sentence(self) -> str:
        """The same in one line."""
        missing = f", {self.missing} texts without one of the two" if self.missing else ""
        return f"{self.first} and {self.second}: kappa {_shown(self.kappa)}, r {_shown(self.r)}, n {self.r.n}{missing}"


def _shown(interval: Interval) -> str:
    if not np.isfinite(interval.estimate):
        return "–"
    bounds = f" [{interval.lower:.2f}, {interval.upper:.2f}]" if np.isfinite(interval.lower) else ""
    return f"{interval.estimate:.2f}{bounds}"


def agreement(
    columns: Mapping[str, Float64[np.ndarray, " text"]], questions: Sequence[str], threshold: float = 50.0
) -> list[Agreement]:
    """Every pair of columns (scores 0-100 by name, NaN where there is none), in order; scores above `threshold` count
    as yes.

    `questions`: the question that each text answers; texts of one question are drawn together. Kappa and r are NaN for
    fewer than 8 texts with both, and where a column is constant.
    """
    found: list[Agreement] = []
    for first, second in combinations(columns, 2):
        both = np.isfinite(columns[first]) & np.isfinite(columns[second])
        a, b = columns[first][both], columns[second][both]
        clusters = np.asarray(questions, dtype=object)[both].astype(str)
        n, nothing = int(both.sum()), Interval(np.nan, np.nan, np.nan, int(both.sum()))
        kappa = r = nothing
        if n >= LEAST:
            yes = (a > threshold).astype(np.float64), (b > threshold).astype(np.float64)
            kappa, r = _with_interval(_Kappa(*yes), clusters, n), _with_interval(_Correlation(a, b), clusters, n)
        found.append(Agreement(first, second, kappa, r, len(both) - n))
    return found


class _Kappa:
    """Cohen's kappa of two columns of 0 and 1, by weights."""

    def __init__(self, a: Float64[np.ndarray, " text"], b: Float64[np.ndarray, " text"]) -> None:
        self.a, self.b = a, b

    def __call__(self, weights: Float64[np.ndarray, "resample row"]) -> Float64[np.ndarray, "resample value"]:
        n = weights.sum(axis=1)
        same, a, b = (weights @ column / n for column in ((self.a == self.b).astype(np.float64), self.a, self.b))
        chance = a * b + (1 - a) * (1 - b)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(chance < 1, (same - chance) / (1 - chance), np.nan)[:, None]


class _Correlation:
    """Pearson's r of two columns, by weights."""

    def __init__(self, a: Float64[np.ndarray, " text"], b: Float64[np.ndarray, " text"]) -> None:
        self.a, self.b = a - a.mean(), b - b.mean()

    def __call__(self, weights: Float64[np.ndarray, "resample row"]) -> Float64[np.ndarray, "resample value"]:
        n, a, b = weights.sum(axis=1), self.a, self.b
        mean = [weights @ column / n for column in (a, b, a * b, a * a, b * b)]
        covariance = mean[2] - mean[0] * mean[1]
        spread = (mean[3] - mean[0] ** 2) * (mean[4] - mean[1] ** 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(spread > 1e-12, covariance / np.sqrt(spread), np.nan)[:, None]


def _with_interval(statistic: _Kappa | _Correlation, clusters: np.ndarray, n: int) -> Interval:
    value = float(statistic(np.ones((1, n)))[0, 0])
    if not np.isfinite(value):
        return Interval(value, np.nan, np.nan, n)
    lower, upper = cluster_bootstrap(statistic, clusters)
    return Interval(value, float(lower[0]), float(upper[0]), n)
