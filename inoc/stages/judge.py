"""Stage `judge`: stored answers are scored by a judge that is new or has changed. Nothing is sampled or trained.

The store has the answers of evaluations; those of the elicitation are kept in the study's work folder.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from inoc.errors import IncompleteStore
from inoc.judge import Judge
from inoc.names import refuse_unknown
from inoc.plan import Judges, Study
from inoc.plan.texts import elicitation_texts
from inoc.stages.forecast import Forecast, Row
from inoc.stages.judging import JudgedReport, judge_responses
from inoc.stages.opening import existing, open_writer
from inoc.stages.progress import UNWATCHED, Watcher
from inoc.stages.sampling import kept_answers
from inoc.stages.stored import prompts_elicited
from inoc.store.schema import PENDING
from inoc.store.scored import judgments
from inoc.store.store import Store
from inoc.store.writer import StoreWriter


class Waiting(NamedTuple):
    """The answers of one evaluation that one judge has not scored yet."""

    run: str
    step: int
    condition: str
    score: str
    judge: Judge


def judge_stored(study: Study, runs: Sequence[str] = (), watcher: Watcher = UNWATCHED) -> JudgedReport:
    """Score the stored answers of the runs (empty: of all) with the experiment's judges, where they have not yet; then
    these judges are the ones that count. What earlier judges said of runs stays in the store. Without `runs`, the
    elicitation is judged again too, all prompts or none: its new scores replace the old.

    Raises:
        IncompleteStore: There is no store, or no evaluation in it.
        BadResult: 10 % or more of an evaluation could not be judged; it stays to be done.
    """
    store = _store(study)
    waiting, done = to_judge(study, store, runs)
    prompts: Elicited = {} if runs else elicited(study, store, watcher)
    count = len(waiting) + len(prompts) * len(_new_judges(study, store))
    watcher.begin("judging", len(waiting) + len(prompts))
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
        if prompts:
            _judge_elicitation(study, writer, prompts, watcher)
        if not runs:
            writer.set_judges(study.judges.identities())
    return JudgedReport(count, done)


Elicited = Mapping[str, Sequence[str]]
"""The answers under each prompt; the key "" means without a prompt."""


def _new_judges(study: Study, store: Store) -> dict[str, Judge]:
    """The judges that have not scored the stored elicitation, by score."""
    if not store.has("elicitation"):
        return {}
    known = set(zip(store.labels("elicitation/trait"), store.labels("elicitation/judge"), strict=True))
    return {name: judge for name, judge in study.judges.by_score.items() if (name, judge.identity) not in known}


def elicited(study: Study, store: Store, watcher: Watcher = UNWATCHED) -> Elicited:
    """The answers of the stored elicitation that are to be judged: none where no judge is new, and none, with a note,
    where the work folder lacks the answers of a prompt."""
    if not _new_judges(study, store):
        return {}
    keys = [*({""} & prompts_elicited(store)), *store.labels("elicitation/prompt")]
    lost = [key for key in keys if key and key not in study.prompts()]
    found = {} if lost else elicitation_texts(study, keys)
    kept = {key: kept_answers(texts) for key, texts in found.items()}
    lost += [key or "(no prompt)" for key, answers in kept.items() if answers is None]
    if lost:
        watcher.note(
            f"the elicitation keeps its judges: the work folder has no answers of {', '.join(lost)} to the file's "
            "questions. Fix: run `inoc elicit` with another store."
        )
        return {}
    return {key: [answer.text for answer in answers or ()] for key, answers in kept.items()}


def _judge_elicitation(study: Study, writer: StoreWriter, prompts: Elicited, watcher: Watcher) -> None:
    """Judge every answer by the judges that are new; what the others gave is taken from the store."""
    store, judges, names = writer.store, _new_judges(study, writer.store), study.judges.scores
    old, rows = store.labels("elicitation/trait"), store.labels("elicitation/prompt")
    shape = len(names), len(rows) + 1, len(study.instructions)
    score, coverage = np.full(shape, np.nan), np.full(shape, np.nan)
    for i, name in enumerate(names):
        if name not in judges:
            place = old.index(name)
            score[i, 0] = store.read("elicitation/baseline")[place]
            score[i, 1:] = store.read("elicitation/score")[place]
            coverage[i, 1:] = store.read("elicitation/coverage")[place] if store.has("elicitation/coverage") else np.nan
    new = [names.index(name) for name in judges]
    for key, answers in prompts.items():
        cell = f"elicitation, {f'prompt {key}' if key else 'no prompt'}"
        found, at = judge_responses(Judges(judges), cell, study.instructions, answers), ("", *rows).index(key)
        score[new, at], coverage[new, at] = found.score, found.coverage
        watcher.step(key or "no prompt", found.means(list(judges)))
    writer.put_elicitation(
        prompts=rows, traits=names, instructions=study.instruction_labels, score=score[:, 1:],
        coverage=coverage[:, 1:], baseline=score[:, 0], judges=list(study.judges.identities().values()),
        sampling=study.sampling_settings, again=True,
    )  # fmt: skip


def forecast_judging(study: Study, runs: Sequence[str] = ()) -> Forecast:
    """What `inoc judge` would do: answers by run and score."""
    store = _store(study)
    waiting, _ = to_judge(study, store, runs)
    counts: dict[str, int] = {}
    for entry in waiting:
        n = store.shape(f"runs/{entry.run}/instruction")[0]
        counts[f"{entry.run}, {entry.score}"] = counts.get(f"{entry.run}, {entry.score}", 0) + n
    for name in _new_judges(study, store) if not runs else ():
        n = sum(map(len, elicited(study, store).values()))
        counts |= {f"elicitation, {name}": n} if n else {}
    return Forecast("judge", tuple(Row(name, "answers", n, 0) for name, n in counts.items()))


def to_judge(study: Study, store: Store, runs: Sequence[str]) -> tuple[list[Waiting], int]:
    """What is to be judged, and how many evaluations are judged already, each score counted."""
    known = [name for name in store.runs if store.has(f"runs/{name}/generation")]
    refuse_unknown("run with stored answers", runs, known)
    if not known and not store.has("elicitation"):
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
