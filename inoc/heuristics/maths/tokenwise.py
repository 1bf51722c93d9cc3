"""Tokenwise heuristics: statistics over tokens of delta, log p(token | with prompt) - log p(token | without).

A mean over tokens is written once (`@token_mean`): the decorated name is the mean of a bare array
`delta[*prompt, token]` in float64, and both engines of the pass over tokens run the same lines in float32. A
function of a whole row (`@token_row`) and a function of counts of the pass (`@heuristic`) are used as they are.

Means are token-weighted. Pairs that are not finite are left out; nothing left gives NaN. Thresholds are strict.
`published` computes the HB family from fixed differences only; `corrected` from the row's own prefix type.
"""

from functools import cache
from types import ModuleType

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Integer

from inoc.heuristics.frame.declarations import EXAMPLES
from inoc.heuristics.frame.decorators import heuristic, part, token_mean, token_row
from inoc.heuristics.maths.position_spectrum import leading_shares, position_shares, position_sums, rank_at_half
from inoc.heuristics.tokens.layout import token_positions
from inoc.heuristics.tokens.sums import MOVED, RARE
from inoc.heuristics.tokens.terms import Tokens

ByPosition = Int64[np.ndarray, "*prompt position"]
PositionCounts = Integer[np.ndarray, "*cells position"]
PromptCounts = Int64[np.ndarray, "*prompt"]
Sizes = Float64[np.ndarray, "..."]
Values = Float64[np.ndarray, "*cells"]
Counts = Integer[np.ndarray, "*cells"]

STRONG = 0.5
"""nats; a token differs strongly if abs(delta) is above this."""
MIN_EXAMPLES = 10
"""valid examples a position needs to be usable."""
TOP_SHARE = 0.25
DECAY_RATE = 0.01
DECAY_STEPS = 32
ONE = "1"
MORE_LIKELY = "positive: the prompt makes the tokens more likely"
FIXED = "fixed"

for shared in (position_sums, position_shares, leading_shares):
    part(shared)


@part
def size(delta: Tokens) -> Tokens:
    """abs(delta)."""
    return abs(delta)


@part
def strong(size: Tokens) -> Tokens:
    """1 where a token differs strongly."""
    return size > STRONG


@part
def decay(size: Tokens, xp: ModuleType) -> Tokens:
    """exp(-abs(delta))."""
    return xp.exp(-size)


@part
def step(decay: Tokens) -> Tokens:
    """1 - exp(-abs(delta)): the gradient of the loss exp(-L) + L at L = abs(delta)."""
    return 1 - decay


@token_mean(symbol="H11", long_name="mean absolute token difference", formula="mean abs(delta)", units="nats")
def mean_abs(size: Tokens) -> Tokens:
    """H11, mean abs(delta). >= 0; large = the prompt moves many tokens, in either direction."""
    return size


@token_mean(
    symbol="H14", long_name="mean token difference", formula="mean delta (token-weighted)", units="nats",
    sign=MORE_LIKELY,
)  # fmt: skip
def mean_signed(delta: Tokens) -> Tokens:
    """H14, mean delta. Positive = the prompt makes the completions more likely."""
    return delta


@heuristic(
    symbol="H12", family="tokenwise", level="token", long_name="absolute minus signed token difference",
    formula="H11 - H14", units="nats",
)  # fmt: skip
def abs_minus_signed(mean_abs: Values, mean_signed: Values) -> Values:
    """H12, mean abs(delta) - mean delta: twice the mean size of the downward moves.

    Args:
        mean_abs: H11 in nats, [*cells].
        mean_signed: H14 in nats, [*cells].

    Returns:
        Nats, >= 0, [*cells].
    """
    return np.asarray(mean_abs - mean_signed)


@token_mean(symbol="H13", long_name="mean square token difference", formula="mean delta^2", units="nats^2")
def mean_square(delta: Tokens) -> Tokens:
    """H13, mean delta^2. >= 0."""
    return delta * delta


@token_mean(
    symbol="HA2", long_name="mean of the strong token differences",
    formula="mean(delta * 1[abs(delta) > 0.5])", units="nats", sign=MORE_LIKELY,
)  # fmt: skip
def filtered(delta: Tokens, strong: Tokens) -> Tokens:
    """HA2, mean(delta * 1[abs(delta) > 0.5]). Signed; small tokens count as zero, not as missing."""
    return delta * strong


