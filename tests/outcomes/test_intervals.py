"""Interval functions: against SciPy, against algebra, and their coverage by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from inoc.intervals import (
    Interval,
    cluster_bootstrap,
    fisher_z,
    fisher_z_mean,
    mean_level,
    mean_z,
    paired_t,
    prediction_interval,
    wilson,
)

numbers = st.floats(-100, 100, allow_nan=False) | st.just(np.nan)
pairs = st.integers(0, 30).flatmap(
    lambda n: st.tuples(hnp.arrays(np.float64, n, elements=numbers), hnp.arrays(np.float64, n, elements=numbers))
)


def covers(interval: Interval, truth: float) -> bool:
    return bool(interval.lower <= truth <= interval.upper)


# agreement with independent implementations


def test_paired_t_is_scipys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=40), rng.normal(size=40)
    a[3] = b[7] = np.nan
    used = np.isfinite(a) & np.isfinite(b)
    expected = stats.ttest_rel(a[used], b[used]).confidence_interval(0.95)
    found = paired_t(a, b)
    assert found.n == 38
    assert found[:3] == pytest.approx((np.mean((a - b)[used]), expected.low, expected.high), rel=1e-12)


def test_wilson_is_scipys() -> None:
    for successes, n in [(0, 10), (1, 10), (5, 10), (10, 10), (3, 200)]:
        expected = stats.binomtest(successes, n).proportion_ci(method="wilson")
        found = wilson(successes, n)
        assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high), abs=1e-12)
        assert (found.estimate, found.n) == (successes / n, n)
    assert np.isnan(wilson(0, 0).estimate)


def test_fisher_z_is_scipys() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=30)
    y = x + rng.normal(size=30)
    r = stats.pearsonr(x, y)
    expected = r.confidence_interval(0.95)
    found = fisher_z(float(r.statistic), 30)
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_mean_z_uses_1_96_and_ddof_1() -> None:
    scores = np.array([10.0, 20.0, np.nan, 60.0])
    half = 1.96 * np.std([10, 20, 60], ddof=1) / np.sqrt(3)
    assert mean_z(scores) == pytest.approx((30.0, 30 - half, 30 + half, 3))


@pytest.mark.parametrize(("scores", "mean", "n"), [([], np.nan, 0), ([np.nan], np.nan, 0), ([7.0, np.nan], 7.0, 1)])
def test_one_value_has_no_interval_and_none_no_mean(scores: list[float], mean: float, n: int) -> None:
    for found in (mean_z(np.array(scores)), mean_level(np.array(scores))):
        np.testing.assert_array_equal(found, (mean, np.nan, np.nan, n))


def test_fisher_z_mean_by_hand() -> None:
    r, n = np.array([0.5, -0.2, 0.9, np.nan]), np.array([10, 20, 3, 50])
    z = (7 * np.arctanh(0.5) + 17 * np.arctanh(-0.2)) / 24
    found = fisher_z_mean(r, n)
    assert found.n == 30  # the cell of 3 and the one without r carry nothing
    assert found.estimate == pytest.approx(np.tanh(z))
    assert found.upper == pytest.approx(np.tanh(z + stats.norm.ppf(0.975) / np.sqrt(24)))
    assert np.isnan(fisher_z_mean(np.array([np.nan]), np.array([9])).estimate)
    assert fisher_z_mean(np.array([1.0]), np.array([9])).estimate == 1.0


def test_bootstrap_without_clusters_is_scipys_bca() -> None:
    rng = np.random.default_rng(3)
    x = rng.exponential(size=40)

    def mean(weights: np.ndarray) -> np.ndarray:
        return (weights @ x / weights.sum(axis=1))[:, None]

    for method in ("percentile", "bca"):
        lower, upper = cluster_bootstrap(mean, np.arange(40), resamples=20000, method=method)
        name = {"percentile": "percentile", "bca": "BCa"}[method]
        expected = stats.bootstrap(
            (x,), np.mean, n_resamples=20000, method=name, rng=np.random.default_rng(1)
        ).confidence_interval
        assert lower[0] == pytest.approx(expected.low, abs=0.015)
        assert upper[0] == pytest.approx(expected.high, abs=0.015)


def test_bootstrap_is_seeded_and_draws_whole_clusters() -> None:
    x = np.repeat([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 50)
    clusters = np.repeat(list("abcdef"), 50)
    seen: list[np.ndarray] = []

    def mean(weights: np.ndarray) -> np.ndarray:
        seen.append(weights)
        return (weights @ x / weights.sum(axis=1))[:, None]

    first = cluster_bootstrap(mean, clusters, resamples=300, seed=5)
    again = cluster_bootstrap(mean, clusters, resamples=300, seed=5)
    assert first[0][0] == again[0][0]
    drawn = seen[1].reshape(300, 6, 50)
    assert (drawn == drawn[:, :, :1]).all()
    # fifty copies of a prompt say no more than one: a naive row bootstrap would be seven times narrower
    assert first[1][0] - first[0][0] > 1.5
    assert np.isnan(cluster_bootstrap(mean, np.repeat(list("abc"), 100), resamples=50)[0][0])


# properties


@given(pairs)
def test_paired_t_properties(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    found = paired_t(a, b)
    finite = np.isfinite(a) & np.isfinite(b)
    assert found.n == finite.sum()
    if found.n == 0:
        assert np.isnan(found.estimate)
        return
    swapped = paired_t(b, a)
    assert swapped.estimate == pytest.approx(-found.estimate, abs=1e-9)
    order = np.random.default_rng(0).permutation(a.size)
    np.testing.assert_allclose(paired_t(a[order], b[order])[:3], found[:3], atol=1e-9)
    # what both share cancels
    np.testing.assert_allclose(paired_t(a + 7.0, b + 7.0)[:3], found[:3], atol=1e-9)
    # a pair with a missing half changes nothing
    more = paired_t(np.append(a, [np.nan, 3.0]), np.append(b, [1.0, np.nan]))
    np.testing.assert_allclose(more[:3], found[:3], atol=1e-9)
    if found.n == 1:
        assert np.isnan(found.lower)
        assert np.isnan(found.upper)
    else:
        assert found.lower <= found.estimate <= found.upper


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_stays_in_range_and_is_symmetric(case: tuple[int, int]) -> None:
    successes, n = case
    found, mirrored = wilson(successes, n), wilson(n - successes, n)
    assert 0 <= found.lower <= found.estimate <= found.upper <= 1
    assert (found.lower, found.upper) == pytest.approx((1 - mirrored.upper, 1 - mirrored.lower), abs=1e-12)


@settings(deadline=None)
@given(hnp.arrays(np.float64, st.integers(0, 12), elements=numbers))
def test_prediction_interval_is_centred_and_counts(residuals: np.ndarray) -> None:
    found = prediction_interval(10.0, residuals)
    assert found.n == np.isfinite(residuals).sum()
    if found.n < 3:
        assert np.isnan(found.lower)
    else:
        assert found.lower + found.upper == pytest.approx(20.0)


# coverage: the share of simulated data sets whose interval holds the truth; 1000 sets, so +/- 1.4 points is noise


def coverage(hits: list[bool]) -> float:
    return float(np.mean(hits))


def test_paired_t_coverage() -> None:
    rng = np.random.default_rng(10)
    for n in (5, 200):
        hits = []
        for _ in range(1000):
            instruction = rng.normal(50, 20, n)
            control, run = instruction + rng.normal(0, 5, n), instruction - 12 + rng.normal(0, 8, n)
            hits.append(covers(paired_t(control, run), 12.0))
        assert 0.93 <= coverage(hits) <= 0.97


def test_paired_t_coverage_on_bounded_bimodal_scores() -> None:
    """Judge scores sit near 0 and 100; with 200 instructions the interval still holds."""
    rng = np.random.default_rng(11)
    hits = []
    for _ in range(1000):
        control, run = 100.0 * (rng.random(200) < 0.9), 100.0 * (rng.random(200) < 0.2)
        hits.append(covers(paired_t(control, run), 70.0))
    assert 0.93 <= coverage(hits) <= 0.97


def test_mean_z_coverage() -> None:
    rng = np.random.default_rng(12)
    hits = [covers(mean_z(rng.exponential(10, 200)), 10.0) for _ in range(1000)]
    assert 0.92 <= coverage(hits) <= 0.97


def test_wilson_coverage() -> None:
    rng = np.random.default_rng(13)
    for rate in (0.02, 0.5):
        hits = [covers(wilson(int(k), 100), rate) for k in rng.binomial(100, rate, 1000)]
        assert 0.92 <= coverage(hits) <= 0.99


def test_fisher_z_coverage() -> None:
    rng = np.random.default_rng(14)
    hits, cells = [], []
    for _ in range(1000):
        x, noise = rng.normal(size=(2, 4, 12)), rng.normal(size=(2, 4, 12))
        y = 0.6 * x[0] + 0.8 * noise[0]
        r = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(x[0], y, strict=True)])
        hits.append(covers(fisher_z(float(r[0]), 12), 0.6))
        cells.append(covers(fisher_z_mean(r, np.full(4, 12)), 0.6))
    assert 0.93 <= coverage(hits) <= 0.97
    assert 0.92 <= coverage(cells) <= 0.97


@pytest.mark.parametrize(("prompts", "least"), [(8, 0.87), pytest.param(25, 0.89, marks=pytest.mark.slow)])
def test_prompt_bootstrap_coverage(prompts: int, least: float) -> None:
    """Each prompt has two rows that share its effect. With few prompts it holds less than it says: see the docs."""
    from inoc.outcomes.correlation import bootstrap_r

    rng = np.random.default_rng(15)
    hits = []
    for i in range(400):
        a = rng.normal(size=prompts)
        b = 0.7 * a + np.sqrt(1 - 0.49) * rng.normal(size=prompts)
        x = np.repeat(a, 2) + 0.2 * rng.normal(size=2 * prompts)
        y = np.repeat(b, 2) + 0.2 * rng.normal(size=2 * prompts)
        lower, upper = bootstrap_r(x, y, np.repeat(np.arange(prompts), 2), resamples=600, seed=i)
        hits.append(lower <= 0.7 / 1.04 <= upper)
    assert least <= coverage(hits) <= 0.98


def test_prediction_interval_coverage() -> None:
    rng = np.random.default_rng(16)
    for n in (5, 20):
        hits = [covers(prediction_interval(0.0, rng.normal(0, 9, n)), rng.normal(0, 9)) for _ in range(1000)]
        assert 0.93 <= coverage(hits) <= 0.985
