"""Curves through a scatter: the least-squares line with its mean band, and a monotone sigmoid."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Shaped
from scipy import optimize

from inoc.quantiles import t_quantile

Column = Float64[np.ndarray, " point"]


@dataclass(frozen=True)
class Line:
    """Least-squares line y = intercept + slope x over n points of some prompts.

    `covariance` of the mean at (1, x - mean_x): the points of one prompt count as one draw.
    """

    slope: float
    intercept: float
    n: int
    prompts: int
    mean_x: float
    covariance: Float64[np.ndarray, "2 2"]
    rmse: float
    aic: float

    def __call__(self, x: Column) -> Column:
        return self.intercept + self.slope * x

    def half_band(self, x: Column) -> Column:
        """Half width of the 95 % interval of the mean, prompts as sample: t(.975, prompts - 2) standard errors."""
        at = np.column_stack([np.ones(len(x)), x - self.mean_x])
        t = float(t_quantile(np.asarray(self.prompts - 2)))
        return t * np.sqrt(np.einsum("pi,ij,pj->p", at, self.covariance, at))


def line(x: Column, y: Column, prompts: Shaped[np.ndarray, " point"] | None = None) -> Line | None:
    """The line over the points finite in both; None below 3 points or without spread in x.

    Args:
        x, y: The points.
        prompts: The prompt of each point; every point is one of its own if not given.

    Returns:
        The line. The band of points that are all of different prompts is the usual one (one error variance); where
        prompts have several, it is the cluster-robust one (CR1).
    """
    both = np.isfinite(x) & np.isfinite(y)
    labels = np.arange(len(x))[both] if prompts is None else prompts[both]
    x, y = x[both], y[both]
    if len(x) < 3 or np.ptp(x) <= 1e-9 * np.abs(x).max():
        return None
    centered = x - x.mean()
    spread = float(centered @ centered)
    slope = float(centered @ y) / spread
    intercept = float(y.mean()) - slope * float(x.mean())
    rss = float(np.sum((y - intercept - slope * x) ** 2))
    rmse = float(np.sqrt(rss / len(x)))
    distinct, place = np.unique(labels, return_inverse=True)
    bread = np.diag([1 / len(x), 1 / spread])
    if distinct.size == len(x):
        covariance = bread * rss / (len(x) - 2)
    else:
        scores = np.column_stack([np.ones(len(x)), centered]) * (y - intercept - slope * x)[:, None]
        sums = np.stack([np.bincount(place, column) for column in scores.T], axis=1)
        g, n = distinct.size, len(x)
        covariance = bread @ sums.T @ sums @ bread * (g / max(g - 1, 1)) * (n - 1) / (n - 2)
    return Line(slope, intercept, len(x), distinct.size, float(x.mean()), covariance, rmse, aic(rss, len(x), 3))


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


RATES, MIDDLES = np.geomspace(0.1, 20, 24), np.linspace(-3, 3, 61)
"""Where the sigmoid's search starts: a grid on which bottom and height follow in closed form."""


def sigmoid(x: Column, y: Column) -> Sigmoid | None:
    """Least squares on standardized x from the best curve of a grid; None below 6 points.

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
    rate, middle = (axis.ravel() for axis in np.meshgrid(RATES, MIDDLES))
    shape = 1 / (1 + np.exp(np.clip(-rate[:, None] * (z - middle[:, None]), -500, 500)))
    mean_shape = shape.mean(axis=1)
    centered = shape - mean_shape[:, None]
    height = centered @ (y - y.mean()) / np.maximum((centered**2).sum(axis=1), 1e-12)
    height = np.clip(height, -3 * reach, 3 * reach)
    bottom = y.mean() - height * mean_shape
    best = int(((y - bottom[:, None] - height[:, None] * shape) ** 2).sum(axis=1).argmin())
    start = np.clip([bottom[best], height[best], rate[best], middle[best]], low, high)
    found = optimize.least_squares(lambda p: _logistic(p, z) - y, start, bounds=(low, high))
    rss, p = float(2 * found.cost), np.asarray(found.x, dtype=np.float64)
    rmse = float(np.sqrt(rss / len(x)))
    return Sigmoid(float(p[0]), float(p[1]), float(p[2]), float(p[3]), mean, sd, rmse, aic(rss, len(x), 5))


def aic(rss: float, n: int, parameters: int) -> float:
    """n ln(rss / n) + 2 k, normal errors; k counts their variance."""
    return float(n * np.log(max(rss / n, 1e-300)) + 2 * parameters)


def _logistic(p: Float64[np.ndarray, " 4"], z: Column) -> Column:
    return p[0] + p[1] / (1 + np.exp(-np.clip(p[2] * (z - p[3]), -500, 500)))
