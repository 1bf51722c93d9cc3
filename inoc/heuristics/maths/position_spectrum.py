"""Energy shares of the examples x positions matrix of one row of token differences (HB1, HB5).

The eigenvalues of X'X (512 x 512) are the squared singular values of X: exact, four times cheaper than an SVD
of X, and no matrix of all examples is held. `energy_shares` is the definition, `position_shares` the fast form.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64, Integer

from inoc.heuristics.tokens.layout import token_positions

Sizes = Int64[np.ndarray, " example"]
Delta = Float32[np.ndarray, " token"]
POSITIONS = 512
"""columns of the examples x positions matrix."""
EXAMPLES_AT_A_TIME = 1024
PUBLISHED_COMPONENTS = 200
CONSTANT = 1e-12
"""share of the energy below which a variance is float32 rounding."""
HALF = 0.5
HALF_TOLERANCE = 1e-6
"""a cumulative share this close below one half counts as one half (rounding)."""

Matrix = Float[np.ndarray, "example position"]
Shares = Float64[np.ndarray, " component"]


def position_matrix(
    delta: Float[np.ndarray, " token"], row_size: Integer[np.ndarray, " example"], positions: int = POSITIONS
) -> Matrix:
    """Examples x the first `positions` token positions; places without a finite difference are 0."""
    width = min(positions, int(row_size.max(initial=0)))
    at = token_positions(row_size)
    example = np.repeat(np.arange(len(row_size)), row_size)
    matrix = np.zeros((len(row_size), width), dtype=delta.dtype)
    kept = (at < width) & np.isfinite(delta)
    matrix[example[kept], at[kept]] = delta[kept]
    return matrix


def energy_shares(matrix: Matrix, recipe: Literal["corrected", "published"] = "corrected") -> Shares:
    """Shares of an examples x positions matrix that its singular components carry, largest component first.

    Args:
        matrix: Token differences in nats, [example, position].
        recipe: `corrected`: s^2 / sum s^2. `published`: the variance over examples of X v_j, over the summed column
            variance, of the first min(200, examples - 1, positions) right singular vectors of the uncentered matrix;
            this is scikit-learn's `TruncatedSVD.explained_variance_ratio_` without its randomized solver.

    Returns:
        Pure numbers, [component]; all NaN for a matrix of zeros (constant columns under `published`).
    """
    x = np.asarray(matrix, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        if recipe == "corrected":
            energy = np.linalg.svd(x, compute_uv=False) ** 2
            return energy / energy.sum()
        components = max(min(PUBLISHED_COMPONENTS, len(x) - 1, x.shape[1]), 0)
        _, _, axes = np.linalg.svd(x, full_matrices=False)
        total = x.var(axis=0).sum()
        total = total if total > CONSTANT * (x**2).mean(axis=0).sum() else np.nan
        return (x @ axes[:components].T).var(axis=0) / total


def position_shares(delta: Delta, row_size: Sizes, recipe: str) -> Shares:
    """`energy_shares` of the `position_matrix` of one row, from the Gram matrix of its positions.

    Args:
        delta: Token differences in nats, [token]; not finite where missing.
        row_size: Token count of every example, in token order.
        recipe: As for `energy_shares`.

    Returns:
        Pure numbers, [component], the largest component first; empty for a matrix of zeros.
    """
    finite = np.isfinite(delta)
    filled = delta if finite.all() else np.where(finite, delta, np.float32(0))
    # the variance of `published` is a small difference of large sums: float64 products
    published = recipe == "published"
    gram, total = position_gram(filled, row_size, np.float64 if published else np.float32)
    if not gram.any():
        return np.zeros(0)
    n = len(row_size)
    if not published:
        energy = np.linalg.eigvalsh(gram)[::-1].clip(0)
        return energy / energy.sum()
    values, vectors = np.linalg.eigh(gram)
    energy, vectors = values[::-1].clip(0), vectors[:, ::-1]
    kept = max(min(PUBLISHED_COMPONENTS, n - 1, len(gram)), 0)
    mean = total / n
    variance = energy[:kept] / n - (mean @ vectors[:, :kept]) ** 2
    everything = float(energy.sum() / n - mean @ mean)
    everything = everything if everything > CONSTANT * float(energy.sum() / n) else float("nan")
    return variance / everything


def position_gram(
    delta: Delta, row_size: Sizes, dtype: type[np.float32 | np.float64] = np.float64
) -> tuple[Float64[np.ndarray, "position position"], Float64[np.ndarray, " position"]]:
    """(X'X, column sums of X) of the examples x positions matrix X, first 512 positions."""
    width = min(POSITIONS, int(row_size.max(initial=0)))
    gram, total = np.zeros((width, width)), np.zeros(width)
    if width == 0:
        return gram, total
    start = 0
    for at in range(0, len(row_size), EXAMPLES_AT_A_TIME):
        sizes = row_size[at : at + EXAMPLES_AT_A_TIME].tolist()
        x = np.zeros((len(sizes), width), dtype)
        for row, size in zip(x, sizes, strict=True):
            n = min(size, width)
            row[:n] = delta[start : start + n]
            start += size
        gram += x.T @ x
        total += x.sum(axis=0)
    return gram, total


def rank_at_half(shares: Shares) -> float:
    """Smallest r with sum(shares[:r]) >= 1/2, up to rounding; NaN if there is none."""
    reached = np.flatnonzero(np.cumsum(shares) >= HALF - HALF_TOLERANCE)
    return float(reached[0] + 1) if reached.size else float("nan")