@token_row(
    symbol="HA3", long_name="mean of the strongest quarter of tokens", units="nats", sign=MORE_LIKELY,
    formula="signed mean over the max(1, floor(n/4)) tokens of largest abs(delta), ties averaged",
)  # fmt: skip
def top_quarter(delta: Float[np.ndarray, " token"], share: float = TOP_SHARE) -> float:
    """HA3, signed mean of delta over the m = max(1, floor(share * n)) tokens of largest abs(delta).

    Where several tokens share the smallest abs(delta) that still belongs, each of them enters with the mean of
    all tied tokens, so that the result does not depend on the order of tokens.

    Args:
        delta: Token differences of one row in nats, [token]; n of them are finite.
        share: Of the tokens that count.

    Returns:
        Nats; NaN without a finite token.
    """
    size = np.abs(delta)
    if not np.isfinite(size).all():
        delta = delta[np.isfinite(delta)]
        size = np.abs(delta)
    if size.size == 0:
        return float("nan")
    wanted = max(1, int(share * size.size))
    boundary = _largest(size, wanted)
    above, tied = size > boundary, size == boundary
    rest = wanted - int(np.count_nonzero(above))
    # np.compress is seven times faster than indexing with a mask
    total = np.compress(above, delta).sum(dtype=np.float64) + rest * delta[tied].mean(dtype=np.float64)
    return float(total / wanted)


