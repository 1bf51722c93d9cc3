"""PCA and SVD from Gram matrices against scikit-learn and NumPy; subsets, signs, missing data."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import zscore
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.preprocessing import StandardScaler

from inoc.heuristics.maths.gram import (
    decompose,
    fix_signs,
    gram_matrix,
    standardized,
    trait_coordinates,
    z_scores,
    z_sum,
)
from inoc.heuristics.tokens.terms import standardized as scaled_tokens


def correlated(seed: int, prompts: int, examples: int, shared: float) -> np.ndarray:
    """Rows that share a direction, as differences of prompts of one family do."""
    random = np.random.default_rng(seed)
    common = np.outer(random.normal(size=prompts), random.normal(size=examples))
    return shared * common + random.normal(0.1, 1, size=(prompts, examples))


MATRIX = st.builds(
    correlated, st.integers(0, 10**6), st.integers(3, 9), st.integers(10, 30), st.sampled_from([0, 1, 30])
)


def well_conditioned(matrix: np.ndarray, kept: int) -> bool:
    """Whether the leading singular values are apart, so that directions are unique."""
    s = np.linalg.svd(matrix, compute_uv=False)[: kept + 1]
    return bool(s[0] > 1e-3 and (np.diff(-s) > 1e-3 * s[0]).all())


@settings(max_examples=30, deadline=None)
@given(MATRIX)
def test_pca_is_scikit_learns_up_to_sign(w):
    assume(well_conditioned(w - w.mean(0), 2))
    found = decompose(gram_matrix(w), centered=True)
    model = PCA(n_components=2, svd_solver="full").fit(w)
    np.testing.assert_allclose(np.abs(found.coordinates[:, :2]), np.abs(model.transform(w)), atol=1e-8)
    np.testing.assert_allclose(found.share[:2], model.explained_variance_ratio_, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(MATRIX)
def test_scaled_pca_is_standard_scaler_then_pca(w):
    scaled = StandardScaler().fit_transform(w)
    assume(well_conditioned(scaled - scaled.mean(0), 1))
    assume((w.std(0) > 1e-3).all())
    np.testing.assert_allclose(standardized(w), scaled, atol=1e-9)
    found = decompose(gram_matrix(standardized(w)), centered=True)
    model = PCA(n_components=1, svd_solver="full").fit(scaled)
    np.testing.assert_allclose(np.abs(found.coordinates[:, :1]), np.abs(model.transform(scaled)), atol=1e-7)


def test_only_what_is_constant_is_taken_for_constant():
    """A spread of 1e-14 nats is one, of 1e-16 none."""
    w = np.array([[1.0], [-1.0]]) * [1e-8, 1e-14, 1e-16]
    np.testing.assert_allclose(np.abs(scaled_tokens(w, None, np.sqrt)), [[1, 1, 1e-16]] * 2, rtol=1e-9)


@settings(max_examples=30, deadline=None)
@given(MATRIX)
def test_svd_is_truncated_svd_up_to_sign(w):
    assume(well_conditioned(w, 2))
    found = decompose(gram_matrix(w), centered=False)
    model = TruncatedSVD(n_components=2, algorithm="arpack", random_state=0)
    expected = model.fit_transform(w)
    np.testing.assert_allclose(np.abs(found.coordinates[:, :2]), np.abs(expected), atol=1e-8)
    np.testing.assert_allclose(found.singular_values[:2], model.singular_values_, atol=1e-8)
    if w.var(0).sum() > 1e-6:
        np.testing.assert_allclose(found.variance_ratio[:2], model.explained_variance_ratio_, atol=1e-8)
    s = np.linalg.svd(w, compute_uv=False)
    np.testing.assert_allclose(found.share[:2], s[:2] ** 2 / (s**2).sum(), atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(MATRIX, st.data())
def test_a_subset_by_algebra_is_a_fresh_decomposition(w, data):
    subset = data.draw(st.lists(st.integers(0, len(w) - 1), min_size=3, unique=True).map(sorted))
    gram = gram_matrix(w)
    for centered in (True, False):
        part = decompose(gram[np.ix_(subset, subset)], centered=centered)
        fresh = decompose(gram_matrix(w[subset]), centered=centered)
        for got, expected in zip(part, fresh, strict=True):
            np.testing.assert_allclose(got, expected, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(MATRIX, st.randoms(use_true_random=False))
def test_order_of_prompts_and_examples_does_not_matter(w, random):
    assume(well_conditioned(w, 2))
    assume(well_conditioned(w - w.mean(0), 2))
    prompts = random.sample(range(len(w)), len(w))
    examples = random.sample(range(w.shape[1]), w.shape[1])
    for centered in (True, False):
        plain = decompose(gram_matrix(w), centered=centered).coordinates[:, :2]
        size = np.sort(np.abs(plain), axis=0)
        assume((size[-1] - size[-2] > 1e-6).all())  # else the sign rule rests on which prompt comes first
        shuffled = decompose(gram_matrix(w[prompts][:, examples]), centered=centered).coordinates[:, :2]
        np.testing.assert_allclose(shuffled, plain[prompts], atol=1e-7)
        assert (plain[np.abs(plain).argmax(0), [0, 1]] > 0).all()


def test_the_sign_rule_does_not_depend_on_rounding():
    columns = np.array([[1.0, -2.0], [-1.0 - 1e-12, 2.0 - 1e-12], [0.5, 1.0]])
    np.testing.assert_array_equal(fix_signs(columns), columns * [1, -1])
    np.testing.assert_array_equal(fix_signs(-columns), columns * [1, -1])


def test_a_prompt_without_data_takes_no_part():
    random = np.random.default_rng(0)
    w = random.normal(size=(6, 40))
    with_hole = np.insert(w, 2, np.nan, axis=0)
    rest = [0, 1, 3, 4, 5, 6]
    for centered in (True, False):
        found = decompose(gram_matrix(with_hole), centered=centered)
        assert np.isnan(found.coordinates[2]).all()
        expected = decompose(gram_matrix(w), centered=centered)
        np.testing.assert_allclose(found.coordinates[rest], expected.coordinates, atol=1e-12)
        np.testing.assert_allclose(found.share, expected.share, atol=1e-14)


def test_missing_entries_count_as_no_difference():
    w = np.random.default_rng(1).normal(size=(4, 9))
    w[1, 3] = np.nan
    np.testing.assert_array_equal(gram_matrix(w), gram_matrix(np.where(np.isfinite(w), w, 0.0)))


@pytest.mark.parametrize("centered", [True, False])
def test_one_prompt_and_none(centered):
    one = decompose(gram_matrix(np.array([[3.0, 4.0]])), centered=centered)
    assert one.coordinates[0, 0] == pytest.approx(0.0 if centered else 5.0)
    assert np.isnan(one.coordinates[0, 1:]).all()
    nothing = decompose(gram_matrix(np.full((2, 3), np.nan)), centered=centered)
    assert np.isnan(nothing.coordinates).all()
    assert np.isnan(nothing.share).all()


def test_rank_one_rows_have_zero_second_coordinates():
    found = decompose(gram_matrix(np.outer([1.0, -2.0, 3.0], np.arange(8.0))), centered=False)
    np.testing.assert_array_equal(found.coordinates[:, 1:3], 0.0)
    np.testing.assert_allclose(found.share[:3], [1, 0, 0], atol=1e-15)


def test_constant_columns_scale_to_zero():
    w = np.array([[1.0, 0.1, 0.0], [2.0, 0.1, 0.0], [4.0, 0.1, 0.0]])
    np.testing.assert_array_equal(standardized(w)[:, 1:], 0.0)
    np.testing.assert_allclose(standardized(w)[:, 0], StandardScaler().fit_transform(w)[:, 0])


@settings(max_examples=30, deadline=None)
@given(arrays(np.float64, (6, 3), elements=st.floats(-5, 5, width=32)))
def test_z_sum_is_scipys_z(coordinates):
    assume((coordinates.std(0) > 1e-3).all())
    np.testing.assert_allclose(z_sum(coordinates), zscore(coordinates, axis=0, ddof=0).sum(1), atol=1e-9)


def test_a_column_with_one_entry_scales_to_zero():
    rows = np.array([[5.0, 1.0], [np.nan, 3.0], [np.nan, 8.0]])
    found = standardized(rows)
    np.testing.assert_allclose(found[:, 0], [0.0, np.nan, np.nan])
    np.testing.assert_allclose(found[:, 1], zscore(rows[:, 1]))


def test_z_scores_of_constant_and_missing_values():
    np.testing.assert_array_equal(z_scores(np.array([0.1, np.nan, 0.1]), ddof=1), [0, np.nan, 0])
    assert np.isnan(z_scores(np.array([1.0, np.nan]), ddof=1)).all()


def test_trait_coordinates_are_oriented():
    random = np.random.default_rng(3)
    direction = np.abs(random.normal(size=50))
    w = np.outer([3.0, 2.0, 1.5, 0.1, -0.1, 9.0], direction) + 0.01 * random.normal(size=(6, 50))
    member = np.array([True, True, True, False, False, False])
    neutral = np.array([False, False, False, True, True, False])
    ph = w.mean(1)
    for sign in (1, -1):  # flipping the data flips nothing in the published rule but does follow ph
        gram = gram_matrix(sign * w)
        published, _ = trait_coordinates(gram, sign * ph, member, neutral, published=True)
        assert published[:3, 0].mean() > published[3:5, 0].mean()
        corrected, margin = trait_coordinates(gram, sign * ph, member, neutral, published=False)
        assert np.sign(corrected[0, 0]) == sign
        assert margin[0] > 0.99
        assert np.isnan(corrected[5]).all()
