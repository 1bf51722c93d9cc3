"""The answers that the page shows side by side: every run and condition of some questions, with scores and coverage."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inoc.errors import IncompleteStore
from inoc.outcomes.stored_answers import OTHER_JUDGE, Answer, answers, better_high, questions_asked
from inoc.store.store import Store

MOST_ANSWERS = 1500
"""Answers on one page."""
MOST_CHARACTERS = 1200
"""Of one answer; a longer one is cut, and says so."""
MOST_QUESTIONS = 40
MOST_SAMPLES = 5
"""Answers of one run and condition to one question."""


@dataclass(frozen=True)
class AnswerScore:
    """A score of the answers: its name, the judge where it is not the one that counts now, which end is good, and
    whether the experiment says so."""

    of: str
    judge: str
    high_is_good: bool
    directed: bool


@dataclass(frozen=True)
class ShownAnswer:
    """One answer: its place among the questions, who gave it, its text with how many characters are cut off, its scores
    and coverage (None = missing)."""

    question: int
    run: str
    condition: str
    step: int
    sample: int
    text: str
    left_out: int
    scores: list[float | None]
    coverage: list[float | None]


@dataclass(frozen=True)
class AnswerView:
    """Everything the page says about answers; without answers it has no questions, and no section. `runs` and
    `conditions` are those of all answers; with a `note` answers are left out."""

    questions: list[str]
    scores: list[AnswerScore]
    runs: list[str]
    conditions: list[str]
    answers: list[ShownAnswer]
    note: str


@dataclass(frozen=True)
class AnswerPage:
    """Some of all answers that a live page asked for: `question` of each is a place in `questions`; `found`: how many
    there are in all."""

    questions: list[str]
    answers: list[ShownAnswer]
    found: int


def answer_view(store: Store, seed: int) -> AnswerView:
    """The last step's answers to questions drawn at random, as many as fit with all runs and conditions side by
    side."""
    asked = questions_asked(store)
    drawn: list[str] = [asked[int(i)] for i in np.random.default_rng(seed).permutation(len(asked))[:MOST_QUESTIONS]]
    try:
        found = answers(store, questions=drawn, every_judge=True) if drawn else []
    except IncompleteStore:
        found = []
    if not found:
        return AnswerView([], [], [], [], [], "")
    few = [answer for answer in found if answer.sample <= MOST_SAMPLES]
    while len(drawn) > 1 and sum(answer.question in drawn for answer in few) > MOST_ANSWERS:
        drawn.pop()
    few = [answer for answer in few if answer.question in drawn][:MOST_ANSWERS]
    questions = [question for question in asked if question in drawn]
    scores = _scores(store, few)
    shown = [_shown(answer, questions.index(answer.question), scores) for answer in few]
    runs, conditions = (list(dict.fromkeys(getattr(a, name) for a in found)) for name in ("run", "condition"))
    return AnswerView(questions, scores, runs, conditions, shown, _note(len(questions), len(asked), found, few))


def answer_page(
    found: Sequence[Answer],
    view: AnswerView,
    *,
    question: str = "",
    run: str = "",
    condition: str = "",
    order: str = "",
    find: str = "",
    most: int,
) -> AnswerPage:
    """Those of all answers that the page asks for, in its order: as `answers.js` chooses among those it has.

    Args:
        found: Every answer of the last step.
        view: What the page was given before.
        question: A place in the view's questions; "" for all questions.
        run, condition: Only these, if not "".
        order: "" by question and run, "judges" for the most disputed first, or a place in the view's scores.
        find: Words of the answer or its question.
        most: Answers to send.
    """
    words, asked = find.lower(), view.questions[int(question)] if question else ""
    kept = [
        answer
        for answer in found
        if (not asked or answer.question == asked)
        and (not run or answer.run == run)
        and (not condition or answer.condition == condition)
        and (words in answer.text.lower() or words in answer.question.lower())
    ]
    if order == "judges":
        kept.sort(key=lambda answer: -_disputed(answer, view.scores))
    elif order:
        score = view.scores[int(order)]
        name, sign = _name(score), 1.0 if score.high_is_good else -1.0
        kept.sort(key=lambda answer: np.inf if (value := answer.scores.get(name)) is None else sign * value)
    else:
        place = {text: i for i, text in enumerate(dict.fromkeys(answer.question for answer in found))}
        kept.sort(key=lambda a: (place[a.question], a.sample, view.conditions.index(a.condition)))
    shown = kept[:most]
    questions = list(dict.fromkeys(answer.question for answer in shown))
    return AnswerPage(
        questions, [_shown(answer, questions.index(answer.question), view.scores) for answer in shown], len(kept)
    )


def _name(score: AnswerScore) -> str:
    return score.of + (OTHER_JUDGE + score.judge if score.judge else "")


def _disputed(answer: Answer, scores: Sequence[AnswerScore]) -> float:
    """How far the judges of one score are apart; -1 where no score has two of them."""
    given: dict[str, list[float]] = {}
    for score in scores:
        if (value := answer.scores.get(_name(score))) is not None:
            given.setdefault(score.of, []).append(value)
    return max((max(values) - min(values) for values in given.values() if len(values) > 1), default=-1.0)


def _scores(store: Store, found: Sequence[Answer]) -> list[AnswerScore]:
    """The scores of the answers, those of other judges beside the one that counts."""
    measured = [score.name for score in store.measured]
    directed = {score.name for score in store.measured if score.role or score.better}
    scores: dict[str, AnswerScore] = {}
    for name in (name for answer in found for name in answer.scores):
        of, _, judge = name.partition(OTHER_JUDGE)
        of, judge = (name, "") if name in measured else (of, judge)
        scores.setdefault(name, AnswerScore(of, judge, better_high(store, of), of in directed))
    return sorted(
        scores.values(), key=lambda score: measured.index(score.of) if score.of in measured else len(measured)
    )


def _shown(answer: Answer, question: int, scores: Sequence[AnswerScore]) -> ShownAnswer:
    names = [_name(score) for score in scores]
    return ShownAnswer(
        question,
        answer.run,
        answer.condition,
        answer.step,
        answer.sample,
        answer.text[:MOST_CHARACTERS],
        max(0, len(answer.text) - MOST_CHARACTERS),
        [answer.scores.get(name) for name in names],
        [answer.coverage.get(name) for name in names],
    )


def _note(shown: int, asked: int, found: Sequence[Answer], few: Sequence[Answer]) -> str:
    """What is left out, and where all of it is read."""
    parts: list[str] = []
    if shown < asked:
        parts.append(f"{shown} of {asked} questions, drawn at random.")
    questions = {answer.question for answer in few}
    of_these = sum(answer.question in questions for answer in found)
    if len(few) < of_these:
        parts.append(f"{len(few)} of their {of_these} answers.")
    return " ".join([*parts, "`inoc answers` reads all."] if parts else [])
