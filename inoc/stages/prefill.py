"""Stage `prefill`: what every checkpoint does after forced beginnings of an answer, judged like any answer.

Answers and log-probabilities are kept on disk until the counts of their run are stored, so that a kill repeats
nothing that was finished.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import cast

import numpy as np

from inoc.backends import check_scores
from inoc.backends.protocols import Checkpoint, Scorer, ScoreRequest
from inoc.experiment import Run
from inoc.hashing import content_hash
from inoc.plan import Study, plan_training
from inoc.plan.identity import answers_identity
from inoc.plan.prefills import (
    Donor,
    donor_questions,
    donors_of_file,
    level_questions,
    prefill_settings,
    prefill_steps,
    prefills_of,
)
from inoc.plan.training import training_folder
from inoc.stages.capable import capable
from inoc.stages.evaluate import trained
from inoc.stages.forecast import Forecast, Row, price_of
from inoc.stages.judging import JudgedReport, judge_responses
from inoc.stages.opening import existing, open_writer
from inoc.stages.progress import UNWATCHED, Watcher
from inoc.stages.sampling import sample
from inoc.stages.trained import Trained, read_record
from inoc.stages.work import keep_rows, kept_rows
from inoc.store.fingerprint import difference, refuse
from inoc.store.prefills import PrefillCounts
from inoc.store.store import Store


def prefill(study: Study, runs: Sequence[str] = (), watcher: Watcher = UNWATCHED) -> JudgedReport:
    """Measure every run (empty: all) that has no counts yet.

    Raises:
        IncompleteStore: A run, or the donor's, is not trained yet.
        OtherSettings: The store holds counts made with other settings.
        BadResult: 10 % or more of a cell could not be judged.
    """
    capable(study.backend, Scorer, "score")
    prefills_of(study)
    chosen = study.runs(runs)
    records = {run.name: trained(study, run.name) for run in chosen}
    store = existing(study)
    waiting = [run for run in chosen if not _stored(store, study, run.name)]
    with open_writer(study, store, watcher, "prefill") as writer:
        watcher.begin("prefilling", len(waiting) * len(prefills_of(study).levels))
        for run in waiting:
            writer.put_prefill_counts(run.name, _measure(study, run, records[run.name], watcher))
    return JudgedReport(len(waiting), len(chosen) - len(waiting))


def forecast_prefills(study: Study, runs: Sequence[str] = ()) -> Forecast:
    """What `inoc prefill` would do: answers by run, at their full length. What is on disk already counts as open."""
    settings, store = prefills_of(study), existing(study)
    rows: list[Row] = []
    for run in study.runs(runs):
        record = read_record(training_folder(study, run.name))
        updates = record.updates if record else plan_training(study, [run.name])[0].updates
        steps = len(prefill_steps(study, run, updates))
        total = steps * len(settings.levels) * settings.n
        done = total if _stored(store, study, run.name) else 0
        longest = study.evaluation.max_tokens + max(len(study.chat.context(text)) for text in study.instructions)
        donors = settings.texts * (steps if settings.source == "self" else 1)
        tokens = 0 if done else (total + 2 * donors + steps * settings.texts) * longest
        rows.append(Row(run.name, "answers", total, done, tokens, "" if record else "not trained yet"))
    return Forecast("prefill", tuple(rows), price_of(study, sum(row.tokens for row in rows), "sample"))


def _stored(store: Store | None, study: Study, run: str) -> bool:
    """Whether a run's counts are stored; OtherSettings where they were made with others."""
    if store is None or not store.has(f"emergence/{run}"):
        return False
    stored = cast("Mapping[str, object]", store.attributes(f"emergence/{run}")["settings"])
    refuse(study.store, difference(stored, prefill_settings(study), f"emergence.{run}."))
    return True


