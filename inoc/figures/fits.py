"""Curves through a scatter: the least-squares line with its mean band, and a monotone sigmoid."""

# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float64
from matplotlib.axes import Axes
from scipy import optimize, stats  # pyright: ignore[reportMissingTypeStubs]

from inoc.figures import house

Columns = Float64[np.ndarray, "prefix_type point"]
Column = Float64[np.ndarray, " point"]


@dataclass(frozen=True)
class Line:
    """Least-squares line y = intercept + slope x over n points; `sd` has n - 2 degrees of freedom."""

    slope: float
    intercept: float
    sd: float
    n: int
    mean_x: float
    spread_x: float
    rmse: float
    aic: float

    def __call__(self, x: Column) -> Column:
        return self.intercept + self.slope * x

    def half_band(self, x: Column) -> Column:
        """Half width of the 95 % interval of the mean: t(.975, n-2) sd sqrt(1/n + (x - mean)^2 / sum (x - mean)^2)."""
        t = float(stats.t.ppf(0.975, self.n - 2))
        return t * self.sd * np.sqrt(1 / self.n + (x - self.mean_x) ** 2 / self.spread_x)


def line(x: Column, y: Column) -> Line | None:
    """The line over the points finite in both; None below 3 points or without spread in x."""
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < 3 or np.ptp(x) <= 1e-9 * np.abs(x).max():
        return None
    centered = x - x.mean()
    spread = float(centered @ centered)
    slope = float(centered @ y) / spread
    intercept = float(y.mean()) - slope * float(x.mean())
    rss = float(np.sum((y - intercept - slope * x) ** 2))
    sd = float(np.sqrt(rss / (len(x) - 2)))
    rmse = float(np.sqrt(rss / len(x)))
    return Line(slope, intercept, sd, len(x), float(x.mean()), spread, rmse, aic(rss, len(x), 3))


@dataclass(frozen=True)
class Sigmoid:
    """y = bottom + height / (1 + exp(-rate (z - middle))), z = (x - mean) / sd of x, rate of one sign: monotone."""

    bottom: float
    height: float
    rate: float
    middle: float
    mean_x: float
    sd_x: float
    rmse: float
    aic: float

    def __call__(self, x: Column) -> Column:
        z = (x - self.mean_x) / self.sd_x
        return _logistic(np.array([self.bottom, self.height, self.rate, self.middle]), z)


STARTS = tuple((rate, middle) for rate in (0.5, 1.0, 3.0, 8.0) for middle in (-1.0, 0.0, 1.0))


def sigmoid(x: Column, y: Column) -> Sigmoid | None:
    """The best of several starts by least squares on standardized x; None below 6 points.

    `height` may be negative, so that the curve may fall; `rate` > 0. Compare `aic` with that of `line`.
    """
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < 6 or np.ptp(x) <= 1e-9 * np.abs(x).max() or np.ptp(y) == 0:
        return None
    mean, sd = float(x.mean()), float(x.std(ddof=1))
    z = (x - mean) / sd
    reach = float(np.ptp(y))
    low = np.array([y.min() - reach, -3 * reach, 1e-3, -4.0])
    high = np.array([y.max() + reach, 3 * reach, 30.0, 4.0])
    best: tuple[float, Float64[np.ndarray, " 4"]] | None = None
    rises = np.corrcoef(z, y)[0, 1] >= 0
    for rate, middle in STARTS:
        start = np.array([y.min() if rises else y.max(), reach if rises else -reach, rate, middle])
        found = optimize.least_squares(lambda p: _logistic(p, z) - y, start, bounds=(low, high))
        rss = float(2 * found.cost)
        if best is None or rss < best[0]:
            best = rss, np.asarray(found.x, dtype=np.float64)
    assert best is not None
    rss, p = best
    rmse = float(np.sqrt(rss / len(x)))
    return Sigmoid(float(p[0]), float(p[1]), float(p[2]), float(p[3]), mean, sd, rmse, aic(rss, len(x), 5))


def by_prefix_type(ax: Axes, x: Columns, y: Columns, correlations: xr.Dataset, show_from: int) -> None:
    """A line per prefix type where `correlations` (r, n by prefix_type) has an r, and all r and n as text."""
    lines: list[str] = []
    for k, kind in enumerate(correlations["prefix_type"].values.astype(str)):
        n, r = int(correlations["n"].values[k]), float(correlations["r"].values[k])
        text = f"r = {r:.2f}" if np.isfinite(r) else f"no r below n = {show_from}"
        lines.append(f"{kind}: n = {n}, {text}")
        fit = line(x[k], y[k]) if np.isfinite(r) else None
        if fit is not None:
            known = x[k][np.isfinite(x[k]) & np.isfinite(y[k])]
            ends = np.array([known.min(), known.max()])
            ax.plot(ends, fit(ends), color="black", lw=0.8, ls=house.LINES.get(kind, "-"), zorder=1)
    ax.text(0.03, 0.98, "\n".join(lines), transform=ax.transAxes, va="top", fontsize=6.5)


def aic(rss: float, n: int, parameters: int) -> float:
    """n ln(rss / n) + 2 k, normal errors; k counts their variance."""
    return float(n * np.log(max(rss / n, 1e-300)) + 2 * parameters)


def _logistic(p: Float64[np.ndarray, " 4"], z: Column) -> Column:
    return p[0] + p[1] / (1 + np.exp(-np.clip(p[2] * (z - p[3]), -500, 500)))
