"""HB1 and HB5 of one prompt from the Gram matrix of its examples x positions matrix, streamed over examples.

The eigenvalues of X'X (512 x 512) are the squared singular values of X: exact, four times cheaper than an SVD
of X, and no matrix of all examples is held. The definitions stand in `tokenwise.energy_shares`.
"""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from inoc.heuristics.maths.tokenwise import CONSTANT, POSITIONS, PUBLISHED_COMPONENTS, rank_at_half

EXAMPLES_AT_A_TIME = 1024

SpectrumChoice = bool | Literal["corrected", "published"]
"""Which shares to compute: none, both recipes (True), or one. `published` needs eigenvectors and costs three
times as much as `corrected`."""


class PositionSpectrum(NamedTuple):
    coherence: float = float("nan")
    effective_rank: float = float("nan")
    coherence_published: float = float("nan")
    effective_rank_published: float = float("nan")


def position_spectrum(
    delta: Float32[np.ndarray, " token"],
    row_size: Int64[np.ndarray, " example"],
    which: SpectrumChoice = True,
) -> PositionSpectrum:
    """`delta`: differences of one prompt, 0 where missing. See `tokenwise.coherence`, `.effective_rank`."""
    if which is False:
        return PositionSpectrum()
    # the variance of `published` is a small difference of large sums: float64 products
    gram, total = position_gram(delta, row_size, np.float32 if which == "corrected" else np.float64)
    if not gram.any():
        return PositionSpectrum()
    n = len(row_size)
    if which == "corrected":
        energy = np.linalg.eigvalsh(gram)[::-1].clip(0)
        return PositionSpectrum(*_leading(energy / energy.sum()))
    values, vectors = np.linalg.eigh(gram)
    energy, vectors = values[::-1].clip(0), vectors[:, ::-1]
    kept = max(min(PUBLISHED_COMPONENTS, n - 1, len(gram)), 0)
    mean = total / n
    variance = energy[:kept] / n - (mean @ vectors[:, :kept]) ** 2
    everything = float(energy.sum() / n - mean @ mean)
    everything = everything if everything > CONSTANT * float(energy.sum() / n) else float("nan")
    published = _leading(variance / everything)
    corrected = _leading(energy / energy.sum()) if which is True else PositionSpectrum()[:2]
    return PositionSpectrum(*corrected, *published)


def position_gram(
    delta: Float32[np.ndarray, " token"],
    row_size: Int64[np.ndarray, " example"],
    dtype: type[np.float32 | np.float64] = np.float64,
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


def _leading(shares: Float64[np.ndarray, " component"]) -> tuple[float, float]:
    return (float(shares[0]) if shares.size else float("nan")), rank_at_half(shares)
