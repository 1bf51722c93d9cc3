"""Quantiles and tails of the normal distribution and of Student's t, most without SciPy, whose import takes long."""

from collections.abc import Callable
from functools import lru_cache
from math import atan, copysign, cos, erfc, exp, inf, lgamma, pi, sin, sqrt, tan
from statistics import NormalDist

import numpy as np
from jaxtyping import Float64, Shaped

LEVEL = 0.95
"""Of every interval."""
Z95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""
_NORMAL = NormalDist()


def t_quantile(degrees: Shaped[np.ndarray, "*cells"]) -> Float64[np.ndarray, "*cells"]:
    """The 97.5 % quantile of Student's t; NaN below one degree of freedom."""
    different, where = np.unique(np.asarray(degrees, dtype=np.float64), return_inverse=True)
    found = np.array([_t_quantile(float(n)) if n >= 1 else np.nan for n in different], dtype=np.float64)
    return np.asarray(found[where]).reshape(np.shape(degrees))


def t_tails(t: Float64[np.ndarray, "*cells"], degrees: Shaped[np.ndarray, "*cells"]) -> Float64[np.ndarray, "*cells"]:
    """The probability that Student's t is farther from 0 than `t`; NaN where `t` is or below one degree of freedom."""
    from scipy.special import stdtr

    tails = 2 * np.asarray(stdtr(degrees, -np.abs(t)), dtype=np.float64)
    return np.where(np.asarray(degrees) >= 1, tails, np.nan)


def _each(values: Float64[np.ndarray, "*cells"], function: Callable[[float], float]) -> Float64[np.ndarray, "*cells"]:
    return np.array([function(float(value)) for value in values.ravel()], dtype=np.float64).reshape(values.shape)


def normal_quantile(p: Float64[np.ndarray, "*cells"]) -> Float64[np.ndarray, "*cells"]:
    """The value below which a standard normal variable is with probability p; NaN outside [0, 1]."""
    return _each(p, lambda p: _NORMAL.inv_cdf(p) if 0 < p < 1 else copysign(inf, p - 0.5) if p in (0, 1) else np.nan)


def normal_probability(z: Float64[np.ndarray, "*cells"]) -> Float64[np.ndarray, "*cells"]:
    """The probability that a standard normal variable is below z."""
    return _each(z, lambda z: erfc(-z / sqrt(2)) / 2)


@lru_cache(maxsize=4096)
def _t_quantile(n: float) -> float:
    """With t = sqrt(n) tan(a), P(abs(T) < t) is a finite sum for whole n (Abramowitz and Stegun 26.7.3 and 26.7.4), and
    its slope is that of cos^(n-1); Newton's method finds a."""
    if n != int(n) or n > 2000:
        from scipy.special import stdtrit

        return float(stdtrit(n, (1 + LEVEL) / 2))
    odd, k = n % 2, np.arange(1, int(n) // 2)
    factors = np.cumprod([1.0, *((2 * k - 1 + odd) / (2 * k + odd))])[: int(n) // 2]
    slope = 2 * exp(lgamma((n + 1) / 2) - lgamma(n / 2)) / sqrt(pi)
    a = atan(Z95 / sqrt(n))
    for _ in range(50):
        series = float(factors @ cos(a) ** (2.0 * np.arange(len(factors))))
        within = 2 / pi * (a + sin(a) * cos(a) * series) if odd else sin(a) * series
        step = (LEVEL - within) / (slope * cos(a) ** (n - 1))
        a += step
        if abs(step) < 1e-15:
            break
    return sqrt(n) * tan(a)
