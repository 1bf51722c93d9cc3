"""`check_scores`: every wrong answer of a backend is named; right ones pass unchanged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inoc.backends import check_scores
from inoc.backends.protocols import ScoreRequest, TokenLogprobs
from inoc.errors import BadResult

ASKED = (ScoreRequest("a", (1, 2), (3, 4, 5)), ScoreRequest("b", (1,), ()))


def answer(
    name: str = "a", values: object = (-1.0, -2.0, 0.0), ids: tuple[int, ...] | None = (3, 4, 5)
) -> TokenLogprobs:
    return TokenLogprobs(name, np.array(values, np.float32), ids)


EMPTY = answer("b", (), ())


def test_right_answers_pass_in_any_order_and_unchanged() -> None:
    results = [EMPTY, answer(ids=None, values=(-1e-9, 5e-5, -300.0))]
    assert list(check_scores(ASKED, iter(results))) == results


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([answer(), EMPTY, answer("c")], "c: answered but not requested"),
        ([answer(), answer(), EMPTY], "a: answered twice"),
        ([answer()], "1 of 2 requests were not answered, the first: b"),
        ([answer(values=(-1.0, -2.0)), EMPTY], "a: 2 log-probabilities for 3 completion tokens"),
        ([answer(values=(-1.0, np.nan, -1.0)), EMPTY], "a: log-probability nan at position 1"),
        ([answer(values=(-1.0, -np.inf, -1.0)), EMPTY], "a: log-probability -inf at position 1"),
        ([answer(values=(-1.0, -1.0, 2e-3)), EMPTY], "a: log-probability 0.002.* at position 2"),
        ([answer(ids=(3, 9, 5)), EMPTY], "a: the backend scored other token ids, the first at position 1"),
        ([answer(ids=(3, 4)), EMPTY], "a: the backend scored other token ids, the first at position 2"),
    ],
)
def test_wrong_answers_are_named(results: list[TokenLogprobs], message: str) -> None:
    with pytest.raises(BadResult, match=message):
        list(check_scores(ASKED, iter(results)))


def test_two_requests_of_one_name() -> None:
    with pytest.raises(BadResult, match="same id"):
        list(check_scores((ASKED[0], ASKED[0]), iter(())))


@given(st.permutations(range(8)), st.integers(0, 7))
def test_a_single_lost_answer_is_always_found(order: list[int], lost: int) -> None:
    asked = tuple(ScoreRequest(str(i), (1,), (2,)) for i in range(8))
    results = [TokenLogprobs(str(i), np.array([-1.0], np.float32)) for i in order if i != lost]
    with pytest.raises(BadResult, match=f"the first: {lost}"):
        list(check_scores(asked, iter(results)))