def _largest(size: Float[np.ndarray, " token"], rank: int) -> float:
    """The value of that rank, 1 being the largest. A sample says in which band it is, and only the band is sorted."""
    sample = np.sort(size[:: max(1, size.size // 4096)])
    at = len(sample) * (size.size - rank) // size.size
    low, high = sample[max(at - 128, 0)], sample[min(at + 128, len(sample) - 1)]
    band, in_band = np.compress((size >= low) & (size <= high), size), rank - int(np.count_nonzero(size > high))
    if not 1 <= in_band <= band.size:
        band, in_band = size, rank
    return float(np.partition(band, band.size - in_band)[band.size - in_band])


@token_mean(symbol="HA4", long_name="mean gradient magnitude", formula="mean(1 - exp(-abs(delta)))", units=ONE)
def gradient(step: Tokens) -> Tokens:
    """HA4, mean(1 - exp(-abs(delta))). In [0, 1)."""
    return step


@token_mean(
    symbol="HA5", long_name="mean gradient magnitude of strong tokens",
    formula="mean((1 - exp(-abs(delta))) * 1[abs(delta) > 0.5])", units=ONE,
)  # fmt: skip
def filtered_gradient(step: Tokens, strong: Tokens) -> Tokens:
    """HA5, mean((1 - exp(-abs(delta))) * 1[abs(delta) > 0.5]). In [0, 1)."""
    return step * strong


@token_row(
    symbol="HB1", long_name="coherence over examples", units=ONE, along=("n_examples",), rests_on=EXAMPLES,
    formula="leading energy share of the examples x positions matrix, first 512 positions (published: "
    "TruncatedSVD's explained_variance_ratio_[0], fixed differences)", published_rows=FIXED,
)  # fmt: skip
def coherence(leading_shares: Float64[np.ndarray, " component"]) -> float:
    """HB1, the share of the leading component. Grows as examples get fewer: report n with it.

    Args:
        leading_shares: Energy shares of the examples x positions matrix (`energy_shares`), largest first; only the
            first one counts.

    Returns:
        A share in [0, 1]; NaN without a component.
    """
    return float(leading_shares[0]) if leading_shares.size else float("nan")


def simulate_decay(size: Sizes, rate: float = DECAY_RATE, steps: int = DECAY_STEPS) -> tuple[Sizes, Sizes]:
    """The loss-decay simulation: L = size; `steps` times g = 1 - exp(-L), total += g, L = max(L - rate g, 0).

    Args:
        size: Where the loss starts, in nats.
        rate: Learning rate.
        steps: Number of steps.

    Returns:
        (total, L). Since every step takes rate g from L, and L - rate g never falls below 0 for rate <= 1,
        total = (size - L) / rate.
    """
    left, total = size, np.zeros_like(size)
    for _ in range(steps):
        gradient = -np.expm1(-left)
        total = total + gradient
        left = np.maximum(left - rate * gradient, 0.0)
    return total, left


@cache
def decay_polynomial(degree: int = 6, tolerance: float = 1e-6) -> tuple[float, ...]:
    """Coefficients c with `simulate_decay` total = (1 - z) sum_j c_j z^j, z = exp(-abs(delta)), to 1e-6 of 32.

    The total after 32 small steps is a smooth function of z that vanishes at z = 1; one polynomial replaces
    32 passes. The fit is verified against the recursion on a grid every time it is made.
    """

    def ratio(z: Float64[np.ndarray, " node"]) -> Float64[np.ndarray, " node"]:
        return simulate_decay(-np.log(z))[0] / (1 - z)

    nodes = (1 + np.cos(np.pi * (np.arange(64) + 0.5) / 64)) / 2
    fit = np.polynomial.Polynomial.fit(nodes, ratio(nodes), degree, domain=[0, 1]).convert()
    grid = np.linspace(1e-6, 1 - 1e-6, 2001)
    error = float(np.abs(fit(grid) - ratio(grid)).max())
    if not error < tolerance:
        raise AssertionError(f"the polynomial for the loss decay is off by {error:.1e}")
    return tuple(float(c) for c in fit.coef)


def _decay_total(decay: Tokens, step: Tokens) -> Tokens:
    """`simulate_decay` total by its polynomial."""
    *lower, highest = decay_polynomial()
    total = highest * decay
    for coefficient in reversed(lower[1:]):
        total = (total + coefficient) * decay
    return (total + lower[0]) * step


@token_mean(
    symbol="HB2", long_name="simulated loss decay", units=ONE, kernel=_decay_total, published_rows=FIXED,
    formula="L = abs(delta); 32 times g = 1 - exp(-L), total += g, L -= 0.01 g; mean total",
)  # fmt: skip
def loss_decay(size: Sizes) -> Sizes:
    """HB2, mean total gradient of `simulate_decay` from abs(delta). In [0, 32)."""
    return simulate_decay(size)[0]


@heuristic(
    symbol="HB3", family="tokenwise", level="token", long_name="share of persistent positions", units=ONE,
    formula="of positions with >= 10 examples, share where abs(delta) > 0.1 in at least half of them",
    inputs={"moved": "statistics.moved", "reached": "statistics.reached"}, along=("n_examples",),
    rests_on=EXAMPLES, published_rows=FIXED,
)  # fmt: skip
def persistent(moved: PositionCounts, reached: PositionCounts, min_examples: int = MIN_EXAMPLES) -> Values:
    """HB3, share of usable positions at which abs(delta) > 0.1 in at least half of the valid examples.

    Args:
        moved: Examples with abs(delta) > 0.1 at each position, [*cells, position] (`position_counts`).
        reached: Examples that reach it and are finite there.
        min_examples: That make a position usable.

    Returns:
        A share in [0, 1], [*cells]; NaN without a usable position.
    """
    usable = reached >= min_examples
    with np.errstate(invalid="ignore"):
        return np.asarray(((2 * moved >= reached) & usable).sum(axis=-1) / usable.sum(axis=-1))


def position_counts(
    delta: Float[np.ndarray, "*prompt token"], row_size: Integer[np.ndarray, " example"], threshold: float = MOVED
) -> tuple[ByPosition, ByPosition]:
    """(moved, reached) of bare arrays, for `persistent`.

    Args:
        delta: Token differences in nats, [*prompt, token].
        row_size: Token count of every example, in token order.
        threshold: A token moves if abs(delta) is above it, in nats.

    Returns:
        Counts of examples by position, 0 = first completion token, [*prompt, position].
    """
    valid, positions = np.isfinite(delta), token_positions(row_size)
    n_positions = int(row_size.max(initial=0))

    def count(mask: Bool[np.ndarray, "*prompt token"]) -> ByPosition:
        rows = mask.reshape(-1, delta.shape[-1])
        counts = [np.bincount(positions[row], minlength=n_positions) for row in rows]
        return np.array(counts, dtype=np.int64).reshape(*delta.shape[:-1], n_positions)

    return count(valid & (np.abs(delta) > threshold)), count(valid)


@heuristic(
    symbol="HB4", family="tokenwise", level="token", long_name="strength times coherence",
    formula="ph * HB1", units="nats per token",
)  # fmt: skip
def strength_coherence(ph: Values, coherence: Values) -> Values:
    """HB4.

    Args:
        ph: Perplexity heuristic, nats per token, [*cells].
        coherence: HB1, [*cells].

    Returns:
        Nats per token, [*cells].
    """
    return np.asarray(ph * coherence)


@token_row(
    symbol="HB5", long_name="components for half of the energy", units=ONE, along=("n_examples",),
    formula="smallest r whose cumulative energy share reaches 0.50, matrix of HB1", rests_on=EXAMPLES,
    published_rows=FIXED,
)  # fmt: skip
def effective_rank(position_shares: Float64[np.ndarray, " component"]) -> float:
    """HB5, the smallest r whose first r energy shares sum to one half.

    Args:
        position_shares: Energy shares of the examples x positions matrix (`energy_shares`), largest first.

    Returns:
        A count; NaN if the shares never sum to one half.
    """
    return rank_at_half(position_shares)


@heuristic(
    symbol="HB6", family="tokenwise", level="token", long_name="residual of the simulated loss decay",
    formula="mean final L of HB2 = H11 - 0.01 HB2", units="nats", published_rows=FIXED,
)  # fmt: skip
def residual(mean_abs: Values, loss_decay: Values) -> Values:
    """HB6, mean final L of `simulate_decay`, from the identity H11 - 0.01 HB2.

    Args:
        mean_abs: H11 in nats, [*cells].
        loss_decay: HB2, [*cells].

    Returns:
        Nats, >= 0, [*cells].
    """
    return np.asarray(mean_abs - DECAY_RATE * loss_decay)


@heuristic(
    family="tokenwise", level="token", long_name="recovered tokens", units=ONE,
    formula="of tokens with p_default < 0.1, share with p_prefixed > 0.1",
    inputs={"recovered_tokens": "statistics.recovered", "rare_tokens": "statistics.rare"},
)  # fmt: skip
def recovered(recovered_tokens: Counts, rare_tokens: Counts) -> Values:
    """Of the tokens that are rare without the prompt, the share that is not rare with it.

    Args:
        recovered_tokens: Tokens with p < 0.1 without and p > 0.1 with the prompt, [*cells].
        rare_tokens: Tokens with p < 0.1 without it.

    Returns:
        A share in [0, 1], [*cells]; NaN if no token is rare.
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(recovered_tokens / rare_tokens)


@heuristic(
    family="tokenwise", level="token", long_name="recovered tokens among all tokens", units=ONE,
    formula="share of all tokens with p_default < 0.1 and p_prefixed > 0.1",
    inputs={"recovered_tokens": "statistics.recovered"},
)  # fmt: skip
def recovered_of_all(recovered_tokens: Counts, n_tokens: Counts) -> Values:
    """The same tokens as `recovered`, as a share of all tokens that are finite with and without the prompt.

    Args:
        recovered_tokens: Tokens with p < 0.1 without and p > 0.1 with the prompt, [*cells].
        n_tokens: Tokens with a finite difference.

    Returns:
        A share in [0, 1], [*cells]; NaN without a token.
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(recovered_tokens / n_tokens)


def recovered_counts(
    default: Float[np.ndarray, " token"], prefixed: Float[np.ndarray, "*prompt token"], probability: float = RARE
) -> tuple[PromptCounts, PromptCounts, PromptCounts]:
    """(recovered, rare, all) tokens of bare arrays, for `recovered` and `recovered_of_all`.

    Args:
        default: Logprobs without the prompt in nats, [token].
        prefixed: Logprobs with it, [*prompt, token].
        probability: Below which a token is rare.

    Returns:
        Counts of tokens, [*prompt].
    """
    boundary = float(np.log(probability))
    valid = np.isfinite(prefixed) & np.isfinite(default)
    rare = valid & (default < boundary)
    won = rare & (prefixed > boundary)
    return won.sum(axis=-1), rare.sum(axis=-1), valid.sum(axis=-1)


@heuristic(
    family="tokenwise", level="token", long_name="tokens with a finite difference", units=ONE,
    formula="number of finite delta", inputs={"count": "statistics.count"},
)  # fmt: skip
def n_tokens(count: Counts) -> Counts:
    """Tokens with a finite difference.

    Args:
        count: As the pass counts them, [*cells].

    Returns:
        A count, [*cells].
    """
    return count
