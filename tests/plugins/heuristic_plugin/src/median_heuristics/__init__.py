"""The median difference, a robust cousin of the perplexity heuristic."""

import numpy as np

from inoc.heuristics import heuristic


@heuristic(
    symbol="MED",
    family="pointwise",
    level="example",
    long_name="median difference",
    formula="median_k w",
    units="nats per token",
)
def median_difference(w: np.ndarray) -> np.ndarray:
    return np.nanmedian(w, axis=-1)


@heuristic(
    family="robust",
    level="example",
    long_name="mean minus median",
    formula="ph - median_difference",
    units="nats per token",
)
def skew(ph: np.ndarray, median_difference: np.ndarray) -> np.ndarray:
    return ph - median_difference
