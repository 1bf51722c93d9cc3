"""Elicitation, embeddings, composite and cross-trait heuristics, hand-computed."""

import numpy as np
import pytest
from scipy.stats import entropy

from inoc.heuristics.maths import prompt_level

VECTORS = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])


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
