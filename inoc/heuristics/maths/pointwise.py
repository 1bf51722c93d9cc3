"""Pointwise heuristics: statistics over examples of w, the mean logprob difference per completion token.

w[..., k] = mean over the tokens of completion k of (log p with the prompt - log p without), in nats per
token. All means are example-weighted. Missing examples (NaN) are left out; nothing left gives NaN.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64, Int64

from inoc.heuristics.frame.declarations import RestsOn, interval
from inoc.heuristics.frame.decorators import heuristic, intermediate
from inoc.heuristics.frame.protocols import Absent
from inoc.intervals import mean_interval, wilson_interval

LLS = "LLS weight of arXiv 2602.04863, averaged"
NATS = "nats per token"


def mean_of_finite(values: Float[np.ndarray, "*cells example"]) -> Float64[np.ndarray, "*cells"]:
    """Mean over the finite values of the last axis; NaN where there are none."""
    values = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(values)
    if finite.all() and values.shape[-1]:
        return np.asarray(values.mean(-1))
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(finite, values, 0.0).sum(-1) / finite.sum(-1))


@heuristic(
    symbol="n", family="pointwise", level="example", long_name="examples with a finite difference",
    formula="number of finite w", units="1",
)  # fmt: skip
def n_examples(w: Float[np.ndarray, "*cells example"]) -> Int64[np.ndarray, "*cells"]:
    """Examples with a finite w. Report it with statistics that depend on the number of examples.

    Args:
        w: Example differences, nats per token, [*cells, example].

    Returns:
        A count, [*cells].
    """
    return np.asarray(np.isfinite(w).sum(-1), dtype=np.int64)


def ph_ci(w: Float[np.ndarray, "*cells example"]) -> Float64[np.ndarray, "*cells bound"]:
    """95 % t interval of `ph` over examples (lower, upper).

    Args:
        w: Example differences, nats per token, [*cells, example].

    Returns:
        Nats per token, [*cells, bound]; NaN with fewer than two finite examples.
    """
    return mean_interval(w)


@heuristic(
    symbol="PH", family="pointwise", level="example", long_name="perplexity heuristic",
    formula="mean_k w", units=NATS, source=LLS, companions=(interval(ph_ci, "ph +/- t(.975, n-1) sigma / sqrt(n)"),),
    sign="positive: the prompt makes the training completions more likely",
)  # fmt: skip
def ph(w: Float[np.ndarray, "*cells example"]) -> Float64[np.ndarray, "*cells"]:
    """Perplexity heuristic, the core signal: mean over examples of w. Positive: completions become more likely.

    Args:
        w: Example differences, nats per token, [*cells, example].

    Returns:
        Nats per token, [*cells]; NaN without a finite example.
    """
    return mean_of_finite(w)


def gamma_ci(w: Float[np.ndarray, "*cells example"]) -> Float64[np.ndarray, "*cells bound"]:
    """95 % Wilson interval of `gamma` (lower, upper).

    Args:
        w: Example differences, [*cells, example].

    Returns:
        Shares of examples, [*cells, bound]; NaN without a finite example.
    """
    finite = np.isfinite(w)
    rises = finite & (np.asarray(w) > 0)
    return wilson_interval(np.asarray(rises.sum(-1)), np.asarray(finite.sum(-1)))


@heuristic(
    symbol="gamma", family="pointwise", level="example", long_name="coherence: share of examples made more likely",
    formula="fraction of examples with w > 0 (strict)", units="1",
    companions=(interval(gamma_ci, "Wilson interval of gamma", of="coherence"),),
)  # fmt: skip
def gamma(w: Float[np.ndarray, "*cells example"]) -> Float64[np.ndarray, "*cells"]:
    """Coherence: the fraction of examples the prompt makes more likely.

    Args:
        w: Example differences, nats per token, [*cells, example].

    Returns:
        A share of examples, [*cells]; NaN without a finite example.
    """
    return mean_of_finite(np.where(np.isfinite(w), (np.asarray(w) > 0).astype(np.float64), np.nan))


@heuristic(
    symbol="sigma", family="pointwise", level="example", long_name="spread over examples",
    formula="standard deviation of w, ddof = 1", units=NATS,
)  # fmt: skip
def sigma(w: Float[np.ndarray, "*cells example"], ddof: int = 1) -> Float64[np.ndarray, "*cells"]:
    """Standard deviation of w over examples.

    Args:
        w: Example differences, nats per token, [*cells, example].
        ddof: Subtracted from the number of examples.

    Returns:
        Nats per token, [*cells]; NaN where fewer than ddof + 1 are finite.
    """
    w = np.asarray(w, dtype=np.float64)
    finite = np.isfinite(w)
    free = finite.sum(-1) - ddof
    deviation = np.where(finite, w - mean_of_finite(w)[..., None], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(free > 0, np.sqrt((deviation**2).sum(-1) / np.maximum(free, 1)), np.nan))


@heuristic(
    symbol="SNR", family="pointwise", level="example", long_name="signal-to-noise ratio",
    formula="ph / sigma, NaN if sigma = 0", units="1",
)  # fmt: skip
def snr(w: Float[np.ndarray, "*cells example"], ddof: int = 1) -> Float64[np.ndarray, "*cells"]:
    """Signal-to-noise ratio, ph / sigma.

    Args:
        w: Example differences, nats per token, [*cells, example].
        ddof: Of sigma.

    Returns:
        A pure number, [*cells]; NaN where sigma = 0, also where a constant row leaves only rounding error.
    """
    signal, noise = mean_of_finite(w), sigma(w, ddof)
    real = noise > 1e-14 * np.abs(signal)
    return np.where(real, signal / np.where(real, noise, 1.0), np.nan)


@heuristic(
    symbol="MALD", family="pointwise", level="example", long_name="mean absolute logprob difference",
    formula="mean_k abs(w)", units=NATS,
)  # fmt: skip
def mald(w: Float[np.ndarray, "*cells example"]) -> Float64[np.ndarray, "*cells"]:
    """Mean absolute difference over examples.

    Args:
        w: Example differences, nats per token, [*cells, example].

    Returns:
        Nats per token, [*cells]; NaN without a finite example.
    """
    return mean_of_finite(np.abs(np.asarray(w, dtype=np.float64)))


@heuristic(
    symbol="PPD", family="pointwise", level="example", long_name="perplexity drift on other completions",
    formula="mean_i abs(w) on the control, positive or negative completions", units=NATS,
    dims=("completion_set", "prefix_type", "prompt"), inputs={"w": "w_other_sets"},
    rests_on=RestsOn("examples", "other_set_examples"),
)  # fmt: skip
def ppd(w: Float[np.ndarray, "*cells example"]) -> Float64[np.ndarray, "*cells"]:
    """Perplexity drift: `mald` on completions the model is not trained on.

    Args:
        w: Example differences, nats per token, [*cells, example].

    Returns:
        Nats per token, [*cells]; NaN without a finite example.
    """
    return mald(w)


@intermediate()
def other_set_examples(
    w_other_sets: Float64[np.ndarray, "completion_set prefix_type prompt example"],
) -> Int64[np.ndarray, "completion_set prefix_type prompt"]:
    """Examples with a finite w in every set but train."""
    return np.isfinite(w_other_sets).sum(-1, dtype=np.int64)


@intermediate()
def ppd_other_trait(
    ppd: Float64[np.ndarray, "completion_set prefix_type prompt"], other_sets: Sequence[str], trait_roles: Sequence[str]
) -> Float64[np.ndarray, "trait prefix_type prompt"]:
    """For each trait, ppd on the completions of the other trait."""
    other = ["negative" if role == "positive" else "positive" for role in trait_roles]
    sets = list(other_sets)
    if not set(other) & set(sets):
        raise Absent("neither positive nor negative completions are scored")
    missing = np.full(ppd.shape[1:], np.nan)
    return np.stack([ppd[sets.index(name)] if name in sets else missing for name in other])


@heuristic(
    symbol="PH-PPD", family="pointwise", level="example",
    long_name="perplexity heuristic minus drift on the other trait's completions",
    formula="ph - ppd of the set of the other trait", units=NATS,
    dims=("trait", "prefix_type", "prompt"), inputs={"ppd": "ppd_other_trait"},
)  # fmt: skip
def ph_minus_ppd(
    ph: Float64[np.ndarray, "*cells"], ppd: Float64[np.ndarray, "trait *cells"]
) -> Float64[np.ndarray, "trait *cells"]:
    """Plain subtraction, for each trait of interest.

    Args:
        ph: Perplexity heuristic, nats per token, [*cells].
        ppd: Drift on the completions of the *other* trait, nats per token, [trait, *cells].

    Returns:
        Nats per token, [trait, *cells].
    """
    return ph - ppd
