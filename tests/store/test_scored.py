"""Scores of answers by hand: which judge counts, means by question, where a later judgment belongs."""

from pathlib import Path

import numpy as np

from inoc.store import ScoreInfo, StoreWriter, open_store
from inoc.store.scored import (
    Answered,
    Judgments,
    aligned,
    answered,
    by_question,
    judgments,
    with_other_judges,
    with_rates,
)

from .test_merge import write

NAN = np.nan


def part(value: list[list[float]], questions: tuple[str, ...]) -> Answered:
    """Scores A, B, ... of the answers at one step under one condition."""
    scores = tuple("ABCD"[: len(value)])
    table = np.array(value)[None, None]
    judges, files = tuple(f"judge of {name}" for name in scores), ("f",) * len(questions)
    return Answered((4,), ("default",), scores, judges, questions, files, table, table / 100)


def test_means_are_of_the_answers_that_have_a_score() -> None:
    found = by_question(part([[10.0, NAN, 30.0, NAN], [2.0, 4.0, NAN, NAN]], ("q", "q", "r", "s")))
    assert found.questions == ("q", "r", "s")
    np.testing.assert_array_equal(found.value[0, 0], [[10.0, 30.0, NAN], [3.0, NAN, NAN]])
    np.testing.assert_allclose(found.coverage[0, 0], [[0.1, 0.3, NAN], [0.03, NAN, NAN]])
    assert found.answers[0, 0].tolist() == [[1, 1, 0], [2, 0, 0]]
    assert found.asked.tolist() == [2, 1, 1]


def test_one_answer_to_each_question_is_its_mean() -> None:
    given = part([[10.0, NAN]], ("q", "r"))
    found = by_question(given)
    np.testing.assert_array_equal(found.value, given.value)
    assert (found.answers.tolist(), found.asked.tolist()) == ([[[[1, 0]]]], [1, 1])


def test_a_score_is_replaced_in_its_place_or_added_at_the_end() -> None:
    given, new = part([[1.0], [2.0]], ("q",)), np.array([[[9.0]]])
    replaced, added = given.with_score("A", "other", new, new / 10), given.with_score("X", "other", new, new / 10)
    assert (replaced.scores, replaced.judges) == (("A", "B"), ("other", "judge of B"))
    assert replaced.value.ravel().tolist() == [9.0, 2.0]
    assert (added.scores, added.judges) == (("A", "B", "X"), ("judge of A", "judge of B", "other"))
    assert added.value.ravel().tolist() == [1.0, 2.0, 9.0]
    assert added.coverage.ravel().tolist() == [0.01, 0.02, 0.9]


def test_rates_follow_from_the_scores_they_need() -> None:
    given = part([[70.0, 50.0], [30.0, 30.0]], ("q", "r"))
    rates = [ScoreInfo("Bad", "", "", "", "A > 60 and B < 40"), ScoreInfo("Lost", "", "", "", "A > 60 and Z < 40")]
    found = with_rates(given, [ScoreInfo("A", "", ""), *rates, ScoreInfo("B", "", "", "", "A > 1")])
    assert found.scores == ("A", "B", "Bad"), "neither the rate of a missing score nor one that is there already"
    assert found.value[0, 0, 2].tolist() == [100.0, 0.0]
    assert found.coverage[0, 0, 2].tolist() == [0.3, 0.3], "the least of those it needs"
    assert found.judges[2] == "rate:A > 60 and B < 40 (A: judge of A; B: judge of B)"


def test_judgments_land_on_their_steps_and_conditions() -> None:
    given = part([[1.0, 2.0]], ("q", "r"))
    given = Answered((0, 4), ("training", "default"), *(getattr(given, n) for n in ("scores", "judges")), ("q", "r"),
                     ("f", "f"), np.zeros((2, 2, 1, 2)), np.zeros((2, 2, 1, 2)))  # fmt: skip
    rows = Judgments((4,), ("default",), np.array([[True]]), np.array([[[7.0, 8.0]]]), np.array([[[0.7, 0.8]]]))
    value, coverage = aligned(given, rows)
    np.testing.assert_array_equal(value, [[[NAN] * 2] * 2, [[NAN] * 2, [7.0, 8.0]]])
    np.testing.assert_array_equal(coverage[1, 1], [0.7, 0.8])
    assert rows.has(4, "default")
    assert not rows.has(0, "default")
    assert not rows.has(4, "training")


def test_only_the_current_judge_counts_and_the_others_stand_beside(tmp_path: Path) -> None:
    path = write(tmp_path / "s.zarr", "a", ("r",))
    store = open_store(path)
    first = answered(store, "r")
    assert first.scores == ("German",)
    assert set(judgments(store, "r")) == {("German", "k"), ("German", "l")}
    assert judgments(store, "none of them") == {}
    with StoreWriter.open(path, identity={"model": "m"}, experiment={"name": "x"}, provenance={}) as writer:
        writer.set_judges({"German": "k"})
    store = open_store(path)
    now = answered(store, "r")
    default = now.conditions.index("default")
    assert now.judges == ("k",)
    assert now.value[:, default, 0, 0].tolist() == [0.0, 4.0]
    every = with_other_judges(store, "r", now)
    assert every.scores == ("German", f"German by {first.judges[0]}", "German by l")
    assert every.value[:, default, :, 0].tolist() == [[0.0, 1.0, 0.0], [4.0, 5.0, 4.0]]
