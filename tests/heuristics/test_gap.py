"""Fixed-versus-mix comparisons against NumPy, SciPy and scikit-learn."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.decomposition import PCA, TruncatedSVD

from inoc.heuristics import heuristics
from inoc.heuristics.maths import gap

PLAIN = [entry.function for entry in heuristics().values() if entry.family == "gap"]


def call(function, fixed, mix, recipe="corrected"):
    needs = "recipe" in inspect.signature(function).parameters
    return function(fixed, mix, recipe) if needs else function(fixed, mix)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(20, 60))
def test_agree_with_textbook_formulas(seed, n):
    random = np.random.default_rng(seed)
    f, m = random.normal(0.3, 1, n), random.normal(0.1, 0.7, n)
    sf, sm = f.std(ddof=1), m.std(ddof=1)
    p = np.abs(m) / np.abs(m).sum()
    expected = {
        "ph_ratio": m.mean() / f.mean(),
        "variance_diff": sm**2 - sf**2,
        "gamma_mix": (m > 0).mean(),
        "snr_mix": m.mean() / sm,
        "cosine": f @ m / np.linalg.norm(f) / np.linalg.norm(m),
        "effective_rank_mix": np.exp(stats.entropy(p)),
        "snr_ratio": (m.mean() / sm) / (f.mean() / sf),
        "mald_ratio": np.abs(m).mean() / np.abs(f).mean(),
        "snr_abs_mix": abs(m.mean()) / sm,
        "snr_abs_ratio": (abs(m.mean()) / sm) / (abs(f.mean()) / sf),
        "ph_drop": f.mean() - m.mean(),
        "snr_drop": f.mean() / sf - m.mean() / sm,
        "spread_mean": (m - f).mean(),
        "spread_std": (m - f).std(ddof=1),
        "w_cor": stats.pearsonr(f, m).statistic,
        "sign_agreement": (np.sign(f) == np.sign(m)).mean(),
        "w_l2": np.linalg.norm(m - f),
        "projection": f @ m / (f @ f),
    }
    assert set(expected) == {function.__name__ for function in PLAIN}
    for function in PLAIN:
        found = call(function, f, m)
        np.testing.assert_allclose(found, expected[function.__name__], rtol=1e-9, err_msg=function.__name__)
    np.testing.assert_allclose(gap.snr_abs_mix(f, m, "published"), np.abs(m).mean() / sm)
    np.testing.assert_allclose(gap.spread_std(f, m, "published"), (m - f).std())


@pytest.mark.parametrize("function", PLAIN, ids=lambda f: f.__name__)
def test_only_examples_finite_in_both_count(function):
    random = np.random.default_rng(0)
    f, m = random.normal(size=(2, 3, 40))
    holes_f, holes_m = f.copy(), m.copy()
    holes_f[:, :5], holes_m[:, 5:9] = np.nan, np.inf
    np.testing.assert_allclose(
        call(function, holes_f, holes_m), call(function, f[:, 9:], m[:, 9:]), rtol=1e-12
    )


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


@pytest.mark.parametrize("centered", [True, False])
def test_rank_one_is_scikit_learns_reconstruction(centered):
    random = np.random.default_rng(8)
    fixed, mix = random.normal(size=(2, 6, 40)) + np.outer(np.arange(6), np.ones(40))
    model = PCA(1, svd_solver="full") if centered else TruncatedSVD(1, algorithm="arpack", random_state=0)
    model.fit(fixed)
    for got, w in zip(gap.rank_one(fixed, mix, centered=centered), (fixed, mix), strict=True):
        expected = model.inverse_transform(model.transform(w))
        np.testing.assert_allclose(got, expected - (model.mean_ if centered else 0), atol=1e-9)


def test_rank_one_without_fixed_rows_is_nan():
    for part in gap.rank_one(np.full((2, 5), np.nan), np.ones((2, 5)), centered=True):
        assert np.isnan(part).all()


def test_is_constant_is_relative():
    assert gap.is_constant(np.array([1e9, 1e9 + 0.5, np.nan]))
    assert not gap.is_constant(np.array([1e-9, 2e-9]))
    assert gap.is_constant(np.array([3.0, np.nan]))
    assert gap.is_constant(np.zeros(4))
