"""Token heuristics as small pure functions: one formula each, on bare arrays, in float64.

`delta` is the token difference, log p(token | with prompt) - log p(token | without), in nats, as `[token]`
or `[prompt, token]`; the result has the leading axes. Means are token-weighted. Pairs that are not finite are
left out of numerator and denominator; nothing left gives NaN. Thresholds are strict and compared in the dtype
of `delta`: give the float32 differences of a store to get exactly what `inoc.heuristics.tokens.one_pass` computes
from it in one pass.
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Integer

Delta = Float[np.ndarray, "*prompt token"]
PerPrompt = Float64[np.ndarray, "*prompt"]
Matrix = Float[np.ndarray, "example position"]

FILTER = 0.5
"""nats; a token differs strongly if abs(delta) is above this."""
PERSISTENT = 0.1
"""nats; a position differs in an example if abs(delta) is above this."""
MIN_EXAMPLES = 10
"""valid examples a position needs to be usable."""
TOP_SHARE = 0.25
DECAY_RATE = 0.01
DECAY_STEPS = 32
RARE = 0.1
"""a token is rare under a context if its probability is below this."""
POSITIONS = 512
"""columns of the examples x positions matrix."""
HALF = 0.5
HALF_TOLERANCE = 1e-6
"""a cumulative share this close below one half counts as one half (rounding)."""
PUBLISHED_COMPONENTS = 200
CONSTANT = 1e-12
"""share of the energy below which a variance is float32 rounding."""


def _mean(values: np.ndarray, valid: np.ndarray) -> PerPrompt:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(valid, values, 0.0).sum(axis=-1, dtype=np.float64) / valid.sum(axis=-1))


def _pairs(delta: Delta) -> tuple[Float64[np.ndarray, "*prompt token"], Bool[np.ndarray, "*prompt token"]]:
    valid = np.isfinite(delta)
    return np.where(valid, delta, 0.0).astype(np.float64), valid


def mean_abs(delta: Delta) -> PerPrompt:
    """H11, mean abs(delta). Nats, >= 0; large = the prompt moves many tokens, in either direction."""
    values, valid = _pairs(delta)
    return _mean(np.abs(values), valid)


def mean_signed(delta: Delta) -> PerPrompt:
    """H14, mean delta. Nats; positive = the prompt makes the completions more likely."""
    return _mean(*_pairs(delta))


def abs_minus_signed(delta: Delta) -> PerPrompt:
    """H12, mean abs(delta) - mean delta. Nats, >= 0; twice the mean size of the downward moves."""
    return mean_abs(delta) - mean_signed(delta)


def mean_square(delta: Delta) -> PerPrompt:
    """H13, mean delta^2. Nats squared, >= 0."""
    values, valid = _pairs(delta)
    return _mean(values**2, valid)


def filtered(delta: Delta, threshold: float = FILTER) -> PerPrompt:
    """HA2, mean(delta * 1[abs(delta) > threshold]). Nats, signed; small tokens count as zero, not as
    missing.
    """
    values, valid = _pairs(delta)
    return _mean(values * (np.abs(delta) > threshold), valid)


def top_quarter(delta: Delta, share: float = TOP_SHARE) -> PerPrompt:
    """HA3, signed mean of delta over the m = max(1, floor(share * n)) tokens of largest abs(delta), n finite
    tokens.

    Nats. Where several tokens share the smallest abs(delta) that still belongs, each of them enters with the
    mean of all tied tokens, so that the result does not depend on the order of tokens.
    """
    rows = delta.reshape(int(np.prod(delta.shape[:-1])), delta.shape[-1])
    return np.array([_top_share(row, share) for row in rows]).reshape(delta.shape[:-1])


def _top_share(row: Float[np.ndarray, " token"], share: float) -> float:
    size = np.abs(row)
    if not np.isfinite(size).all():
        row = row[np.isfinite(row)]
        size = np.abs(row)
    if size.size == 0:
        return float("nan")
    wanted = max(1, int(share * size.size))
    boundary = np.partition(size, size.size - wanted)[size.size - wanted]
    above, tied = size > boundary, size == boundary
    rest = wanted - int(np.count_nonzero(above))
    # np.compress is seven times faster than indexing with a mask
    total = np.compress(above, row).sum(dtype=np.float64) + rest * row[tied].mean(dtype=np.float64)
    return float(total / wanted)


def gradient(delta: Delta) -> PerPrompt:
    """HA4, mean(1 - exp(-abs(delta))): the gradient of the loss exp(-L) + L at L = abs(delta). In [0, 1)."""
    values, valid = _pairs(delta)
    return _mean(-np.expm1(-np.abs(values)), valid)


def filtered_gradient(delta: Delta, threshold: float = FILTER) -> PerPrompt:
    """HA5, mean((1 - exp(-abs(delta))) * 1[abs(delta) > threshold]). In [0, 1)."""
    values, valid = _pairs(delta)
    return _mean(-np.expm1(-np.abs(values)) * (np.abs(delta) > threshold), valid)


def simulate_decay(
    size: Float64[np.ndarray, "..."], rate: float = DECAY_RATE, steps: int = DECAY_STEPS
) -> tuple[Float64[np.ndarray, "..."], Float64[np.ndarray, "..."]]:
    """The loss-decay simulation: L = size; `steps` times g = 1 - exp(-L), total += g, L = max(L - rate g, 0).

    Returns (total, L). Since every step takes rate g from L, and L - rate g never falls below 0 for rate <=
    1, total = (size - L) / rate.
    """
    left, total = size, np.zeros_like(size)
    for _ in range(steps):
        step = -np.expm1(-left)
        total = total + step
        left = np.maximum(left - rate * step, 0.0)
    return total, left


def loss_decay(delta: Delta, rate: float = DECAY_RATE, steps: int = DECAY_STEPS) -> PerPrompt:
    """HB2, mean total gradient of `simulate_decay` from abs(delta). In [0, steps)."""
    values, valid = _pairs(delta)
    return _mean(simulate_decay(np.abs(values), rate, steps)[0], valid)


def residual(delta: Delta, rate: float = DECAY_RATE, steps: int = DECAY_STEPS) -> PerPrompt:
    """HB6, mean final L of `simulate_decay`. Nats, >= 0. Identity: residual = mean_abs - rate *
    loss_decay.
    """
    values, valid = _pairs(delta)
    return _mean(simulate_decay(np.abs(values), rate, steps)[1], valid)


def persistent(
    delta: Delta,
    row_size: Integer[np.ndarray, " example"],
    threshold: float = PERSISTENT,
    min_examples: int = MIN_EXAMPLES,
) -> PerPrompt:
    """HB3, share of usable positions at which abs(delta) > threshold in at least half of the valid examples.

    A position (0 = first completion token) is usable with >= `min_examples` examples that reach it and are
    finite there. `row_size` holds the token count of every example, in order. In [0, 1]; NaN without a usable
    position.
    """
    values, valid = _pairs(delta)
    positions = token_positions(row_size)
    n_positions = int(row_size.max(initial=0))

    def count(mask: Bool[np.ndarray, "row token"]) -> Integer[np.ndarray, "row position"]:
        counts = [np.bincount(positions[row], minlength=n_positions) for row in mask]
        return np.array(counts, dtype=np.int64).reshape(len(mask), n_positions)

    n_tokens = delta.shape[-1]
    reached = count(valid.reshape(-1, n_tokens))
    moved = count((valid & (np.abs(delta) > threshold)).reshape(-1, n_tokens))
    return share_of_persistent(moved, reached, min_examples).reshape(values.shape[:-1])


def share_of_persistent(
    moved: Integer[np.ndarray, "*prompt position"],
    reached: Integer[np.ndarray, "*prompt position"],
    min_examples: int = MIN_EXAMPLES,
) -> PerPrompt:
    """Share of the positions with `reached` >= min_examples at which 2 `moved` >= `reached`."""
    usable = reached >= min_examples
    with np.errstate(invalid="ignore"):
        return np.asarray(((2 * moved >= reached) & usable).sum(axis=-1) / usable.sum(axis=-1))


def token_positions(row_size: Integer[np.ndarray, " example"]) -> Integer[np.ndarray, " token"]:
    """Position of every token within its own example."""
    starts = np.cumsum(row_size) - row_size
    return np.arange(int(row_size.sum())) - np.repeat(starts, row_size)


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


def energy_shares(
    matrix: Matrix, recipe: Literal["corrected", "published"] = "corrected"
) -> Float64[np.ndarray, " component"]:
    """Shares of an examples x positions matrix that its singular components carry, largest component first.

    `corrected`: s^2 / sum s^2. `published`: the variance over examples of X v_j, over the summed column
    variance, of the first min(200, examples - 1, positions) right singular vectors of the uncentred matrix;
    this is scikit-learn's `TruncatedSVD.explained_variance_ratio_` without its randomised solver. All NaN for
    a matrix of zeros (constant columns under `published`).
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


