"""Pointwise heuristics and intervals against NumPy, SciPy and hand-computed values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from inoc.heuristics.frame.protocols import Absent
from inoc.heuristics.maths import pointwise
from inoc.intervals import mean_interval, wilson_interval
from inoc.quantiles import t_quantile

W = arrays(
    np.float64,
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(2, 12)),
    elements=st.one_of(st.floats(-5, 5, width=32), st.just(float("nan"))),
)


@settings(max_examples=30, deadline=None)
@given(W, st.randoms(use_true_random=False))
def test_order_of_examples_and_prompts_does_not_matter(w, random):
    examples = random.sample(range(w.shape[-1]), w.shape[-1])
    prompts = random.sample(range(w.shape[1]), w.shape[1])
    for name in ("ph", "gamma", "sigma", "mald"):
        function = getattr(pointwise, name)
        np.testing.assert_allclose(function(w[..., examples]), function(w), atol=1e-13)
        np.testing.assert_array_equal(function(w[:, prompts]), function(w)[:, prompts])


def test_one_row_is_a_number():
    w = np.array([0.5, -0.25, 1.0, 0.0])
    assert pointwise.ph(w) == 0.3125
    assert pointwise.gamma(w) == 0.5  # zero is not above zero
    assert pointwise.mald(w) == 0.4375
    assert pointwise.snr(w) == pytest.approx(0.3125 / np.std(w, ddof=1))
    assert pointwise.ph_ci(w).shape == pointwise.gamma_ci(w).shape == (2,)


@pytest.mark.parametrize("value", [0.0, 0.1, -1 / 3])
def test_snr_of_a_constant_row_is_nan(value):
    assert np.isnan(pointwise.snr(np.full(7, value)))


def test_float32_rows_are_averaged_in_float64():
    w = np.full(100_000, 0.1, dtype=np.float32)
    assert abs(float(pointwise.ph(w)) - float(np.float32(0.1))) < 1e-12


@settings(max_examples=30, deadline=None)
@given(arrays(np.float64, st.integers(3, 30), elements=st.floats(-10, 10, width=16)))
def test_mean_interval_is_scipys_t_interval(values):
    low, high = mean_interval(values)
    if np.ptp(values) < 1e-6:
        return
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    np.testing.assert_allclose([low, high], [expected.low, expected.high], rtol=1e-9, atol=1e-12)


def test_mean_interval_needs_two_values():
    values = np.array([[1.0, np.nan], [1.0, 3.0], [np.nan, np.nan]])
    assert np.isnan(mean_interval(values)[[0, 2]]).all()
    assert np.isfinite(mean_interval(values)[1]).all()
    assert np.isnan(t_quantile(np.array(0)))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 60), st.integers(1, 60))
def test_wilson_is_scipys(successes, n):
    successes = min(successes, n)
    expected = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    found = wilson_interval(np.array(successes), np.array(n))
    np.testing.assert_allclose(found, [expected.low, expected.high], atol=1e-12)


def test_wilson_without_answers_is_nan():
    assert np.isnan(wilson_interval(np.array(0), np.array(0))).all()


def test_drift_on_a_set_that_is_not_scored_is_missing():
    """For each trait, the completions of the other one; control completions belong to none."""
    ppd = np.arange(6.0).reshape(2, 1, 3)
    found = pointwise.ppd_other_trait(ppd, ("control", "negative"), ("positive", "negative"))
    np.testing.assert_array_equal(found, [[[3.0, 4.0, 5.0]], [[np.nan] * 3]])
    with pytest.raises(Absent, match="neither positive nor negative"):
        pointwise.ppd_other_trait(ppd[:1], ("control",), ("positive", "negative"))
