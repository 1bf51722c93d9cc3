"""Means of the answers of each question, against loops."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inoc.store.scored import _means


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.0, 1.0, 40.0, np.nan])), min_size=1, max_size=8))
def test_a_mean_is_of_the_answers_that_have_a_value(answers: list[tuple[int, float]]) -> None:
    values = np.array([[[[value for _, value in answers]]]])
    found, counts = _means(values, np.array([of for of, _ in answers]), 3)
    for question in range(3):
        own = [value for of, value in answers if of == question and np.isfinite(value)]
        assert counts[0, 0, 0, question] == len(own)
        np.testing.assert_allclose(found[0, 0, 0, question], sum(own) / len(own) if own else np.nan)
