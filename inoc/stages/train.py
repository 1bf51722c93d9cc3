"""Stage `train`: every run of the experiment, each resumed from its last state and never trained twice."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from inoc.backends.protocols import (
    Backend,
    Checkpoint,
    CheckpointAnswers,
    Submitter,
    Trainer,
    TrainingJob,
    TrainingStep,
)
from inoc.errors import BackendRejected, BadInput, BadResult, OtherSettings
from inoc.experiment import Run
from inoc.stages.progress import Unwatched, Watcher
from inoc.stages.questions import checkpoint_questions, evaluation_pools, questions_of_step
from inoc.stages.sampling import keep_answers
from inoc.stages.study import Study
from inoc.stages.training_data import training_job
from inoc.stages.work import fingerprint, one_at_a_time, write_whole
from inoc.store.runs import RunPlan
from inoc.store.writer import StoreWriter

FLUSH_EVERY = 20
"""Updates between writes of the losses into the store."""


@dataclass(frozen=True)
class Trained:
    """What a finished run left behind: its checkpoints by update, and the fingerprint of the job that made them."""

    run: str
    job: str
    updates: int
    checkpoints: tuple[Checkpoint, ...]

    @property
    def last(self) -> Checkpoint:
        return max(self.checkpoints, key=lambda checkpoint: checkpoint.step)

    def at(self, step: int) -> Checkpoint | None:
        """The checkpoint of an update; None for step 0, the base model."""
        return next((c for c in self.checkpoints if c.step == step), None)


def training_folder(study: Study, run: Run) -> Path:
    """Where a run's checkpoints, resume state and record lie."""
    directory = study.experiment.training.directory
    base = study.experiment.resolve(directory) if directory else study.work / "training"
    return base / run.name


def record_path(study: Study, run: Run) -> Path:
    """The file that says a run is finished and where its checkpoints are."""
    return training_folder(study, run) / "trained.json"


def read_record(path: Path) -> Trained | None:
    """A finished run's record; None while there is none."""
    if not path.exists():
        return None
    try:
        return TypeAdapter(Trained).validate_json(path.read_bytes())
    except ValidationError as error:
        raise BadInput(
            f"{path} is damaged ({error.error_count()} fields); delete it and train the run again."
        ) from None


def job_fingerprint(job: TrainingJob, identity: Mapping[str, object]) -> str:
    """A hash of everything that decides the result of a training job."""
    beside = ("directory", "resume_every", "questions")
    fields = {key: value for key, value in asdict(job).items() if key not in beside}
    return fingerprint(fields, dict(identity))


def trainer_of(backend: Backend) -> Trainer:
    """The backend as a Trainer; BackendRejected where it is none."""
    if not backend.capabilities.train or not isinstance(backend, Trainer):
        raise BackendRejected(
            f"the backend {backend.name!r} cannot train; choose one that can (`inoc backends`)."
        )
    return backend


def evaluated_steps(study: Study, run: Run, updates: int) -> tuple[int, ...]:
    """The steps at which a run is evaluated: the kept checkpoints and the last update, or those asked for. A run that
    continues another has no step 0: that is the last step of the other, evaluated there."""
    first = 0 if run.start is None else 1
    kept = tuple(sorted({step for step in (*run.settings.checkpoints, updates) if step >= first}))
    evaluation = study.experiment.evaluation
    asked = evaluation.steps if evaluation else "all"
    if asked == "all":
        return kept
    if asked == "last":
        return (updates,)
    lost = [step for step in asked if step not in kept and step != 0]
    if lost:
        raise BadInput(
            f"evaluation.steps asks for step {lost[0]}, of which run {run.name} keeps no checkpoint "
            f"(it keeps {', '.join(map(str, kept))}); add it to training.checkpoints."
        )
    return tuple(step for step in asked if step >= first)


def make_job(study: Study, run: Run, start: Checkpoint | None) -> TrainingJob:
    """The training job of a run, with the questions of its evaluation where the backend asks them as it trains."""
    pools = study.pools([run.prompt] if run.prefix_type == "mix" else [])
    folder = training_folder(study, run)
    job = training_job(study.experiment, run, study.chat, pools, folder, study.backend.context_length, start)
    if not study.backend.capabilities.samples_while_training or study.experiment.evaluation is None:
        return job
    updates = len(job.batches)
    steps = evaluated_steps(study, run, updates)
    return replace(job, questions=checkpoint_questions(study, run, steps, updates))


def trained_with(writer: StoreWriter, study: Study, run: Run) -> Mapping[str, object]:
    """The backend that trained a run, as the store has it: another one may evaluate. This one for a run not stored."""
    stored = writer.run.runs.get(run.name)
    return study.backend_record() if stored is None else stored.trained_with


def plan_run(
    writer: StoreWriter, study: Study, run: Run, updates: int, trainer: Mapping[str, object]
) -> None:
    """Make room in the store for a run's losses and evaluations. `trainer` is the record of what trains it."""
    evaluation = study.experiment.evaluation
    writer.put_run(
        RunPlan(
            run.name,
            prompt=run.prompt,
            prefix_type=run.prefix_type,
            traits=study.judges.traits,
            instructions=study.instruction_labels,
            steps=evaluated_steps(study, run, updates),
            conditions=evaluation.conditions if evaluation else ("default", "training"),
            judges=study.judges.identities(),
            seed=run.seed,
            nominal_step=updates,
            settings={
                **run.settings.model_dump(mode="json"),
                "data": run.data,
                "start": run.start,
                "trained_with": dict(trainer),
            },
            generations=True,
        )
    )


