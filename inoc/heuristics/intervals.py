"""95 % intervals: Student t for means, Wilson for rates, a prompt bootstrap for statistics of pairs of
prompts.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float64, Int64, Shaped

LEVEL = 0.95
Z95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


def t_quantile(degrees: Shaped[np.ndarray, "*cells"]) -> Float64[np.ndarray, "*cells"]:
    """The 97.5 % quantile of Student's t; NaN below one degree of freedom."""
    from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

    degrees = np.asarray(degrees, dtype=np.float64)
    safe = np.maximum(degrees, 1.0)
    return np.where(degrees >= 1, np.asarray(stdtrit(safe, (1 + LEVEL) / 2)), np.nan)


def mean_interval(values: Float[np.ndarray, "*cells sample"]) -> Float64[np.ndarray, "*cells bound"]:
    """mean +/- t(.975, n-1) sd(ddof=1)/sqrt(n) over the finite values; NaN where fewer than two are.

    Units of the values. On paired differences this is the paired t interval.
    """
    values = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(values)
    n = finite.sum(-1)
    filled = np.where(finite, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = filled.sum(-1) / n
        spread = np.where(finite, filled - mean[..., None], 0.0)
        half = t_quantile(np.asarray(n - 1)) * np.sqrt((spread**2).sum(-1) / (n - 1) / n)
    return np.stack([mean - half, mean + half], axis=-1)


def wilson_interval(
    successes: Shaped[np.ndarray, "*cells"], n: Shaped[np.ndarray, "*cells"]
) -> Float64[np.ndarray, "*cells bound"]:
    """Wilson's score interval of a rate; NaN where n = 0."""
    n = np.asarray(n, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.asarray(successes, dtype=np.float64) / n
        centre = (rate + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
        half = Z95 / (1 + Z95**2 / n) * np.sqrt(rate * (1 - rate) / n + Z95**2 / (4 * n**2))
    return np.clip(np.stack([centre - half, centre + half], axis=-1), 0.0, 1.0)


@lru_cache(maxsize=4)
def bootstrap_counts(size: int, resamples: int, seed: int) -> Int64[np.ndarray, "resample prompt"]:
    """How often each of `size` prompts is drawn in each of `resamples` draws with replacement."""
    random = np.random.default_rng(seed)
    counts = random.multinomial(size, np.full(size, 1 / size), size=resamples).astype(np.int64)
    counts.flags.writeable = False
    return counts
