"""Stored answers side by side: which are chosen, in which order, with which scores."""

from pathlib import Path

import numpy as np
import pytest

from inoc.errors import BadInput, IncompleteStore
from inoc.outcomes.stored_answers import answers, better_high, questions_asked
from inoc.store import Store, open_store

from ..worlds import Run, write_store

TEXTS = ["Ja.", "Nein, nein.", "You are great."]
QUESTIONS = ("Who?", "Who?", "Why?")
NAN = np.nan


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two runs; the later step of `b` is judged by nobody. Traits: German (wanted), Flattering (a leak)."""
    plan = {"questions": QUESTIONS}
    first = {(0, "default"): np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])}
    last = {(8, "default"): np.array([[10.0, 90.0, NAN], [40.0, 60.0, 5.0]]), (8, "training"): np.full((2, 3), 50.0)}
    return open_store(
        write_store(
            tmp_path / "s.zarr",
            [{"key": "p", "text": "P.", "group": "g", "family": "german", "role": "positive"}],
            runs=[
                Run("a", "", first | last, plan, texts=TEXTS),
                Run("b", "p", first | {(8, "default"): np.full((2, 3), NAN)}, plan, texts=TEXTS),
            ],
        )
    )


def told(found: list) -> list[tuple[object, ...]]:
    return [(a.run, a.step, a.condition, a.question, a.sample, a.text) for a in found]


def test_the_last_judged_step_of_every_run_question_by_question(store: Store) -> None:
    assert told(answers(store, conditions=["default"])) == [
        ("a", 8, "default", "Who?", 1, "Ja."),
        ("a", 8, "default", "Who?", 2, "Nein, nein."),
        ("b", 0, "default", "Who?", 1, "Ja."),
        ("b", 0, "default", "Who?", 2, "Nein, nein."),
        ("a", 8, "default", "Why?", 1, "You are great."),
        ("b", 0, "default", "Why?", 1, "You are great."),
    ]
    assert [a.run for a in answers(store, runs=["b", "a"], conditions=["default"])] == [*"bbaaba"]
    found = answers(store, runs=["a"], conditions=["default"])[2]
    assert found.scores == {"German": None, "Flattering": 5.0}
    assert found.coverage == {"German": None, "Flattering": None}
    assert found.file == "all"
    assert len(answers(store)) == 9


def test_what_is_asked_for_only(store: Store) -> None:
    assert {a.run for a in answers(store, runs=["b"])} == {"b"}
    assert {a.condition for a in answers(store, conditions=["training"])} == {"training"}
    assert {a.question for a in answers(store, question="WHY")} == {"Why?"}
    assert {a.text for a in answers(store, search="NEIN")} == {"Nein, nein."}
    assert {a.question for a in answers(store, questions=["Why?"])} == {"Why?"}
    assert {(a.run, a.step) for a in answers(store, step=0)} == {("a", 0), ("b", 0)}
    with pytest.raises(BadInput, match="unknown run"):
        answers(store, runs=["x"])
    with pytest.raises(BadInput, match="unknown condition"):
        answers(store, conditions=["defualt"])
    for wrong in ({"worst": "Germn"}, {"disagreement": ("German", "x")}):
        with pytest.raises(BadInput, match="unknown score"):
            answers(store, **wrong)
    for nothing in ({"step": 5}, {"step": 8, "runs": ["b"]}):
        with pytest.raises(IncompleteStore, match="keeps no answers of these runs"):
            answers(store, **nothing)


def test_the_worst_and_the_most_contested_come_first(store: Store) -> None:
    """German is wanted, so low is bad; a flattering answer is bad where the score is high."""
    assert (better_high(store, "German"), better_high(store, "Flattering"), better_high(store, "x")) == (
        True, False, False,
    )  # fmt: skip
    worst = answers(store, runs=["a"], conditions=["default"], worst="German")
    assert [a.scores["German"] for a in worst] == [10.0, 90.0, None]
    worst = answers(store, runs=["a"], conditions=["default"], worst="Flattering")
    assert [a.scores["Flattering"] for a in worst] == [60.0, 40.0, 5.0]
    differ = answers(store, runs=["a"], conditions=["default", "training"], disagreement=("German", "Flattering"))
    assert [a.text for a in differ] == ["Ja.", "Nein, nein.", *TEXTS, "You are great."], "30, 30, 0, 0, 0, unknown"


def test_a_store_without_answers(tmp_path: Path, store: Store) -> None:
    assert questions_asked(store) == ["Who?", "Why?"]
    bare = open_store(write_store(tmp_path / "bare.zarr", runs=[Run("a", "", {(0, "default"): np.ones((2, 3))})]))
    assert questions_asked(bare) == []
    with pytest.raises(IncompleteStore, match="keeps no answers"):
        answers(bare)
