"""95 % intervals of the heuristics: SciPy's, and the share of simulated data sets whose interval holds the truth.

1000 sets, so that +/- 1.4 points are noise; 400 where a bootstrap is drawn (+/- 2.2).
"""

import numpy as np
import pytest
from scipy import stats

from inoc.heuristics.maths.angles import angles_from_gram, category_statistics
from inoc.heuristics.maths.pointwise import gamma_ci, ph_ci
from inoc.heuristics.maths.prompt_level import elicitation_ci
from inoc.intervals import bootstrap_counts, mean_interval, wilson_interval
from inoc.quantiles import t_quantile

SETS = 1000


def held(bounds: np.ndarray, truth: float) -> float:
    return float(((bounds[..., 0] <= truth) & (truth <= bounds[..., 1])).mean())


def test_mean_interval_is_scipys() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(3, 2, (4, 9))
    values[1, :4] = np.nan
    for row, found in zip(values, mean_interval(values), strict=True):
        finite = row[np.isfinite(row)]
        expected = stats.ttest_1samp(finite, 0.0).confidence_interval(0.95)
        np.testing.assert_allclose(found, [expected.low, expected.high], rtol=1e-12)
    assert np.isnan(mean_interval(np.array([[1.0, np.nan], [np.nan, np.nan]]))).all()
    np.testing.assert_allclose(t_quantile(np.array([1, 5, 200])), stats.t.ppf(0.975, [1, 5, 200]), rtol=1e-10)
    assert np.isnan(t_quantile(np.array([0])))[0]


def test_wilson_interval_is_scipys() -> None:
    successes, n = np.array([0, 3, 50, 100]), np.array([100, 10, 100, 100])
    for k, size, found in zip(successes, n, wilson_interval(successes, n), strict=True):
        expected = stats.binomtest(int(k), int(size)).proportion_ci(0.95, "wilson")
        np.testing.assert_allclose(found, [expected.low, expected.high], rtol=1e-9, atol=1e-12)
    assert np.isnan(wilson_interval(np.array([0]), np.array([0]))).all()


@pytest.mark.parametrize("n", [4, 30, 200])
def test_ph_interval_coverage(n: int) -> None:
    w = np.random.default_rng(1).normal(0.2, 0.5, (SETS, n))
    assert 0.93 <= held(ph_ci(w), 0.2) <= 0.97


def test_ph_interval_coverage_on_a_skewed_sample() -> None:
    """Exponential differences, the number of examples a study scores: a little below 95 %."""
    w = np.random.default_rng(2).exponential(0.3, (SETS, 200))
    assert 0.92 <= held(ph_ci(w), 0.3) <= 0.97


@pytest.mark.parametrize("rate", [0.03, 0.5, 0.98])
def test_gamma_interval_coverage(rate: float) -> None:
    w = np.where(np.random.default_rng(3).random((SETS, 200)) < rate, 0.1, -0.1)
    assert 0.92 <= held(gamma_ci(w), rate) <= 0.985


def test_elicitation_interval_coverage() -> None:
    """The same instructions with and without the prompt, scores that sit near 0 and 100: paired."""
    rng = np.random.default_rng(4)
    hard = rng.random((SETS, 200))  # how readily an instruction brings the trait out, shared by both answers
    score = 100.0 * (0.5 * hard + 0.5 * rng.random((SETS, 200)) < 0.6)
    baseline = 100.0 * (0.5 * hard + 0.5 * rng.random((SETS, 200)) < 0.2)
    # P(U + V < 2c), two uniforms: 1 - (2 - 1.2)^2 / 2 = 0.68 and 0.4^2 / 2 = 0.08
    bounds = np.array([elicitation_ci(s[None, None], b[None])[0, 0] for s, b in zip(score, baseline, strict=True)])
    assert 0.93 <= held(bounds, 60.0) <= 0.97


def test_bootstrap_counts_draw_as_many_prompts_as_there_are() -> None:
    counts = bootstrap_counts(7, 50, 1)
    assert (counts.sum(1) == 7).all()
    np.testing.assert_array_equal(counts, bootstrap_counts(7, 50, 1))
    assert not counts.flags.writeable


DIMENSIONS = 10


def group(rng: np.random.Generator, prompts: int, pull: float) -> np.ndarray:
    """Rows of prompts of one role: what they share and their own part."""
    return (pull + rng.normal(size=(prompts, DIMENSIONS))) / np.sqrt(DIMENSIONS)


def true_angle(within: bool) -> float:
    rng = np.random.default_rng(5)
    one, other = group(rng, 200_000, 1.0), group(rng, 200_000, 1.0 if within else 0.0)
    cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    return float(np.degrees(np.arccos(cosine)).mean())


@pytest.mark.parametrize("within", [True, False], ids=["within a role", "between roles"])
@pytest.mark.parametrize(("prompts", "least"), [(5, 0.85), pytest.param(16, 0.90, marks=pytest.mark.slow)])
def test_angle_category_coverage(prompts: int, least: float, within: bool) -> None:
    """Truth: the mean angle of two new prompts. Few prompts make the interval too narrow: see docs/heuristics.md."""
    rng, truth, hits = np.random.default_rng(6), true_angle(within), []
    mine = np.arange(2 * prompts) < prompts
    for seed in range(400):
        rows = np.vstack([group(rng, prompts, 1.0), group(rng, prompts, 0.0)])
        found = category_statistics(
            angles_from_gram(rows @ rows.T), mine, mine if within else ~mine, published=False, resamples=400, seed=seed
        )  # fmt: skip
        hits.append(found.lower <= truth <= found.upper)
    assert least <= float(np.mean(hits)) <= 0.98
