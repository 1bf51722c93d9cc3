"""The stored answers side by side: texts with their scores, by question, run and condition."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from inoc.errors import IncompleteStore
from inoc.names import refuse_unknown
from inoc.store.scored import OTHER_JUDGE, answered, conditions_of, with_other_judges
from inoc.store.store import Store

__all__ = ["OTHER_JUDGE", "Answer", "answers", "better_high", "questions_asked"]


class Answer(NamedTuple):
    """One stored answer. `scores` and `coverage` by the name of the score, 0-100 and 0-1; None where missing."""

    run: str
    step: int
    condition: str
    file: str
    question: str
    sample: int
    text: str
    scores: dict[str, float | None]
    coverage: dict[str, float | None]


def answers(
    store: Store,
    *,
    runs: Sequence[str] = (),
    conditions: Sequence[str] = (),
    question: str = "",
    search: str = "",
    worst: str | None = None,
    disagreement: tuple[str, str] | None = None,
    step: int | None = None,
    questions: Collection[str] | None = None,
    every_judge: bool = False,
) -> list[Answer]:
    """The answers of a store, those to one question next to each other.

    `runs`, `conditions` and `questions` (in their own words): only these. `question` and `search`: only questions, or
    answers, that contain this, whatever its case. `worst`: a score by which the worst come first; `disagreement`: two
    scores, and the answers on which they differ most come first. `step`: None for each run's last stored one.
    `every_judge`: beside each score also what other judges gave, as "NAME by JUDGE". BadInput for an unknown name,
    IncompleteStore where the store keeps no answers.
    """
    wholes = conditions_of(store, store.subgroups("runs"))
    refuse_unknown("run", runs, wholes)
    chosen = list(runs) or list(wholes)
    found: list[Answer] = []
    known: dict[str, None] = {}
    seen: dict[str, None] = {}
    for run in chosen:
        for name in wholes[run]:
            if store.has(f"runs/{name}/generation"):
                part = _of_run(store, run, name, step, questions, every_judge)
                known |= dict.fromkeys(score for answer in part for score in answer.scores)
                seen |= dict.fromkeys(store.labels(f"runs/{name}/condition"))
                found += part
    if not found:
        raise IncompleteStore(f"{store.path.name} keeps no answers of these runs. Fix: make them with `inoc evaluate`.")
    refuse_unknown("condition", conditions, seen)
    refuse_unknown("score", [s for s in (worst, *(disagreement or ())) if s], known)
    kept = [
        answer
        for answer in found
        if (not conditions or answer.condition in conditions)
        and question.casefold() in answer.question.casefold()
        and search.casefold() in answer.text.casefold()
    ]
    place = {question: i for i, question in enumerate(dict.fromkeys(answer.question for answer in kept))}
    if disagreement is not None:
        return sorted(kept, key=lambda a: -_difference(a, *disagreement))
    if worst is None:
        return sorted(kept, key=lambda a: (place[a.question], chosen.index(a.run)))
    sign = 1.0 if better_high(store, worst) else -1.0
    return sorted(kept, key=lambda a: _value(a, worst, sign))


def questions_asked(store: Store) -> list[str]:
    """Every question that the runs with stored answers were asked."""
    names = [name for name in store.subgroups("runs") if store.has(f"runs/{name}/generation")]
    return list(dict.fromkeys(question for name in names for question in store.answered(name)[0]))


def _of_run(
    store: Store, run: str, name: str, step: int | None, wanted_questions: Collection[str] | None, every_judge: bool
) -> list[Answer]:
    part, where = answered(store, name), f"runs/{name}"
    if every_judge:
        part = with_other_judges(store, name, part)
    done = np.asarray(np.isfinite(part.value).any(axis=(2, 3)))
    last = max((s for s, row in zip(part.steps, done, strict=True) if row.any()), default=None)
    wanted = last if step is None else step
    if wanted is None or wanted not in part.steps:
        return []
    s = part.steps.index(wanted)
    found: list[Answer] = []
    texts = store.array(f"{where}/generation")
    for c in np.flatnonzero(done[s]):
        samples: dict[str, int] = {}
        for i, text in enumerate(texts[s, int(c)].tolist()):
            question = part.questions[i]
            samples[question] = samples.get(question, 0) + 1
            if wanted_questions is not None and question not in wanted_questions:
                continue
            scores, coverage = (
                {n: _plain(values[s, c, k, i]) for k, n in enumerate(part.scores)}
                for values in (part.value, part.coverage)
            )
            about = part.conditions[c], part.files[i], question, samples[question], str(text)
            found.append(Answer(run, wanted, *about, scores, coverage))
    return found


def _plain(value: np.float64) -> float | None:
    return round(float(value), 3) if np.isfinite(value) else None


def better_high(store: Store, score: str) -> bool:
    """Whether a high score is good (`ScoreInfo.high_is_good`); of one that the store does not know, a low one is."""
    return any(info.high_is_good for info in store.measured if info.name == score)


def _value(answer: Answer, score: str, sign: float) -> float:
    """For sorting, the worst first and those without a score last."""
    value = answer.scores.get(score)
    return np.inf if value is None else sign * value


def _difference(answer: Answer, first: str, second: str) -> float:
    a, b = answer.scores.get(first), answer.scores.get(second)
    return -1.0 if a is None or b is None else abs(a - b)
