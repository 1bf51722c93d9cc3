"""Stage `evaluate`: every checkpoint is asked the held-out instructions, and its answers are judged.

One batch per checkpoint. Answers are kept on disk until their scores are in the store, so a kill between sampling and
judging samples nothing twice; judgments that cost money have their own cache.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inoc.backends.protocols import Checkpoint
from inoc.errors import IncompleteStore
from inoc.experiment import Run
from inoc.stages.progress import Unwatched, Watcher
from inoc.stages.questions import LEAK, KeptQuestions, conditions_of, evaluation_pools, kept_questions
from inoc.stages.sampling import kept_answers
from inoc.stages.study import Study
from inoc.stages.train import Trained, plan_run, read_record, record_path, trained_with
from inoc.store.runs import RunPlan
from inoc.store.writer import StoreWriter


@dataclass(frozen=True)
class EvaluationReport:
    """What a call of `evaluate` did: cells (run, step, condition) judged now, and those that were there."""

    judged: int
    already: int


def evaluate(study: Study, runs: Sequence[str] = (), watcher: Watcher | None = None) -> EvaluationReport:
    """Sample and judge every pending cell of the runs (all, or those named).

    Raises:
        IncompleteStore: a run is not trained yet.
        BadResult: 10 % or more of a cell could not be judged; the cell stays pending.
    """
    watcher = watcher or Unwatched()
    chosen = study.runs(runs)
    records = {run.name: _record(study, run) for run in chosen}
    pools = evaluation_pools(study, chosen)
    judged = already = 0
    with study.open_writer() as writer:
        for note in writer.notes:
            watcher.note(note)
        for run in chosen:
            trainer = trained_with(writer, study, run)
            if trainer.get("backend") != study.backend.name:
                watcher.note(
                    f"{run.name}: trained with {trainer.get('backend')}, sampled with {study.backend.name}"
                )
            plan_run(writer, study, run, records[run.name].updates, trainer)
            _plan_leak(writer, study, run, records[run.name])
        pending = set(writer.run.pending_evaluations())
        watcher.begin("evaluating", len([cell for cell in pending if _base(cell[0]) in records]))
        for run in chosen:
            for name in (run.name, f"{run.name}+{LEAK}"):
                cells = [(step, condition) for key, step, condition in pending if key == name]
                for step in sorted({step for step, _ in cells}):
                    conditions = [c for c in conditions_of(study, name) if (step, c) in cells]
                    asked = {c: kept_questions(study, run, name, step, c, pools) for c in conditions}
                    _evaluate_step(study, writer, name, step, records[run.name].at(step), asked, watcher)
                    judged += len(conditions)
            already += sum(1 for _ in conditions_of(study, run.name)) * len(_steps(writer, run.name))
    return EvaluationReport(judged, max(0, already - judged))


def _record(study: Study, run: Run) -> Trained:
    record = read_record(record_path(study, run))
    if record is None:
        raise IncompleteStore(f"run {run.name} is not trained yet; `inoc train` trains it.")
    return record


def _base(name: str) -> str:
    return name.removesuffix(f"+{LEAK}")


def _steps(writer: StoreWriter, name: str) -> list[int]:
    return [int(step) for step in writer.run.read(f"runs/{name}/step")]


def _plan_leak(writer: StoreWriter, study: Study, run: Run, record: Trained) -> None:
    evaluation = study.experiment.evaluation
    if evaluation is None or not evaluation.leak_grid:
        return
    writer.put_run(
        RunPlan(
            f"{run.name}+{LEAK}",
            prompt=run.prompt,
            prefix_type=run.prefix_type,
            traits=study.judges.traits,
            instructions=study.instruction_labels,
            steps=(record.updates,),
            conditions=study.experiment.select(evaluation.leak_grid),
            judges=study.judges.identities(),
            seed=run.seed,
            nominal_step=record.updates,
            settings={"leak_of": run.name},
            generations=True,
        )
    )


def _evaluate_step(
    study: Study,
    writer: StoreWriter,
    name: str,
    step: int,
    checkpoint: Checkpoint | None,
    groups: Mapping[str, KeptQuestions],
    watcher: Watcher,
) -> None:
    evaluation = study.experiment.evaluation
    assert evaluation is not None
    sampling = evaluation.sampling((study.chat.end_of_turn,))
    asked = {group.path: group.questions for group in groups.values()}
    answers = kept_answers(study.backend, study.chat, asked, sampling, checkpoint)
    for condition, texts in zip(groups, answers, strict=True):
        cell = f"run {name}, step {step}, condition {condition}"
        responses = [answer.text for answer in texts]
        scores = study.judges.score(cell, study.instructions, responses)
        writer.put_scores(
            name, step, condition, scores.score, scores.coverage, study.judges.identities(), responses
        )
        means = ", ".join(
            f"{trait} {row.mean():.0f}" for trait, row in zip(study.judges.traits, scores.score, strict=True)
        )
        watcher.step(f"{name} step {step} {condition}", means)