def coherence(matrix: Matrix, recipe: Literal["corrected", "published"] = "corrected") -> float:
    """HB1, `energy_shares` of the leading component. In [0, 1]; grows as examples get fewer, so report n
    beside it.
    """
    shares = energy_shares(matrix, recipe)
    return float(shares[0]) if shares.size else float("nan")


def effective_rank(matrix: Matrix, recipe: Literal["corrected", "published"] = "corrected") -> float:
    """HB5, the smallest r whose first r `energy_shares` sum to one half; NaN if they never do."""
    return rank_at_half(energy_shares(matrix, recipe))


def rank_at_half(shares: Float64[np.ndarray, " component"]) -> float:
    """Smallest r with sum(shares[:r]) >= 1/2, up to rounding; NaN if there is none."""
    reached = np.flatnonzero(np.cumsum(shares) >= HALF - HALF_TOLERANCE)
    return float(reached[0] + 1) if reached.size else float("nan")


def recovered(
    default: Float[np.ndarray, " token"],
    prefixed: Float[np.ndarray, "*prompt token"],
    probability: float = RARE,
) -> PerPrompt:
    """Of the tokens with p_default < `probability`, the share with p_prefixed > `probability`. In [0, 1].

    Arguments are logprobs; NaN if no token is rare without the prompt.
    """
    won, rare, _ = _recovered_counts(default, prefixed, probability)
    with np.errstate(invalid="ignore"):
        return np.asarray(won / rare)


def recovered_of_all(
    default: Float[np.ndarray, " token"],
    prefixed: Float[np.ndarray, "*prompt token"],
    probability: float = RARE,
) -> PerPrompt:
    """The same tokens as `recovered`, as a share of all tokens that are finite in both."""
    won, _, every = _recovered_counts(default, prefixed, probability)
    with np.errstate(invalid="ignore"):
        return np.asarray(won / every)


def _recovered_counts(
    default: np.ndarray, prefixed: np.ndarray, probability: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    boundary = float(np.log(probability))
    valid = np.isfinite(prefixed) & np.isfinite(default)
    rare = valid & (default < boundary)
    won = rare & (prefixed > boundary)
    return won.sum(axis=-1), rare.sum(axis=-1), valid.sum(axis=-1)
