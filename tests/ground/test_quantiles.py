"""Quantiles without SciPy are SciPy's."""

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from inoc.quantiles import Z95, normal_probability, normal_quantile, t_quantile, t_tails


def test_student_t_is_scipys() -> None:
    degrees = np.array([*range(1, 400), 999, 1000, 1999, 2000, 2001, 10**6, 1.5, 7.25], dtype=np.float64)
    np.testing.assert_allclose(t_quantile(degrees), stdtrit(degrees, 0.975), rtol=1e-12)
    assert np.isnan(t_quantile(np.array([0, -1, np.nan]))).all()
    assert t_quantile(np.array([[3, 0], [3, 5]])).shape == (2, 2)


def test_tails_of_student_t_are_scipys() -> None:
    degrees = np.array([1, 2, 3, 6, 7, 46, 998, 10_000, 2.5], dtype=np.float64)[:, None]
    t = np.array([0, 1e-9, 0.3, 1.0, 1.7, 1.75, 2.0, 5.0, 12.0, 40.0, 1e9, np.inf])[None]
    np.testing.assert_allclose(t_tails(*np.broadcast_arrays(t, degrees)), 2 * stdtr(degrees, -t), rtol=1e-9)
    assert np.isnan(t_tails(np.array([np.nan, 2.0]), np.array([5, 0]))).all()


def test_normal_is_scipys() -> None:
    p = np.array([[0.0, 1e-12, 0.025, 0.5], [0.975, 1 - 1e-9, 1.0, np.nan]])
    np.testing.assert_allclose(normal_quantile(p), ndtri(p), rtol=1e-13)
    np.testing.assert_allclose(normal_quantile(np.array([0.975])), Z95, rtol=1e-15)
    z = np.array([-30.0, -3.0, 0.0, 1.2, 9.0, -np.inf, np.inf, np.nan])
    np.testing.assert_allclose(normal_probability(z), ndtr(z), rtol=1e-12, atol=1e-300)
    assert np.isnan(normal_quantile(np.array([1.5, -0.1]))).all()
