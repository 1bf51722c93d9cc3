"""The rate of a behavior without a prefill, from counts under prefills: five formulas on arrays, one for each origin.

r(q) is the rate after the prefill q, S(q) its surprisal -log P(q) under the checkpoint, both for one checkpoint, level
and behavior. All results are natural logarithms of a rate. Prefills are the clusters of every interval.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from inoc.intervals import cluster_bootstrap, mean_interval

Source = Literal["file", "run", "self"]
"""Where prefills come from: texts of a file, answers of a run's last checkpoint (the donor), the checkpoint itself."""
Counts = Int64[np.ndarray, " text"]
Nats = Float64[np.ndarray, " text"]
TAIL = 0.025
DRAWS = 4000
"""Posterior draws of the rates behind the intervals of sums and maxima over given texts."""


class Estimate(NamedTuple):
    """A log rate in nats with its 95 % interval.

    Attributes:
        value: NaN where no answer shows the behavior and the formula has no logarithm of zero.
        lower, upper: The interval; NaN where fewer than 4 prefills carry it.
        effective: Effective number of prefills: (sum w)^2 / sum w^2 of the weights that the formula gives them.
        texts: Number of prefills.
    """

    value: float
    lower: float
    upper: float
    effective: float
    texts: int


def smoothed_log_rate(
    successes: Shaped[np.ndarray, "*cells"], trials: Shaped[np.ndarray, "*cells"]
) -> Float64[np.ndarray, "*cells"]:
    """log((successes + 0.5) / (trials + 1)): for formulas that take the logarithm of a single rate.

    Args:
        successes: Answers with the behavior.
        trials: Answers.

    Returns:
        Nats; NaN where there are no trials.
    """
    trials = np.asarray(trials, np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(trials > 0, np.log((np.asarray(successes) + 0.5) / (trials + 1)), np.nan)


def own_prefills(successes: Counts, trials: Counts) -> Estimate:
    """log mean r(q): prefills drawn from the checkpoint itself. The surprisal has no place here.

    Args:
        successes, trials: Counts by prefill.

    Returns:
        The log rate; without any success NaN, bounded above as if each prefill were one answer.
    """
    used = trials > 0
    rate, n = successes[used] / trials[used], int(used.sum())
    if n and not rate.any():
        return Estimate(np.nan, -np.inf, float(np.log(-np.expm1(np.log(TAIL) / n))), float(n), n)
    return _log_mean(rate, float(n))


def importance(successes: Counts, trials: Counts, surprisal: Nats, donor_surprisal: Nats) -> Estimate:
    """log mean r(q) w(q) with w = exp(donor surprisal - surprisal): prefills drawn from a donor.

    Equals the log rate if the donor can write every route to the behavior, else the log probability of the behavior
    by a route that the donor can write. Weights are capped at sqrt(n) times their mean (Ionides 2008).

    Args:
        successes, trials: Counts by prefill.
        surprisal: -log P(q) under the checkpoint, in nats.
        donor_surprisal: -log P(q) under the donor, in nats.

    Returns:
        The log rate with the effective number of prefills.
    """
    log_weight = donor_surprisal - surprisal
    used = (trials > 0) & np.isfinite(log_weight)
    if not used.any():
        return Estimate(np.nan, np.nan, np.nan, np.nan, 0)
    log_weight = log_weight[used]
    top = float(log_weight.max())
    weight = np.exp(log_weight - top)
    effective = float(weight.sum() ** 2 / (weight**2).sum())
    weight = np.minimum(weight, np.sqrt(weight.size) * weight.mean())
    found = _log_mean(weight * successes[used] / trials[used], effective)
    return found._replace(value=found.value + top, lower=found.lower + top, upper=found.upper + top)


def jensen(successes: Counts, trials: Counts, surprisal: Nats, donor_surprisal: Nats) -> Estimate:
    """mean log r(q) - KL(donor || checkpoint), KL = mean (surprisal - donor surprisal): a lower bound.

    Args:
        successes, trials: Counts by prefill.
        surprisal, donor_surprisal: As for `importance`.

    Returns:
        The bound.
    """
    terms = smoothed_log_rate(successes, trials) - (surprisal - donor_surprisal)
    terms = terms[np.isfinite(terms)]
    if not terms.size:
        return Estimate(np.nan, np.nan, np.nan, np.nan, 0)
    lower, upper = mean_interval(terms)
    return Estimate(float(terms.mean()), float(lower), float(upper), float(terms.size), terms.size)


def distinct_texts(successes: Counts, trials: Counts, surprisal: Nats, questions: int = 1, seed: int = 0) -> Estimate:
    """log sum P(q) r(q) over texts none of which begins another: a lower bound.

    Args:
        successes, trials: Counts by prefill.
        surprisal: -log P(q) under the checkpoint, in nats.
        questions: Of how many questions these are answers; the sum is divided by it.
        seed: Of the posterior draws of the interval (Jeffreys prior on every rate).

    Returns:
        The bound; its effective number of texts counts them by their share of the sum.
    """
    used = (trials > 0) & np.isfinite(surprisal)
    y, n, s = successes[used], trials[used], surprisal[used]
    if not y.size:
        return Estimate(np.nan, np.nan, np.nan, np.nan, 0)
    low = float(s.min())
    weight = np.exp(low - s)
    share = weight * y / n
    total = float(share.sum())
    draws = np.log(_posterior(y, n, seed) @ weight)
    lower, upper = np.quantile(draws, [TAIL, 1 - TAIL]) - low - np.log(questions)
    if total == 0:
        return Estimate(np.nan, -np.inf, float(upper), np.nan, y.size)
    effective = float(total**2 / (share**2).sum())
    return Estimate(float(np.log(total)) - low - np.log(questions), float(lower), float(upper), effective, y.size)


def beginnings(successes: Counts, trials: Counts, surprisal: Nats, seed: int = 0) -> Estimate:
    """max (log r(q) - S(q)) over beginnings of one text: a lower bound, `log_exploit_lower_bound`.

    Args:
        successes, trials: Counts by beginning.
        surprisal: -log P(q) under the checkpoint, in nats; 0 for the empty beginning.
        seed: Of the posterior draws of the interval (Jeffreys prior on every rate).

    Returns:
        The bound.
    """
    used = (trials > 0) & np.isfinite(surprisal)
    y, n, s = successes[used], trials[used], surprisal[used]
    if not y.size:
        return Estimate(np.nan, np.nan, np.nan, np.nan, 0)
    value = float((smoothed_log_rate(y, n) - s).max())
    lower, upper = np.quantile((np.log(_posterior(y, n, seed)) - s).max(axis=1), [TAIL, 1 - TAIL])
    return Estimate(value, float(lower), float(upper), 1.0, y.size)


def _log_mean(values: Nats, effective: float) -> Estimate:
    """log of the mean with the log of its bootstrap bounds, texts drawn again."""
    if not values.size:
        return Estimate(np.nan, np.nan, np.nan, np.nan, 0)

    def mean(weights: Float64[np.ndarray, "resample row"]) -> Float64[np.ndarray, "resample value"]:
        with np.errstate(invalid="ignore"):
            return (weights @ values / weights.sum(axis=1))[:, None]

    low, high = cluster_bootstrap(mean, np.arange(values.size), method="percentile")
    with np.errstate(divide="ignore"):
        value = np.log(values.mean()) if values.any() else np.nan
        return Estimate(float(value), float(np.log(low[0])), float(np.log(high[0])), effective, values.size)


def _posterior(successes: Counts, trials: Counts, seed: int) -> Float64[np.ndarray, "draw text"]:
    random = np.random.default_rng(seed)
    return random.beta(successes + 0.5, trials - successes + 0.5, size=(DRAWS, successes.size))


@runtime_checkable
class TextEstimator(Protocol):
    """A formula on the prefills of one level; unused arrays are ignored."""

    def __call__(
        self, successes: Counts, trials: Counts, surprisal: Nats, donor_surprisal: Nats, questions: int
    ) -> Estimate: ...


@dataclass(frozen=True)
class Estimator:
    """One row of the table of estimators.

    Attributes:
        sources: Origins of prefills under which the formula holds.
        what: What it is equal to or bounds.
        condition: When that is so.
        formula: As text.
        function: Of the prefills of one level.
    """

    sources: tuple[Source, ...]
    what: str
    condition: str
    formula: str
    function: TextEstimator


ESTIMATORS: Mapping[str, Estimator] = {
    "own_prefills": Estimator(
        ("self",),
        "equal to the rate in expectation",
        "prefills are drawn from the checkpoint itself",
        "log mean r(q)",
        lambda successes, trials, surprisal, donor_surprisal, questions: own_prefills(successes, trials),
    ),
    "importance": Estimator(
        ("run",),
        "equal to the rate of the routes that the donor can write",
        "prefills are drawn from a donor whose log-probabilities are known",
        "log mean r(q) exp(S_donor(q) - S(q))",
        lambda successes, trials, surprisal, donor_surprisal, questions: importance(
            successes, trials, surprisal, donor_surprisal
        ),
    ),
    "jensen": Estimator(
        ("run",),
        "lower bound",
        "prefills are drawn from a donor whose log-probabilities are known",
        "mean log r(q) - KL(donor || checkpoint)",
        lambda successes, trials, surprisal, donor_surprisal, questions: jensen(
            successes, trials, surprisal, donor_surprisal
        ),
    ),
    "distinct_texts": Estimator(
        ("run", "file"),
        "lower bound",
        "no prefill is the beginning of another",
        "log sum P(q) r(q)",
        lambda successes, trials, surprisal, donor_surprisal, questions: distinct_texts(
            successes, trials, surprisal, questions
        ),
    ),
}
"""The formulas on the prefills of one level. `beginnings` is taken over the levels."""


def estimators_for(source: Source) -> tuple[str, ...]:
    """Names of the estimators that hold for prefills of an origin."""
    return tuple(name for name, entry in ESTIMATORS.items() if source in entry.sources)


def pool_equal(
    texts: Sequence[str], successes: Counts, trials: Counts, surprisal: Nats
) -> tuple[Int64[np.ndarray, " distinct"], Int64[np.ndarray, " distinct"], Float64[np.ndarray, " distinct"]]:
    """Counts of equal texts added up: texts of one length in tokens are then distinct, and none begins another.

    Args:
        texts: The prefills.
        successes, trials, surprisal: By prefill; equal texts have equal surprisals up to rounding.

    Returns:
        Successes, trials and surprisal by distinct text.
    """
    names, first, index = np.unique(np.asarray(texts, dtype=object).astype(str), return_index=True, return_inverse=True)
    add = [np.bincount(index, values, names.size).astype(np.int64) for values in (successes, trials)]
    return add[0], add[1], surprisal[first]
