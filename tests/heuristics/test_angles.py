"""Angles against arccos where that is accurate, against exact geometry where it is not."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from inoc.heuristics.frame.protocols import Absent
from inoc.heuristics.maths import angles
from inoc.heuristics.maths.gram import Decomposition, gram_matrix

ROWS = st.builds(
    lambda seed, prompts, examples: np.random.default_rng(seed).normal(0.3, 1, size=(prompts, examples)),
    st.integers(0, 10**6),
    st.integers(3, 7),
    st.integers(3, 12),
)


def naive(rows: np.ndarray) -> np.ndarray:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.degrees(np.arccos(np.clip(unit @ unit.T, -1, 1)))


@settings(max_examples=30, deadline=None)
@given(ROWS)
def test_raw_angles_are_arccos_of_the_cosine(rows):
    assume((np.linalg.norm(rows, axis=1) > 1e-3).all())
    found = angles.angles_from_gram(gram_matrix(rows))
    np.testing.assert_allclose(found, naive(rows), atol=1e-4)
    np.testing.assert_array_equal(np.diagonal(found), 0.0)
    np.testing.assert_allclose(found, found.T, atol=1e-12)


@pytest.mark.parametrize("degrees", [1e-7, 1e-3, 45.0, 179.999, 180 - 1e-7])
def test_planar_angles_are_exact_where_arccos_is_not(degrees):
    turn = np.radians(degrees)
    points = np.array([[1.0, 0.0], [5 * np.cos(turn), 5 * np.sin(turn)]])
    assert angles.planar_angles(points)[0, 1] == pytest.approx(degrees, rel=1e-8)


@settings(max_examples=30, deadline=None)
@given(ROWS)
def test_gram_and_planar_angles_agree(rows):
    points = rows[:, :2]
    assume((np.linalg.norm(points, axis=1) > 1e-3).all())
    np.testing.assert_allclose(angles.angles_from_gram(gram_matrix(points)), angles.planar_angles(points), atol=1e-5)


def test_a_row_without_length_has_no_angle():
    rows = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0], [np.nan, np.nan]])
    found = angles.angles_from_gram(gram_matrix(rows))
    assert found[0, 2] == pytest.approx(90)
    assert np.isnan(found[1]).all()
    assert np.isnan(found[3]).all()
    assert np.isnan(angles.planar_angles(rows[:2])[0, 1])


@settings(max_examples=30, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_order_of_prompts_does_not_matter(rows, random):
    assume((np.linalg.norm(rows, axis=1) > 1e-3).all())
    order = random.sample(range(len(rows)), len(rows))
    plain = angles.angles_from_gram(gram_matrix(rows))
    shuffled = angles.angles_from_gram(gram_matrix(rows[order]))
    np.testing.assert_allclose(shuffled, plain[np.ix_(order, order)], atol=1e-5)


ROLES = ("negative", "negative", "negative", "positive", "positive", "neutral")


@pytest.fixture
def table() -> np.ndarray:
    return angles.angles_from_gram(gram_matrix(np.random.default_rng(5).normal(size=(6, 4))))


def test_an_empty_category_is_nan(table):
    rows, columns = angles.categories(("negative",) * 6)["cross"]
    found = angles.category_statistics(table, rows, columns, published=False)
    assert found.n == 0
    assert np.isnan([found.mean, found.std, found.lower, found.upper]).all()


@settings(max_examples=30, deadline=None)
@given(arrays(np.float64, (2, 9), elements=st.floats(-3, 3, width=16)))
def test_correlation_is_scipys(pair):
    x, y = pair
    assume(np.ptp(x) > 0.1 and np.ptp(y) > 0.1)
    expected = stats.pearsonr(x, y)
    found = angles.correlation(x, y)
    assert found.r == pytest.approx(expected.statistic, abs=1e-9)
    assert found.p == pytest.approx(expected.pvalue, abs=1e-6)


def test_no_correlation_below_eight_points():
    x = np.arange(8.0)
    x[0] = np.nan
    assert angles.correlation(x, x + 1).n == 7
    assert np.isnan(angles.correlation(x, x + 1).r)
    assert angles.correlation(np.arange(8.0), np.arange(8.0)).r == pytest.approx(1.0)
    assert np.isnan(angles.correlation(np.ones(9), np.arange(9.0)).r)
    assert np.isnan(angles.correlation(np.arange(9.0), np.ones(9)).r)
    assert angles.correlation(np.arange(9.0), np.linspace(0, 1, 9)).r == pytest.approx(1.0), "a range of exactly 1"
    assert angles.correlation(np.linspace(0, 1, 9), np.arange(9.0)).r == pytest.approx(1.0)


def test_one_role_is_enough_for_cross_angles():
    """By hand: rows (1, 0), (1, 1); of the axis in the plane 0 and 45 degrees. Without the other role no centroid."""
    rows = np.array([[[1.0, 0.0], [1.0, 1.0]]])
    gram = rows @ rows.transpose(0, 2, 1)
    plane = Decomposition(rows[0], *[np.array([0.5, 0.5])] * 3)
    found = angles.cross_angle(gram, [plane], [plane], ("positive", "neutral"))
    np.testing.assert_allclose(found[:2, 0], [[0, 45]] * 2, atol=1e-12)
    assert np.isnan(found[2:]).all()
    both = angles.cross_angle(gram, [plane], [plane], ("positive", "negative"))
    np.testing.assert_allclose(both[2:, 0], 45.0, atol=1e-6)
    with pytest.raises(Absent):
        angles.cross_angle(gram, [plane], [plane], ("neutral", "neutral"))
