"""Intervals of answers that come in groups: 8 questions x 100 samples beside 200 x 1, simulated with questions that
differ. Those by question hold the truth 93-97 % of the time; those by answer do not."""

import numpy as np
import pytest
from scipy import stats

from inoc.intervals import clustered_rate, mean_interval, mean_level, paired_t, wilson

REPEATS = 1200
PROTOCOLS = {"general": (8, 100), "in_domain": (200, 1)}


def question_levels(random: np.random.Generator, k: int) -> np.ndarray:
    """Scores 0-100 that differ between questions: logit-normal about 55."""
    return 100 / (1 + np.exp(-random.normal(0.2, 0.8, k)))


TRUE_LEVEL = float(np.mean(100 / (1 + np.exp(-np.random.default_rng(0).normal(0.2, 0.8, 2_000_000)))))


def coverage(hits: list[bool]) -> float:
    return float(np.mean(hits))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_levels_and_rates_hold_the_truth(name: str) -> None:
    k, samples = PROTOCOLS[name]
    random = np.random.default_rng(7)
    held: dict[str, list[bool]] = {
        "level": [],
        "rate": [],
        "difference": [],
        "level by answer": [],
        "rate by answer": [],
    }
    for _ in range(REPEATS):
        level = question_levels(random, k)
        answers = np.clip(level[:, None] + random.normal(0, 8, (k, samples)), -50, 150)
        found = mean_level(answers.mean(axis=1))
        held["level"].append(found.lower <= TRUE_LEVEL <= found.upper)
        lower, upper = mean_interval(answers.ravel())
        held["level by answer"].append(bool(lower <= TRUE_LEVEL <= upper))
        hits = random.binomial(samples, level / 100).astype(float)
        rate = clustered_rate(hits, np.full(k, float(samples)))
        held["rate"].append(rate.lower <= TRUE_LEVEL / 100 <= rate.upper)
        plain = wilson(int(hits.sum()), k * samples)
        held["rate by answer"].append(plain.lower <= TRUE_LEVEL / 100 <= plain.upper)
        effect = random.normal(10, 6, k)  # what a prompt takes away differs between questions
        other = level - effect + random.normal(0, 8, (samples, k)).mean(axis=0)
        pair = paired_t(answers.mean(axis=1), other)
        held["difference"].append(pair.lower <= 10 <= pair.upper)
    shares = {what: coverage(found) for what, found in held.items()}
    for what in ("level", "rate", "difference"):
        assert 0.93 <= shares[what] <= 0.97, shares
    if samples > 1:
        assert shares["level by answer"] < 0.6, shares
        assert shares["rate by answer"] < 0.6, shares


def test_one_answer_each_is_wilson() -> None:
    hits = np.array([1.0, 0, 0, 1, 0])
    expected = stats.binomtest(2, 5).proportion_ci(0.95, "wilson")
    found = clustered_rate(hits, np.ones(5))
    assert (found.estimate, found.lower, found.upper, found.n) == pytest.approx((0.4, expected.low, expected.high, 5))


def test_where_all_questions_agree_each_counts_once() -> None:
    found = clustered_rate(np.zeros(8), np.full(8, 100.0))
    expected = stats.binomtest(0, 8).proportion_ci(0.95, "wilson")
    assert (found.estimate, found.lower, found.upper, found.n) == pytest.approx((0.0, 0.0, expected.high, 800))


@pytest.mark.parametrize(
    ("hits", "answers"), [([3, 1, 0, 2], [4, 4, 2, 4]), ([40, 44, 47, 38, 41], [90] * 5), ([9, 0, 8, 1, 5], [9] * 5)]
)
def test_a_rate_of_unlike_questions_by_hand(hits: list[float], answers: list[float]) -> None:
    """The bounds are where (p - x)^2 = z^2 x (1 - x) / n, with n of the variance between questions, in its limits."""
    h, a, k = np.array(hits, float), np.array(answers, float), len(hits)
    p, z = h.sum() / a.sum(), stats.norm.ppf(0.975)
    n = p * (1 - p) / (k / (k - 1) * np.sum((h - p * a) ** 2) / a.sum() ** 2)
    n = min(max(n, k), a.sum()) * (z / stats.t.ppf(0.975, k - 1)) ** 2
    bounds = np.sort(np.roots([1 + z**2 / n, -2 * p - z**2 / n, p**2]))
    found = clustered_rate(h, a)
    assert (found.estimate, found.lower, found.upper) == pytest.approx((p, *bounds))
    assert found.n == a.sum()


def test_questions_without_answers_do_not_count() -> None:
    whole = clustered_rate(np.array([3.0, 5, 1]), np.array([10.0, 10, 10]))
    assert clustered_rate(np.array([3.0, 0, 5, 1]), np.array([10.0, 0, 10, 10])) == whole
    np.testing.assert_array_equal(clustered_rate(np.zeros(2), np.zeros(2)), (np.nan, np.nan, np.nan, 0))
    assert np.isnan(clustered_rate(np.array([3.0]), np.array([9.0])).lower), "one question says nothing of others"


def test_small_and_large_levels() -> None:
    values = np.random.default_rng(2).uniform(0, 100, 40)
    few, many = mean_level(values[:8]), mean_level(values)
    half = stats.t.ppf(0.975, 7) * values[:8].std(ddof=1) / np.sqrt(8)
    assert (few.lower, few.upper) == pytest.approx((values[:8].mean() - half, values[:8].mean() + half))
    half = 1.96 * values.std(ddof=1) / np.sqrt(40)
    assert (many.lower, many.upper) == pytest.approx((values.mean() - half, values.mean() + half))
