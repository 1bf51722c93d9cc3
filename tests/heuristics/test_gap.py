"""Fixed-versus-mix comparisons against NumPy, SciPy and scikit-learn."""

import inspect

import numpy as np
import pytest

from inoc.heuristics import heuristics
from inoc.heuristics.maths import gap

PLAIN = [entry.function for entry in heuristics().values() if entry.family == "gap"]


def call(function, fixed, mix, recipe="corrected"):
    needs = "recipe" in inspect.signature(function).parameters
    return function(fixed, mix, recipe) if needs else function(fixed, mix)


@pytest.mark.parametrize("function", PLAIN, ids=lambda f: f.__name__)
def test_only_examples_finite_in_both_count(function):
    random = np.random.default_rng(0)
    f, m = random.normal(size=(2, 3, 40))
    holes_f, holes_m = f.copy(), m.copy()
    holes_f[:, :5], holes_m[:, 5:9] = np.nan, np.inf
    np.testing.assert_allclose(call(function, holes_f, holes_m), call(function, f[:, 9:], m[:, 9:]), rtol=1e-12)


@pytest.mark.parametrize("function", PLAIN, ids=lambda f: f.__name__)
def test_fewer_than_twenty_shared_examples_are_nan(function):
    f, m = np.random.default_rng(0).normal(size=(2, 20))
    assert np.isfinite(call(function, f, m))
    m[3] = np.nan
    assert np.isnan(call(function, f, m))


def test_ratios_with_nothing_below_them_are_nan():
    f = np.tile([1.0, -1.0], 15)
    m = np.linspace(0.5, 2, 30)
    assert np.isnan(gap.ph_ratio(f, m))
    assert np.isnan(gap.snr_ratio(f, m))
    assert np.isfinite(gap.ph_drop(f, m))
    zero = np.zeros(30)
    for name in ("cosine", "mald_ratio", "projection", "w_cor"):
        assert np.isnan(getattr(gap, name)(zero, m)), name
    assert np.isnan(gap.effective_rank_mix(m, zero))


def test_rank_one_without_fixed_rows_is_nan():
    for part in gap.rank_one(np.full((2, 5), np.nan), np.ones((2, 5)), centered=True):
        assert np.isnan(part).all()


def test_is_constant_is_relative():
    assert gap.is_constant(np.array([1e9, 1e9 + 0.5, np.nan]))
    assert not gap.is_constant(np.array([1e-9, 2e-9]))
    assert gap.is_constant(np.array([3.0, np.nan]))
    assert gap.is_constant(np.zeros(4))


def test_constant_is_a_range_of_a_billionth_at_most():
    scale = 2.0**30
    assert gap.is_constant(np.array([scale, scale - 0.5])), "exactly 2 ** -31 of the scale"
    assert not gap.is_constant(np.array([1.0, 1.0 - 1.5e-9]))
    assert gap.is_constant(np.array([1.0, 1.0 - 0.9e-9]))
    assert not gap.is_constant(np.array([0.0, 1e-30])), "relative to the scale of the values themselves"


def test_floors_of_the_ratios():
    """PH up to 1e-9 and an SNR up to 1e-6 have no ratio."""
    wave = np.tile([1.0, -1.0], 15)
    m = wave + 1.0
    for ph, finite in ((1e-9, False), (1.5e-9, True)):
        assert np.isfinite(gap.ph_ratio(np.full(30, ph), m)) == finite
    for snr, finite in ((0.5e-6, False), (1.5e-6, True)):
        fixed = wave + snr * np.std(wave, ddof=1)
        assert np.isfinite(gap.snr_ratio(fixed, m)) == finite
