"""Stage `judge`: stored answers are scored by a judge that is new or has changed. Nothing is sampled or trained."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from inoc.errors import BadInput, IncompleteStore
from inoc.judge import Judge
from inoc.names import unknown
from inoc.plan import Judges, Study
from inoc.stages.forecast import Forecast, Row
from inoc.stages.judging import JudgedReport, judge_responses
from inoc.stages.opening import existing, open_writer
from inoc.stages.progress import UNWATCHED, Watcher
from inoc.store.schema import PENDING
from inoc.store.scored import judgments
from inoc.store.store import Store


class Waiting(NamedTuple):
    """The answers of one evaluation that one judge has not scored yet."""

    run: str
    step: int
    condition: str
    score: str
    judge: Judge


def judge_stored(study: Study, runs: Sequence[str] = (), watcher: Watcher = UNWATCHED) -> JudgedReport:
    """Score the stored answers of the runs (empty: of all) with the experiment's judges, where they have not yet; then
    these judges are the ones that count. What earlier judges said stays in the store.

    Raises:
        IncompleteStore: There is no store, or no evaluation in it.
        BadResult: 10 % or more of an evaluation could not be judged; it stays to be done.
    """
    store = _store(study)
    waiting, done = to_judge(study, store, runs)
    watcher.begin("judging", len(waiting))
    with open_writer(study, store, watcher, "judge") as writer:
        questions = {run: question_texts(study, store, run) for run in dict.fromkeys(entry.run for entry in waiting)}
        for entry in waiting:
            where, labels = f"runs/{entry.run}", store.labels(f"runs/{entry.run}/condition")
            at = store.read(f"{where}/step").tolist().index(entry.step), labels.index(entry.condition)
            texts = [str(text) for text in store.array(f"{where}/generation")[at]]
            name = f"run {entry.run}, step {entry.step}, condition {entry.condition}"
            found = judge_responses(Judges({entry.score: entry.judge}), name, questions[entry.run], texts)
            writer.put_judgments(
                entry.run,
                entry.step,
                entry.condition,
                entry.score,
                entry.judge.identity,
                found.score[0],
                found.coverage[0],
            )
            watcher.step(f"{entry.run} step {entry.step} {entry.condition}", found.means([entry.score]))
        if not runs:
            writer.set_judges(study.judges.identities())
    return JudgedReport(len(waiting), done)


def forecast_judging(study: Study, runs: Sequence[str] = ()) -> Forecast:
    """What `inoc judge` would do: answers by run and score."""
    store = _store(study)
    waiting, _ = to_judge(study, store, runs)
    counts: dict[str, int] = {}
    for entry in waiting:
        n = store.shape(f"runs/{entry.run}/instruction")[0]
        counts[f"{entry.run}, {entry.score}"] = counts.get(f"{entry.run}, {entry.score}", 0) + n
    return Forecast("judge", tuple(Row(name, "answers", n, 0) for name, n in counts.items()))


def to_judge(study: Study, store: Store, runs: Sequence[str]) -> tuple[list[Waiting], int]:
    """What is to be judged, and how many evaluations are judged already, each score counted."""
    known = [name for name in store.runs if store.has(f"runs/{name}/generation")]
    for name in runs:
        if name not in known:
            raise BadInput(unknown("run with stored answers", name, known))
    if not known:
        raise IncompleteStore(f"{store.path} has no stored answers. Fix: run `inoc evaluate`.")
    entries = [entry for name in runs or known for entry in _of_run(study, store, name)]
    waiting = [entry for entry, there in entries if not there]
    return waiting, len(entries) - len(waiting)


def _of_run(study: Study, store: Store, name: str) -> Iterator[tuple[Waiting, bool]]:
    """Every stored evaluation x score of a run, and whether the experiment's judge has scored it."""
    where = f"runs/{name}"
    steps, conditions = store.read(f"{where}/step").tolist(), store.labels(f"{where}/condition")
    first = set(zip(store.labels(f"{where}/trait"), store.labels(f"{where}/judge"), strict=True))
    later = judgments(store, name)
    for s, c in np.argwhere(store.read(f"{where}/unit_crc") != PENDING).tolist():
        for score, judge in study.judges.by_score.items():
            key = score, judge.identity
            there = key in first or (key in later and later[key].has(steps[s], conditions[c]))
            yield Waiting(name, steps[s], conditions[c], score, judge), there


def question_texts(study: Study, store: Store, run: str) -> list[str]:
    """The question that each stored answer of a run answers, without the name of its file."""
    questions, files = store.answered(run)
    several = len(set(files)) > 1 or len(study.evaluation.questions) > 1
    return [q.removeprefix(f"{f}: ") if several else q for q, f in zip(questions, files, strict=True)]


def _store(study: Study) -> Store:
    store = existing(study)
    if store is None:
        raise IncompleteStore(f"{study.store} does not exist. Fix: run `inoc evaluate`.")
    return store