def start_of(study: Study, run: Run) -> Checkpoint | None:
    """The checkpoint a run continues from; None for a run from the base model."""
    if run.start is None:
        return None
    names = [other for other in study.experiment.runs() if other.name == run.start]
    if not names:
        raise BadInput(f"run {run.name} starts from {run.start!r}, which is no run of the experiment.")
    record = read_record(record_path(study, names[0]))
    if record is None:
        raise BadInput(f"run {run.name} starts from {run.start}, which is not trained yet; train it first.")
    return record.last


def train(study: Study, runs: Sequence[str] = (), watcher: Watcher | None = None) -> tuple[Trained, ...]:
    """Train the runs (all, or those named). A finished run is left alone, a killed one goes on from its last state.

    Raises:
        BadInput: something is wrong with data, pools or settings; nothing is trained then.
        OtherSettings: a finished or half-trained run was made with other settings.
    """
    watcher = watcher or Unwatched()
    trainer = trainer_of(study.backend)
    chosen = study.runs(runs)
    ready = {run.name: make_job(study, run, None) for run in chosen if run.start is None}
    watcher.begin("training", sum(len(job.batches) for job in ready.values()))
    done: list[Trained] = []
    with study.open_writer() as writer:
        for note in writer.notes:
            watcher.note(note)
        if isinstance(trainer, Submitter):
            trainer.submit([job for run in chosen if (job := _to_train(study, run, ready)) is not None])
        for run in chosen:
            job = ready.get(run.name) or make_job(study, run, start_of(study, run))
            plan_run(writer, study, run, len(job.batches), study.backend_record())
            done.append(_train_run(study, run, job, trainer, writer, watcher))
    return tuple(done)


def _to_train(study: Study, run: Run, ready: Mapping[str, TrainingJob]) -> TrainingJob | None:
    """The job of a run that is not trained and starts from the base model."""
    trained = read_record(record_path(study, run)) is not None
    return None if trained else ready.get(run.name)


def _train_run(
    study: Study, run: Run, job: TrainingJob, trainer: Trainer, writer: StoreWriter, watcher: Watcher
) -> Trained:
    mark = job_fingerprint(job, study.backend.identity())
    path = record_path(study, run)
    record = read_record(path)
    if record is not None:
        if record.job != mark:
            raise OtherSettings(
                f"run {run.name} was trained with other data or settings (its record is {path}); give the changed "
                "run another name (a tag), or delete that folder."
            )
        watcher.step(run.name, f"already trained, {record.updates} updates")
        return record
    points: list[Checkpoint] = []
    waiting: list[TrainingStep] = []
    with one_at_a_time(path.parent / "lock"):
        for event in trainer.train(job):
            if isinstance(event, Checkpoint):
                points.append(event)
                continue
            if isinstance(event, CheckpointAnswers):
                _keep_answers(study, run, event, points, len(job.batches))
                watcher.note(f"{run.name}: answers of update {event.step} are here")
                continue
            waiting.append(event)
            watcher.step(run.name, f"update {event.step} loss {event.loss:.4f}")
            if len(waiting) >= FLUSH_EVERY:
                _store_losses(writer, run, waiting)
        _store_losses(writer, run, waiting)
    points = sorted({point.step: point for point in points}.values(), key=lambda point: point.step)
    missing = {*job.checkpoint_steps, len(job.batches)} - {point.step for point in points}
    if missing:
        raise BadResult(
            f"run {run.name}: the backend {study.backend.name!r} kept no checkpoint of update {min(missing)}."
        )
    trained = Trained(run.name, mark, len(job.batches), tuple(points))
    write_whole(path, json.dumps(asdict(trained), indent=1))
    return trained


def _keep_answers(
    study: Study, run: Run, event: CheckpointAnswers, points: Sequence[Checkpoint], last: int
) -> None:
    """Keep answers that came with the training where `inoc evaluate` looks before it samples."""
    evaluation = study.experiment.evaluation
    checkpoint = next((point for point in points if point.step == event.step), None)
    if evaluation is None or checkpoint is None:
        raise BadResult(
            f"run {run.name}: the backend {study.backend.name!r} sent answers of update {event.step}, which were "
            "not asked for or came before their checkpoint."
        )
    pools = evaluation_pools(study, [run])
    groups = dict(questions_of_step(study, run, event.step, last, pools))
    sampling = evaluation.sampling((study.chat.end_of_turn,))
    keep_answers(study.chat, groups, sampling, checkpoint, event.completions)


def _store_losses(writer: StoreWriter, run: Run, waiting: list[TrainingStep]) -> None:
    if waiting:
        writer.append_losses(
            run.name,
            np.array([event.step for event in waiting], np.int64),
            np.array([event.loss for event in waiting], np.float64),
            np.array([event.learning_rate for event in waiting], np.float64),
        )
        waiting.clear()
