"""Simulated cases of which half emerge: an illustration, not evidence.

The KL is a monotone function of the latent rate by construction, so that its slope sees what counts cannot.
"""

import numpy as np
import xarray as xr

from inoc.emergence.tables import case_table

CHECKPOINTS = 2 ** np.arange(8)
PREFILLS = np.array([0, 10, 20, 40, 70, 100])
CASES, EMERGE, ANSWERS = 16, 8, 90
TEXTS = 40
"""KL and surprisal are means over 40 prefills, each with a relative error of NOISE."""
NOISE = 0.25


def simulate(seed: int = 0) -> xr.Dataset:
    """Sixteen behaviors of sixteen runs over eight checkpoints and six prefill levels; the first eight emerge.

    Args:
        seed: Of everything random.

    Returns:
        A table of cases (as `case_table`) with the true `logit` (case, checkpoint) of the rate without a prefill.
    """
    random = np.random.default_rng(seed)
    emerges = np.arange(CASES) < EMERGE
    start = random.normal(-8, 0.8, CASES)
    end = np.where(emerges, random.normal(0.3, 0.8, CASES), start + random.normal(0.4, 0.5, CASES))
    time = np.log(CHECKPOINTS) / np.log(CHECKPOINTS[-1])
    middle, width = (random.uniform(low, high, (CASES, 1)) for low, high in ((0.35, 0.55), (0.08, 0.16)))
    bend, first, last = (_expit((t - middle) / width) for t in (time, 0.0, 1.0))
    path = 0.5 * time + 0.5 * (bend - first) / (last - first)
    logit = start[:, None] + (end - start)[:, None] * path
    log_share = np.log(np.clip(0.9 * _expit(random.normal(1, 0.5, (CASES, 1))), 0.2, 0.9))
    log_route = np.minimum(-np.log1p(np.exp(-logit)) - log_share, -0.001)[..., None]
    written = 1 - np.exp(-PREFILLS / 15)
    kl = -log_route * written
    surprisal = kl + 0.35 * PREFILLS
    rate = np.exp(log_route * (1 - written) + log_share[..., None])
    error = NOISE / np.sqrt(TEXTS)
    kl, surprisal = (np.abs(values * (1 + error * random.normal(size=kl.shape))) for values in (kl, surprisal))
    names = [f"{'rising' if emerges[k] else 'flat'}-{k}" for k in range(CASES)]
    successes = np.asarray(random.binomial(ANSWERS, rate), np.int64)
    trials = np.full(kl.shape, ANSWERS)
    table = case_table(names, names, CHECKPOINTS, PREFILLS, successes, trials, surprisal, -kl)
    about = {"units": "1", "long_name": "true logit of the rate without a prefill"}
    return table.assign(logit=(("case", "checkpoint"), logit, about))


def _expit(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