def _measure(study: Study, run: Run, record: Trained, watcher: Watcher) -> PrefillCounts:
    settings = prefills_of(study)
    steps, levels, traits = prefill_steps(study, run, record.updates), settings.levels, study.judges.scores
    shape = len(steps), len(levels), settings.texts, len(traits)
    successes, trials = np.zeros((2, *shape), np.int64)
    surprisal, neg_kl = np.full((2, *shape), np.nan)
    base = np.full(shape[:3], np.nan)
    text = np.full(shape[:3], "", dtype=object)
    donor = record
    if settings.source == "run" and settings.run is not None:
        donor = trained(study, settings.run)
    donors = () if settings.source == "self" else _donors(study, run.name, donor.last, None)
    theirs = _forced_logprobs(study, run.name, "donor", donors, donor.last) if settings.source == "run" else None
    in_base = _forced_logprobs(study, run.name, "base", donors, None)
    for c, step in enumerate(steps):
        checkpoint = record.at(step)
        if settings.source == "self":
            donors = _donors(study, run.name, checkpoint, step)
            in_base = _forced_logprobs(study, run.name, f"{step}-base", donors, None)
        mine = _forced_logprobs(study, run.name, f"{step}", donors, checkpoint)
        for p, level in enumerate(levels):
            texts = level_questions(study, run.name, step, level, donors)
            (answers,) = sample(study, [texts], checkpoint)
            cell = f"run {run.name}, step {step}, prefill {level}"
            judged = judge_responses(
                study.judges, cell, [q.instruction for q in texts.questions], [answer.text for answer in answers]
            )
            for k, question in enumerate(texts.questions):
                i = int(question.id.split("/")[1])
                known = np.isfinite(judged.score[:, k])
                trials[c, p, i] += known
                successes[c, p, i] += known & (judged.score[:, k] >= settings.threshold)
                text[c, p, i] = study.chat.tokenizer.decode(question.forced, skip_special_tokens=True)
                surprisal[c, p, i] = -mine[i][level]
                base[c, p, i] = -in_base[i][level]
                if theirs is not None:
                    neg_kl[c, p, i] = mine[i][level] - theirs[i][level]
            watcher.step(f"{run.name} step {step} prefill {level}", judged.means(traits))
    questions = [donor.instruction for donor in donors]
    return PrefillCounts(
        steps, levels, traits, questions, text, successes, trials, np.maximum(surprisal, 0.0), neg_kl, settings.source,
        prefill_settings(study), np.maximum(base, 0.0),
    )  # fmt: skip


def _donors(study: Study, run: str, checkpoint: Checkpoint | None, step: int | None) -> tuple[Donor, ...]:
    """The answers whose beginnings are forced: of the experiment's file, or sampled from a checkpoint."""
    if prefills_of(study).source == "file":
        return donors_of_file(study)
    asked = donor_questions(study, run, step)
    (answers,) = sample(study, [asked], checkpoint)
    return tuple(
        Donor(question.instruction, study.chat.completion(answer.text, "stop" if answer.finish == "stop" else "length"))
        for question, answer in zip(asked.questions, answers, strict=True)
    )


def _forced_logprobs(
    study: Study, run: str, name: str, donors: Sequence[Donor], checkpoint: Checkpoint | None
) -> list[list[float]]:
    """By donor answer, the log-probability of its first 0, 1, 2, ... tokens; kept on disk."""
    longest = prefills_of(study).levels[-1]
    requests = [
        ScoreRequest(str(i), study.chat.context(donor.instruction), donor.tokens[:longest], checkpoint)
        for i, donor in enumerate(donors)
    ]
    file = study.work / "samples" / "prefills" / run / f"{name}-logprobs.jsonl"
    mark = answers_identity(content_hash([[r.context, r.completion] for r in requests]), checkpoint)
    kept = kept_rows(file, mark, len(requests))
    if kept is not None:
        return [list(cast("Sequence[float]", row["logprobs"])) for row in kept]
    scorer = capable(study.backend, Scorer, "score")
    found: dict[int, list[float]] = {
        int(result.id): [0.0, *accumulate(float(value) for value in result.logprobs)]
        for result in check_scores(requests, scorer.score(requests))
    }
    rows = [found[i] for i in range(len(requests))]
    keep_rows(file, mark, [{"logprobs": list(row)} for row in rows])
    return rows
