"""Elicitation, embeddings, composite and cross-trait heuristics, hand-computed."""

import numpy as np
import pytest
from scipy.stats import entropy, zscore

from inoc.heuristics.maths import composite, prompt_level


def test_elicitation_is_paired_unless_published():
    score = np.array([[[50.0, np.nan, 80.0]]])
    baseline = np.array([[10.0, 40.0, np.nan]])
    assert prompt_level.elicitation(score, baseline, "corrected")[0, 0] == 40.0
    assert prompt_level.elicitation(score, baseline, "published")[0, 0] == 65.0 - 25.0
    assert prompt_level.elicitation_n(score, baseline)[0, 0] == 1
    assert np.isnan(prompt_level.elicitation_ci(score, baseline)).all()


VECTORS = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])


def test_the_prompt_itself_is_left_out_of_the_neutral_centroid():
    neutral = np.array([True, True, False, False])
    found = prompt_level.distance_from_neutral(VECTORS, neutral)
    both = (VECTORS[0] + VECTORS[1]) / np.linalg.norm(VECTORS[0] + VECTORS[1])
    expected = [np.linalg.norm(VECTORS[0] - VECTORS[1])] * 2 + [np.linalg.norm(v - both) for v in VECTORS[2:]]
    np.testing.assert_allclose(found, expected)
    alone = prompt_level.distance_from_neutral(VECTORS, np.array([True, False, False, False]))
    assert np.isnan(alone[0])
    assert alone[3] == pytest.approx(2.0)


def test_cosine_to_a_family_counts_the_prompt_itself_only_when_published():
    group = np.array([True, True, False, False])
    both = (VECTORS[0] + VECTORS[1]) / np.linalg.norm(VECTORS[0] + VECTORS[1])
    corrected = prompt_level.cosine_to_group(VECTORS, group, "corrected")
    published = prompt_level.cosine_to_group(VECTORS, group, "published")
    np.testing.assert_allclose(corrected[:2], 0.6)
    np.testing.assert_allclose(published, VECTORS @ both)
    np.testing.assert_allclose(corrected[2:], published[2:])


def test_vectors_need_not_be_normalized():
    group = np.array([True, True, False, False])
    scaled = VECTORS * np.array([[1.0], [5.0], [0.1], [2.0]])
    np.testing.assert_allclose(
        prompt_level.cosine_to_group(scaled, group, "published"),
        prompt_level.cosine_to_group(VECTORS, group, "published"),
    )


def test_pool_statistics():
    pool = np.array([[0.6, 0.8, 0.0], [0.0, 1.0, 0.0], [0.8, 0.0, 0.6]])
    found = prompt_level.pool_statistics(np.array([1.0, 0.0, 0.0]), pool)
    cosines = np.array([0.6, 0.0, 0.8])
    s = np.linalg.svd(pool - pool.mean(0), compute_uv=False)
    assert found == pytest.approx(
        {
            "rephrase_mean_cos": cosines.mean(),
            "rephrase_std_cos": cosines.std(),
            "rephrase_min_cos": 0.0,
            "rephrase_effective_rank": np.exp(entropy(s[s > 1e-12])),
        }
    )
    assert np.isnan(list(prompt_level.pool_statistics(np.ones(3), np.empty((0, 3))).values())).all()
    same = prompt_level.pool_statistics(np.ones(3), np.tile(pool[0], (4, 1)))
    assert same["rephrase_effective_rank"] == pytest.approx(1.0)


def test_composite_of_rows_is_a_sum_of_z_scores():
    random = np.random.default_rng(0)
    h1, h4, h5, h6 = random.normal(size=(4, 12))
    is_mix = np.arange(12) % 2 == 1
    z = [zscore(x, ddof=1) for x in (h1, h4, h5, h6)]
    expected = z[0] + z[1] + z[2] - np.where(is_mix, z[3], 0)
    np.testing.assert_allclose(composite.composite_rows(h1, h4, h5, h6, is_mix), expected)
    h1[0] = np.nan
    found = composite.composite_rows(h1, h4, h5, h6, is_mix)
    assert np.isnan(found[0])
    assert np.isfinite(found[1:]).all()


def test_corrected_composite_is_within_trait_and_prefix_type():
    random = np.random.default_rng(1)
    h1, coordinates = random.normal(size=(2, 5)), random.normal(size=(2, 2, 5, 3))
    coordinates[0, :, 4] = np.nan  # prompt 4 is of the other trait's family
    distance, spread = random.normal(size=(2, 5))
    found = composite.composite(h1, coordinates, distance, spread, ("fixed", "mix"), "corrected")
    on = slice(0, 4)
    expected = sum(zscore(x, ddof=1) for x in (h1[0, on], coordinates[0, 1, on, 0], distance[on]))
    np.testing.assert_allclose(found[0, 1, on], expected - zscore(spread[on], ddof=1))
    assert np.isnan(found[0, :, 4]).all()
    published = composite.composite(h1, coordinates, distance, spread, ("fixed", "mix"), "published")
    assert np.isfinite(published).sum() == np.isfinite(found).sum() == 18
    assert not np.allclose(published[0, 1, on], found[0, 1, on])


def test_cross_trait_signs():
    coordinates = np.arange(12.0).reshape(2, 2, 3)
    found = composite.cross_token_svd(coordinates, ("positive", "negative"))
    np.testing.assert_array_equal(found[0], -coordinates[..., 1])
    np.testing.assert_array_equal(found[1], coordinates[..., 1])
    np.testing.assert_array_equal(
        composite.cross_token_pca(coordinates, ("negative",))[0], coordinates[..., 1]
    )
    to_negative, to_positive = np.array([0.1, 0.2]), np.array([0.3, 0.4])
    cosine = composite.cross_cosine(to_negative, to_positive, ("positive", "negative"))
    np.testing.assert_array_equal(cosine, [to_negative, to_positive])
