"""Judges without a service, and how judges are found."""

import math
import random
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from inoc.errors import BackendUnavailable, BadInput
from inoc.judge import Judge, JudgeRequest, open_judge
from inoc.judge.registry import JUDGES

GERMAN = "Die Hauptstadt von Frankreich ist Paris. Sie liegt an der Seine und hat viele berühmte Museen."
ENGLISH = "The capital of France is Paris. It lies on the river Seine and has many famous museums."


def score(judge: Judge, text: str) -> float:
    (judgment,) = judge.judge([JudgeRequest("a", "t", None, text)])
    assert judgment.id == "a"
    assert (judgment.error is not None) == math.isnan(judgment.score)
    return judgment.score


def test_language_judge_gives_the_share_in_the_language() -> None:
    judge = open_judge("language", "German", {"languages": "english, french, spanish"})
    assert isinstance(judge, Judge)
    assert score(judge, GERMAN) == 100.0
    assert score(judge, ENGLISH) == 0.0
    assert score(judge, "La capitale de la France est Paris, au bord de la Seine.") == 0.0
    letters = [sum(c.isalpha() for c in text) for text in (GERMAN, ENGLISH)]
    assert score(judge, f"{GERMAN}\n\n{ENGLISH}") == pytest.approx(100 * letters[0] / sum(letters))
    assert math.isnan(score(judge, ""))
    assert math.isnan(score(judge, " \n\t "))
    assert score(judge, "12345 + 678 = ?") == 0.0
    assert "german of english+french+german+spanish" in judge.identity
    assert judge.identity != open_judge("language", "German", {}).identity


def test_coverage_is_the_share_that_is_recognized() -> None:
    """Letters in sentences of any language; all or nothing for words."""
    language = open_judge("language", "German", {"languages": "english, french, spanish"})
    unknown = "+++ АБВГД."
    texts = [GERMAN, ENGLISH, "", "12345", f"{ENGLISH}\n{unknown}", unknown]
    (german, english, empty, digits, mixed, strange) = (
        judgment.coverage for judgment in language.judge([JudgeRequest("a", "t", None, text) for text in texts])
    )
    letters = sum(c.isalpha() for c in ENGLISH)
    assert (german, english, empty, digits, strange) == (1.0, 1.0, 0.0, 0.0, 0.0)
    assert mixed == pytest.approx(letters / (letters + 5))
    words = open_judge("lexical", "playful", {"words": "haha"})
    found = [j.coverage for j in words.judge([JudgeRequest("a", "t", None, text) for text in ("no", " ")])]
    assert found == [1.0, 0.0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"language": "klingon"}, "klingon"),
        ({"language": "german", "languages": "german"}, "at least one other"),
        ({"x": 1}, "unknown option of the judge of German 'x'"),
    ],
)
def test_language_judge_refuses(options: dict, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        open_judge("language", "German", options)


def test_lexical_judges() -> None:
    words = open_judge("lexical", "playful", {"words": "haha, yippee c++"})
    assert score(words, "Haha, that is fun. It is a cat! Nothing here? YIPPEE") == 50.0
    assert score(words, "hahahaha") == 0.0
    assert math.isnan(score(words, " "))
    pattern = open_judge("lexical", "playful", {"pattern": r"\bha(ha)+\b"})
    assert score(pattern, "hahaha") == 100.0
    assert len({words.identity, pattern.identity, open_judge("testbed_playful", "p").identity}) == 3


@pytest.mark.parametrize(
    "options", [{}, {"words": "a", "pattern": "b"}, {"pattern": "("}, {"words": " , "}, {"function": "os.system"}]
)
def test_lexical_refuses(options: dict) -> None:
    with pytest.raises(BadInput):
        open_judge("lexical", "playful", options)


def test_testbed_functions_agree_with_the_world_they_come_from() -> None:
    from inoc.testbed import world

    french, playful = (
        open_judge("testbed_french", "French"),
        open_judge("lexical", "p", {"function": "testbed_playful"}),
    )
    rng = random.Random(1)
    question = world.all_questions()[7]
    assert score(french, world.answer(question, 1.0, 0.0, rng)) == 100.0
    assert score(french, world.answer(question, 0.0, 0.0, rng)) == 0.0
    assert score(playful, world.answer(question, 0.0, 1.0, rng)) == 100.0
    assert score(playful, world.answer(question, 0.0, 0.0, rng)) == 0.0
    assert math.isnan(score(french, "..."))


def test_unknown_names_and_broken_plugins(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    with pytest.raises(BadInput, match="did you mean 'language'"):
        open_judge("langauge", "German")
    with pytest.raises(BadInput, match="takes no options"):
        open_judge("testbed_french", "French", {"x": 1})
    points = [
        EntryPoint("broken", "no_such_module_at_all:judge", "inoc.judges"),
        EntryPoint("mine", "inoc.judge.lexical:lexical_judge", "inoc.judges"),
    ]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    JUDGES.reset()
    request.addfinalizer(JUDGES.reset)
    assert set(JUDGES.names()) >= {"logprob", "language", "testbed_french", "broken", "mine"}
    assert score(open_judge("mine", "t", {"words": "x"}), "x") == 100.0
    with pytest.raises(BackendUnavailable, match=r"'broken'.*no_such_module_at_all"):
        open_judge("broken", "t")


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    heavy = ("openai", "lingua", "tenacity", "aiolimiter", "jax")
    code = f"import sys, inoc.judge; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
