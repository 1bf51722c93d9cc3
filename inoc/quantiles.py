"""Quantiles and tails of the normal distribution and of Student's t, without SciPy: its import outlasts a table."""

from collections.abc import Callable
from functools import lru_cache
from math import copysign, erfc, exp, inf, lgamma, log, pi, sqrt
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
    pairs = zip(np.abs(t).ravel().tolist(), np.asarray(degrees, np.float64).ravel().tolist(), strict=True)
    return np.array([_t_tails(size, n) for size, n in pairs], dtype=np.float64).reshape(np.shape(t))


def _t_tails(t: float, n: float) -> float:
    """The regularized incomplete beta function of n / (n + t^2) at (n/2, 1/2)."""
    if not (n >= 1 and t >= 0):
        return np.nan
    x = n / (n + t * t)
    y = t * t / (n + t * t) if x > 0.5 else 1 - x
    if x < (n + 2) / (n + 5):
        return _beta_share(n / 2, 0.5, x, y)
    return 1 - _beta_share(0.5, n / 2, y, x)


def _beta_share(a: float, b: float, x: float, y: float) -> float:
    """Beta(a, b) below x = 1 - y, by its continued fraction in Lentz's form, which is fast below its mean."""
    if x == 0:
        return 0.0
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 1000):
        at = a + 2 * m
        for step in (m * (b - m) * x / ((at - 1) * at), -(a + m) * (a + b + m) * x / (at * (at + 1))):
            c, d = 1 + step / c, 1 / (1 + step * d)
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return exp(a * log(x) + b * log(y) + lgamma(a + b) - lgamma(a) - lgamma(b)) * fraction / a


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
    """By Newton's method, which cannot overshoot: the tail is convex."""
    if n > 2000:
        from scipy.special import stdtrit

        return float(stdtrit(n, (1 + LEVEL) / 2))
    t, height = Z95, exp(lgamma((n + 1) / 2) - lgamma(n / 2)) / sqrt(n * pi)
    for _ in range(50):
        step = (_t_tails(t, n) - (1 - LEVEL)) / (2 * height * (1 + t * t / n) ** (-(n + 1) / 2))
        t += step
        if abs(step) < 1e-14 * t:
            break
    return t
