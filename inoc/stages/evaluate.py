"""Stage `evaluate`: every checkpoint is asked the held-out instructions, and its answers are judged.

One batch per checkpoint. Answers are kept on disk until their scores are in the store, so a kill between sampling and
judging samples nothing twice; judgements that cost money have their own cache.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inoc.backends.protocols import Checkpoint
from inoc.chat import rephrasing_index
from inoc.errors import IncompleteStore
from inoc.experiment import Run
from inoc.stages.progress import Unwatched, Watcher
from inoc.stages.sampling import Question, kept_answers
from inoc.stages.study import Study
from inoc.stages.train import Trained, plan_run, read_record, record_path
from inoc.store.writer import RunWriter

LEAK = "leak"
"""Leak-grid evaluations are stored as a run of their own, named `<run>+leak`; its conditions are prompt keys."""


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
    pools = study.pools([run.prompt for run in chosen if run.prefix_type == "mix"])
    judged = already = 0
    with study.open_writer() as writer:
        for note in writer.notes:
            watcher.note(note)
        for run in chosen:
            plan_run(writer, study, run, records[run.name].updates)
            _plan_leak(writer, study, run, records[run.name])
        pending = set(writer.run.pending_evaluations())
        watcher.begin("evaluating", len([cell for cell in pending if _base(cell[0]) in records]))
        for run in chosen:
            for name in (run.name, f"{run.name}+{LEAK}"):
                cells = [(step, condition) for key, step, condition in pending if key == name]
                for step in sorted({step for step, _ in cells}):
                    conditions = [c for c in _conditions(study, name) if (step, c) in cells]
                    asked = {c: _prefixes(study, run, c, name, pools) for c in conditions}
                    _evaluate_step(study, writer, name, step, records[run.name].at(step), asked, watcher)
                    judged += len(conditions)
            already += sum(1 for _ in _conditions(study, run.name)) * len(_steps(writer, run.name))
    return EvaluationReport(judged, max(0, already - judged))


def _record(study: Study, run: Run) -> Trained:
    record = read_record(record_path(study, run))
    if record is None:
        raise IncompleteStore(f"run {run.name} is not trained yet; `inoc train` trains it.")
    return record


def _base(name: str) -> str:
    return name.removesuffix(f"+{LEAK}")


def _steps(writer: RunWriter, name: str) -> list[int]:
    return [int(step) for step in writer.run.read(f"runs/{name}/step")]


def _conditions(study: Study, name: str) -> tuple[str, ...]:
    evaluation = study.experiment.evaluation
    assert evaluation is not None
    return (
        study.experiment.select(evaluation.leak_grid) if name.endswith(f"+{LEAK}") else evaluation.conditions
    )


def _plan_leak(writer: RunWriter, study: Study, run: Run, record: Trained) -> None:
    evaluation = study.experiment.evaluation
    if evaluation is None or not evaluation.leak_grid:
        return
    writer.put_run(
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


def _prefixes(
    study: Study, run: Run, condition: str, name: str, pools: Mapping[str, Sequence[str]]
) -> list[str | None]:
    """The prefix of every instruction under a condition."""
    n, experiment = len(study.instructions), study.experiment
    if name.endswith(f"+{LEAK}"):
        return [experiment.prompt(condition).text] * n
    if condition == "default" or run.prefix_type == "none":
        return [None] * n
    if run.prefix_type == "fixed":
        return [experiment.prompt(run.prompt).text] * n
    pool = pools[run.prompt]
    keys = [f"evaluation/{label}" for label in study.instruction_labels]
    return [pool[rephrasing_index(experiment.seed, run.prompt, key, len(pool))] for key in keys]


def _evaluate_step(
    study: Study,
    writer: RunWriter,
    name: str,
    step: int,
    checkpoint: Checkpoint | None,
    asked: Mapping[str, Sequence[str | None]],
    watcher: Watcher,
) -> None:
    evaluation = study.experiment.evaluation
    assert evaluation is not None
    groups = {
        _kept(study, name, step, condition): [
            Question(f"{condition}/{i}", instruction, prefix)
            for i, (instruction, prefix) in enumerate(zip(study.instructions, prefixes, strict=True))
        ]
        for condition, prefixes in asked.items()
    }
    sampling = evaluation.sampling((study.chat.end_of_turn,))
    answers = kept_answers(study.backend, study.chat, groups, sampling, checkpoint)
    for condition, texts in zip(asked, answers, strict=True):
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


def _kept(study: Study, name: str, step: int, condition: str) -> Path:
    """Where answers wait. The base model without prefix is the same in every run: sampled once."""
    if step == 0 and condition == "default":
        return study.work / "samples" / "base-default.jsonl"
    return study.work / "samples" / name / f"{step}-{condition}.jsonl"
