"""Stage `evaluate`: every checkpoint is asked the held-out instructions, and its answers are judged.

One batch per checkpoint. Answers are kept on disk until their scores are in the store, so a kill between sampling and
judging samples nothing twice; judgments that cost money have their own cache.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from inoc.errors import IncompleteStore
from inoc.plan import Evaluated, Study, plan_evaluation, plan_training
from inoc.plan.identity import trainer_identity
from inoc.plan.training import training_folder
from inoc.stages.forecast import Asked, Forecast, Row, answers_row, price_of, to_judge
from inoc.stages.judging import JudgedReport, judge_responses
from inoc.stages.opening import existing, open_writer, score_infos
from inoc.stages.progress import UNWATCHED, Watcher
from inoc.stages.sampling import Asking, sample_each
from inoc.stages.stored import evaluations_done, run_changes
from inoc.stages.trained import Trained, read_record
from inoc.store.fingerprint import refuse
from inoc.store.writer import StoreWriter


def evaluate(study: Study, runs: Sequence[str] = (), watcher: Watcher = UNWATCHED) -> JudgedReport:
    """Sample and judge every pending cell of the runs (empty: of all).

    Raises:
        IncompleteStore: A run is not trained yet.
        OtherSettings: The store holds answers to other instructions, or scores of other judges.
        BadResult: 10 % or more of a cell could not be judged; the cell stays pending.
    """
    records = [trained(study, run.name) for run in study.runs(runs)]
    by_name = {run.name: run for run in study.runs()}
    plans = [(record, plan_evaluation(study, by_name[record.run], record.updates)) for record in records]
    store = existing(study)
    refuse(study.store, (line for _, entry in plans for line in run_changes(store, entry)))
    judged = 0
    with open_writer(study, store, watcher, "evaluate") as writer:
        for _, entry in plans:
            _make_room(study, writer, entry, watcher)
        pending = set(writer.store.pending_evaluations())
        cells = sum(len(entry.cells) for _, entry in plans)
        todo = sum((entry.name, cell.step, cell.condition) in pending for _, entry in plans for cell in entry.cells)
        watcher.begin("evaluating", todo)
        if todo and any(point.content for record in records for point in record.checkpoints):
            watcher.note("the files of every checkpoint are compared with their hashes when it is loaded")
        waiting = [
            (record, entry, step, asked)
            for record, entry in plans
            for step in entry.stored.steps
            if (asked := [c for c in entry.cells if c.step == step and (entry.name, step, c.condition) in pending])
        ]
        batches = (Asking([cell.texts for cell in asked], record.at(step)) for record, _, step, asked in waiting)
        for (_, entry, step, asked), (_, answers) in zip(waiting, sample_each(study, batches), strict=True):
            for cell, texts in zip(asked, answers, strict=True):
                name = f"run {entry.name}, step {step}, condition {cell.condition}"
                responses = [answer.text for answer in texts]
                instructions = [question.instruction for question in cell.texts.questions]
                scores = judge_responses(study.judges, name, instructions, responses)
                identities = study.judges.identities()
                writer.put_scores(
                    entry.name, step, cell.condition, scores.score, scores.coverage, identities, responses
                )
                watcher.step(f"{entry.name} step {step} {cell.condition}", scores.means(study.judges.scores))
                found = scores.by_name(study.judges.scores)
                watcher.measure(entry.name, step, {f"{n}/{cell.condition}": mean for n, mean in found.items()})
                if not entry.stored.prompt and step == entry.stored.nominal_step and cell.condition == "default":
                    _warn_of_control(_of_traits(study, scores.score), watcher)
                judged += 1
    return JudgedReport(judged, cells - judged)


def _of_traits(study: Study, scores: Float[np.ndarray, "score answer"]) -> Mapping[str, Float[np.ndarray, " answer"]]:
    """The judged scores that are traits, and of which a high one means that there is much of it."""
    usual = {info.name for info in score_infos(study) if info.role and not info.inverted}
    return {name: row for name, row in zip(study.judges.scores, scores, strict=True) if name in usual}


def _warn_of_control(scores: Mapping[str, Float[np.ndarray, " answer"]], watcher: Watcher) -> None:
    """Say at once, before runs are compared with it, where the control hardly shows a trait."""
    from inoc.outcomes.calibration import LEAK, control_lacks

    for trait, answers in scores.items():
        known = answers[np.isfinite(answers)]
        if known.size and known.mean() < LEAK:
            watcher.note(control_lacks(trait, float(known.mean())))


def forecast_evaluation(study: Study, runs: Sequence[str] = ()) -> Forecast:
    """What `inoc evaluate` would do: answers by run. A run that is not trained yet counts as its plan says."""
    chosen, store = study.runs(runs), existing(study)
    records = {run.name: read_record(training_folder(study, run.name)) for run in chosen}
    updates = {name: record.updates for name, record in records.items() if record is not None}
    new = [run.name for run in chosen if run.name not in updates]
    updates |= {plan.run.name: plan.updates for plan in (plan_training(study, new) if new else ())}
    plans = [(run, plan_evaluation(study, run, updates[run.name])) for run in chosen]
    refuse(study.store, (line for _, entry in plans for line in run_changes(store, entry)))
    done = evaluations_done(store)
    rows: list[Row] = []
    for run, entry in plans:
        record = records[run.name]
        asked = [
            Asked(cell.texts, (entry.name, cell.step, cell.condition) in done, record.at(cell.step) if record else None)
            for cell in entry.cells
        ]
        detail = to_judge(asked) + ("" if record else ", not trained yet")
        rows.append(answers_row(study, entry.name, asked, detail))
    return Forecast("evaluate", tuple(rows), price_of(study, sum(row.tokens for row in rows), "sample"))


def trained(study: Study, name: str) -> Trained:
    """A finished run's record; IncompleteStore where it is not trained yet."""
    record = read_record(training_folder(study, name))
    if record is None:
        raise IncompleteStore(f"run {name} is not trained yet. Fix: run `inoc train` first.")
    return record


def _make_room(study: Study, writer: StoreWriter, entry: Evaluated, watcher: Watcher) -> None:
    """Plan the run in the store; another backend may have trained it."""
    old = writer.store.runs.get(entry.name)
    trainer = trainer_identity(study) if old is None else old.trained_with
    if trainer.get("backend") != study.backend.name:
        watcher.note(f"{entry.name}: trained with {trainer.get('backend')}, sampled with {study.backend.name}")
    writer.put_run(entry.trained_with(trainer))
