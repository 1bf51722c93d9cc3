"""The scores of a run answer by answer, with rates and later judgments, and their means by question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64

from inoc.rates import parse_rate
from inoc.store.reader import Reader
from inoc.store.schema import PENDING, ScoreInfo

PerAnswer = Float64[np.ndarray, "step condition score answer"]
PerQuestion = Float64[np.ndarray, "step condition score question"]


@dataclass(frozen=True)
class Answered:
    """What the store has of a run's evaluations, by step, condition, score and answer: `value` 0-100 and `coverage`
    0-1, NaN where not done; the judge of each score, and the question of each answer with its named file."""

    steps: tuple[int, ...]
    conditions: tuple[str, ...]
    scores: tuple[str, ...]
    judges: tuple[str, ...]
    questions: tuple[str, ...]
    files: tuple[str, ...]
    value: PerAnswer
    coverage: PerAnswer

    def with_score(self, name: str, judge: str, value: np.ndarray, coverage: np.ndarray) -> "Answered":
        """The same with a score [step, condition, answer] added, or replaced where it is there already."""
        rest = [i for i, other in enumerate(self.scores) if other != name]
        place = self.scores.index(name) if name in self.scores else len(rest)
        names, judges = ([labels[i] for i in rest] for labels in (self.scores, self.judges))
        return replace(
            self,
            scores=(*names[:place], name, *names[place:]),
            judges=(*judges[:place], judge, *judges[place:]),
            value=np.insert(self.value[:, :, rest], place, value, axis=2),
            coverage=np.insert(self.coverage[:, :, rest], place, coverage, axis=2),
        )


def answered(store: Reader, name: str) -> Answered:
    """A run as its answers are judged now: by the current judge of each score where that has judged them, else by the
    one that is stored with the run; rates follow from these."""
    where = f"runs/{name}"
    value, coverage = (store.read(f"{where}/{variable}") for variable in ("score", "coverage"))
    questions, files = store.answered(name)
    part = Answered(
        tuple(store.read(f"{where}/step").tolist()),
        store.labels(f"{where}/condition"),
        store.labels(f"{where}/trait"),
        store.labels(f"{where}/judge"),
        questions,
        files,
        value,
        coverage,
    )
    current = {score.name: score.judge for score in store.measured}
    for key, rows in judgments(store, name).items():
        score, judge = key
        if current.get(score) == judge:
            part = part.with_score(score, judge, *aligned(part, rows))
    return with_rates(part, store.measured)


OTHER_JUDGE = " by "
"""Between the name of a score and a judge that gave it too."""


def with_other_judges(store: Reader, name: str, part: Answered) -> Answered:
    """A run with the scores of the judges that do not count now beside those that do, under "NAME by JUDGE"."""
    where, current = f"runs/{name}", dict(zip(part.scores, part.judges, strict=True))
    for i, key in enumerate(zip(*(store.labels(f"{where}/{v}") for v in ("trait", "judge")), strict=True)):
        if current.get(key[0]) != key[1]:
            value, coverage = (store.read(f"{where}/{v}")[:, :, i] for v in ("score", "coverage"))
            part = part.with_score(OTHER_JUDGE.join(key), key[1], value, coverage)
    for key, rows in judgments(store, name).items():
        if current.get(key[0]) != key[1]:
            part = part.with_score(OTHER_JUDGE.join(key), key[1], *aligned(part, rows))
    return part


@dataclass(frozen=True)
class Judgments:
    """What one judge gave the stored answers of a run afterwards: [step, condition, answer], NaN where not judged."""

    steps: tuple[int, ...]
    conditions: tuple[str, ...]
    done: Bool[np.ndarray, "step condition"]
    value: Float64[np.ndarray, "step condition answer"]
    coverage: Float64[np.ndarray, "step condition answer"]

    def has(self, step: int, condition: str) -> bool:
        """Whether an evaluation is judged."""
        if step not in self.steps or condition not in self.conditions:
            return False
        return bool(self.done[self.steps.index(step), self.conditions.index(condition)])


def judgments(store: Reader, name: str) -> dict[tuple[str, str], Judgments]:
    """The later judgments of a run by (score, judge)."""
    where = f"judgments/{name}"
    if not store.has(where):
        return {}
    steps, conditions = tuple(store.read(f"{where}/step").tolist()), store.labels(f"{where}/condition")
    done = store.read(f"{where}/score_crc") != PENDING
    value, coverage = (store.read(f"{where}/{variable}") for variable in ("value", "coverage"))
    keys = zip(store.labels(f"{where}/score"), store.labels(f"{where}/judge"), strict=True)
    return {
        key: Judgments(steps, conditions, done[:, :, i], value[:, :, i], coverage[:, :, i])
        for i, key in enumerate(keys)
    }


def aligned(part: Answered, rows: Judgments) -> tuple[np.ndarray, np.ndarray]:
    """Judgments on the steps and conditions of a run."""
    shape = (len(part.steps), len(part.conditions), len(part.questions))
    value, coverage = np.full(shape, np.nan), np.full(shape, np.nan)
    at = np.ix_([part.steps.index(s) for s in rows.steps], [part.conditions.index(c) for c in rows.conditions])
    value[at], coverage[at] = rows.value, rows.coverage
    return value, coverage


def with_rates(part: Answered, measured: Sequence[ScoreInfo]) -> Answered:
    """A run with the rates that its scores allow. A rate has the judges of the scores it needs, and the least of their
    coverages."""
    for score in measured:
        if not score.rate or score.name in part.scores:
            continue
        rate = parse_rate(score.rate)
        if not set(rate.names) <= set(part.scores):
            continue
        at = [part.scores.index(name) for name in rate.names]
        values = rate.of({name: part.value[:, :, i] for name, i in zip(rate.names, at, strict=True)})
        of = "; ".join(f"{name}: {part.judges[i]}" for name, i in zip(rate.names, at, strict=True))
        part = part.with_score(score.name, f"rate:{rate.text} ({of})", values, part.coverage[:, :, at].min(axis=2))
    return part


@dataclass(frozen=True)
class ByQuestion:
    """A run with its answers averaged by question: the unit that was drawn, so that every interval rests on it.
    `answers` have the score, of all that were `asked`; NaN where none has."""

    questions: tuple[str, ...]
    files: tuple[str, ...]
    value: PerQuestion
    coverage: PerQuestion
    answers: Int64[np.ndarray, "step condition score question"]
    asked: Int64[np.ndarray, " question"]


def by_question(part: Answered) -> ByQuestion:
    """Means over the answers to each question."""
    file = dict(zip(part.questions, part.files, strict=True))
    place = {question: i for i, question in enumerate(file)}
    index = np.array([place[question] for question in part.questions], dtype=np.int64)
    asked = np.bincount(index, minlength=len(file))
    if (asked == 1).all():
        return ByQuestion(
            tuple(file),
            tuple(file.values()),
            part.value,
            part.coverage,
            np.isfinite(part.value).astype(np.int64),
            asked,
        )
    value, answers = _means(part.value, index, len(file))
    coverage, _ = _means(part.coverage, index, len(file))
    return ByQuestion(tuple(file), tuple(file.values()), value, coverage, answers, asked)


def _means(values: PerAnswer, index: Int64[np.ndarray, " answer"], n: int) -> tuple[PerQuestion, np.ndarray]:
    """The mean of the finite values of each group along the last dim, and how many there are."""
    known = np.isfinite(values)
    member = (index[:, None] == np.arange(n)).astype(np.float64)
    sums, counts = np.where(known, values, 0.0) @ member, (known @ member).astype(np.int64)
    with np.errstate(invalid="ignore"):
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan), counts


def conditions_of(store: Reader, names: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """The stored runs that make up each run: itself, and the one in which earlier versions kept the prompts that were
    tried on it."""
    parts: dict[str, tuple[str, ...]] = {}
    for name in names:
        whole = store.run(name).leak_of or name
        parts[whole] = (*parts.get(whole, ()), name)
    return {name: found for name, found in parts.items() if name in names}
