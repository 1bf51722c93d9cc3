"""Energy shares of the examples x positions matrix of one row of token differences (HB1, HB5).

The eigenvalues of X'X (512 x 512) are the squared singular values of X: exact, four times cheaper than an SVD
of X, and no matrix of all examples is held. `energy_shares` is the definition, `position_shares` and
`leading_shares` are the fast forms.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64, Integer

from inoc.heuristics.tokens.layout import token_positions

Sizes = Int64[np.ndarray, " example"]
Delta = Float32[np.ndarray, " token"]
POSITIONS = 512
"""columns of the examples x positions matrix."""
EXAMPLES_AT_A_TIME = 256
SUBSPACE, ITERATIONS = 8, 100
PUBLISHED_COMPONENTS = 200
CONSTANT = 1e-12
"""share of the energy below which a variance is float32 rounding."""
HALF = 0.5
HALF_TOLERANCE = 1e-6
"""a cumulative share this close below one half counts as one half (rounding)."""

Matrix = Float[np.ndarray, "example position"]
Shares = Float64[np.ndarray, " component"]
Sums = tuple[Float64[np.ndarray, "position position"], Float64[np.ndarray, " position"]]


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


def position_sums(delta: Delta, row_size: Sizes, recipe: str) -> Sums:
    """(X'X, column sums of X) of the `position_matrix` X of one row, whose products `published` needs in float64: its
    variance is a small difference of large sums."""
    width = min(POSITIONS, int(row_size.max(initial=0)))
    gram, total = np.zeros((width, width)), np.zeros(width)
    for x in position_blocks(delta, row_size, np.float64 if recipe == "published" else np.float32):
        used = x.shape[1]
        gram[:used, :used] += x.T @ x
        total[:used] += x.sum(axis=0)
    return gram, total


def position_shares(position_sums: Sums, row_size: Sizes, recipe: str) -> Shares:
    """`energy_shares` of the `position_matrix` of one row.

    Args:
        position_sums: Gram matrix and sums of its columns.
        row_size: Token count of every example, in token order.
        recipe: As for `energy_shares`.

    Returns:
        Pure numbers, [component], the largest component first; empty for a matrix of zeros.
    """
    gram, total = position_sums
    if not gram.any():
        return np.zeros(0)
    n = len(row_size)
    if recipe != "published":
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


def leading_shares(position_sums: Sums, delta: Delta, row_size: Sizes, recipe: str) -> Shares:
    """The first of the `energy_shares` alone: six times faster, and exact.

    The vector comes from the Gram matrix, the energy along it from the matrix itself in float64: an error of the vector
    enters squared.
    """
    gram, _ = position_sums
    if recipe == "published" or not gram.any():
        return position_shares(position_sums, row_size, recipe)[:1]
    vector = leading_vector(gram)
    along = everything = 0.0
    for x in position_blocks(delta, row_size, np.float64):
        projected = x @ vector[: x.shape[1]]
        along += float(projected @ projected)
        everything += float(np.vdot(x, x))
    return np.array([along / everything])


def leading_vector(gram: Float64[np.ndarray, "position position"]) -> Float64[np.ndarray, " position"]:
    """The eigenvector of the largest eigenvalue, by subspace iteration from the longest columns."""
    block, last = gram[:, np.argsort(np.diagonal(gram))[-SUBSPACE:]], 0.0
    for _ in range(ITERATIONS):
        basis = np.linalg.qr(block)[0]
        block = gram @ basis
        values, vectors = np.linalg.eigh(basis.T @ block)
        if values[-1] - last <= 1e-14 * values[-1]:
            return basis @ vectors[:, -1]
        last = float(values[-1])
    return np.linalg.eigh(gram)[1][:, -1]


def position_blocks(
    delta: Delta, row_size: Sizes, dtype: type[np.float32 | np.float64]
) -> Iterator[Float[np.ndarray, "example position"]]:
    """The rows of the `position_matrix`, longest first, some at a time, without the columns where all of them are 0."""
    finite = np.isfinite(delta)
    filled = delta if finite.all() else np.where(finite, delta, np.float32(0))
    start = np.cumsum(row_size) - row_size
    longest = np.argsort(-row_size, kind="stable")
    for at in range(0, len(row_size), EXAMPLES_AT_A_TIME):
        chosen = longest[at : at + EXAMPLES_AT_A_TIME]
        sizes = np.minimum(row_size[chosen], POSITIONS)
        if not sizes[0]:
            return
        x = np.zeros((len(chosen), int(sizes[0])), dtype)
        for row, first, size in zip(x, start[chosen].tolist(), sizes.tolist(), strict=True):
            row[:size] = filled[first : first + size]
        yield x


def rank_at_half(shares: Shares) -> float:
    """Smallest r with sum(shares[:r]) >= 1/2, up to rounding; NaN if there is none."""
    reached = np.flatnonzero(np.cumsum(shares) >= HALF - HALF_TOLERANCE)
    return float(reached[0] + 1) if reached.size else float("nan")
