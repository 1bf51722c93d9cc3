"""Quantiles without SciPy are SciPy's."""

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from inoc.quantiles import Z95, normal_probability, normal_quantile, t_quantile


def test_student_t_is_scipys() -> None:
    degrees = np.array([*range(1, 400), 999, 1000, 1999, 2000, 2001, 10**6, 1.5, 7.25], dtype=np.float64)
    np.testing.assert_allclose(t_quantile(degrees), stdtrit(degrees, 0.975), rtol=1e-12)
    assert np.isnan(t_quantile(np.array([0, -1, np.nan]))).all()
    assert t_quantile(np.array([[3, 0], [3, 5]])).shape == (2, 2)


def test_normal_is_scipys() -> None:
    p = np.array([[0.0, 1e-12, 0.025, 0.5], [0.975, 1 - 1e-9, 1.0, np.nan]])
    np.testing.assert_allclose(normal_quantile(p), ndtri(p), rtol=1e-13)
    np.testing.assert_allclose(normal_quantile(np.array([0.975])), Z95, rtol=1e-15)
    z = np.array([-30.0, -3.0, 0.0, 1.2, 9.0, -np.inf, np.inf, np.nan])
    np.testing.assert_allclose(normal_probability(z), ndtr(z), rtol=1e-12, atol=1e-300)
    assert np.isnan(normal_quantile(np.array([1.5, -0.1]))).all()
