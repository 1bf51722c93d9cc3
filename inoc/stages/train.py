"""Stage `train`: every run of the experiment, each resumed from its last state and never trained twice."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from inoc.backends.protocols import (
    Checkpoint,
    CheckpointAnswers,
    Parallel,
    Submitter,
    Trainer,
    TrainingEvent,
    TrainingJob,
    TrainingStep,
)
from inoc.backends.training import check_training
from inoc.errors import BackendRejected, BadInput, BadResult
from inoc.plan import Study, TrainingPlan, plan_training
from inoc.plan.evaluation import texts_of_step
from inoc.plan.identity import job_identity, trainer_identity
from inoc.stages.capable import capable
from inoc.stages.forecast import Forecast, Row, price_of
from inoc.stages.opening import existing, keep_pools, open_writer
from inoc.stages.progress import UNWATCHED, Watcher
from inoc.stages.sampling import keep_answers
from inoc.stages.side_by_side import side_by_side
from inoc.stages.stored import pair_changes, pool_changes, run_changes
from inoc.stages.trained import Trained, read_record, write_record
from inoc.stages.work import one_at_a_time
from inoc.store.fingerprint import difference, refuse
from inoc.store.store import Store
from inoc.store.writer import StoreWriter

FLUSH_EVERY = 20
"""Updates between writes of the losses into the store."""


def train(study: Study, runs: Sequence[str] = (), watcher: Watcher = UNWATCHED) -> tuple[Trained, ...]:
    """Train the runs (empty: all) that are not trained yet; a killed run resumes from its last state.

    Raises:
        BadInput: Something is wrong with data, pools or settings; nothing is trained then.
        OtherSettings: A run was trained, or is planned in the store, with other settings.
    """
    trainer = capable(study.backend, Trainer, "train")
    plans = _plans(study, runs)
    store = existing(study)
    done = compare_runs(study, store, plans)
    pending = [plan for plan in plans if plan.run.name not in done]
    watcher.begin("training", sum(plan.updates for plan in pending))
    with open_writer(study, store, watcher, "train") as writer:
        if isinstance(trainer, Submitter):
            trainer.submit([plan.job for plan in pending if plan.run.start is None])
        keep_pools(writer, study.pools(_mixed(plans)))
        for part in _independent(plans):
            done |= _train_part(study, part, done, trainer, writer, watcher)
    return tuple(done[plan.run.name] for plan in plans)


def _plans(study: Study, runs: Sequence[str]) -> tuple[TrainingPlan, ...]:
    """The plans of the runs; BackendRejected where one merges an adapter and the backend does not."""
    plans = plan_training(study, runs)
    merging = [plan.run.name for plan in plans if plan.run.merge]
    if merging and not study.backend.capabilities.merges:
        raise BackendRejected(
            f"the backend {study.backend.name!r} cannot merge an adapter into its model, as run {merging[0]} asks. "
            "Fix: remove `merge` and keep the method of `start`, or use the backend local."
        )
    return plans


def _independent(plans: Sequence[TrainingPlan]) -> Iterator[list[TrainingPlan]]:
    """The plans in order, cut before each that continues a run of its own part."""
    part: list[TrainingPlan] = []
    for plan in plans:
        if plan.run.start in {other.run.name for other in part}:
            yield part
            part = []
        part.append(plan)
    yield part


def _train_part(
    study: Study,
    plans: Sequence[TrainingPlan],
    done: Mapping[str, Trained],
    trainer: Trainer,
    writer: StoreWriter,
    watcher: Watcher,
) -> dict[str, Trained]:
    """Train the runs that are not done; a pool trains all at once, and each is stored when it has ended."""
    pool = isinstance(study.backend, Parallel)
    made: dict[str, Trained] = {}

    def jobs(locks: ExitStack) -> Iterator[tuple[TrainingPlan, TrainingJob]]:
        for plan in plans:
            writer.put_run(plan.evaluated.trained_with(trainer_identity(study)))
            if plan.run.name not in done:
                locks.enter_context(one_at_a_time(plan.folder / "lock"))
                yield plan, replace(plan.job, start=start_of(plan))

    def events(given: tuple[TrainingPlan, TrainingJob]) -> Iterable[TrainingEvent]:
        """As they happen; of a pool all together, told as they happen."""
        coming = trainer.train(given[1])
        return [_tell(watcher, given[0].run.name, event) for event in coming] if pool else coming

    with ExitStack() as locks:
        for (plan, job), found in side_by_side(study.backend, events, jobs(locks)):
            said = UNWATCHED if pool else watcher
            made[plan.run.name] = _store_run(study, plan, job, found.result(), writer, said)
    return made


def forecast_training(study: Study, runs: Sequence[str] = ()) -> Forecast:
    """What `inoc train` would do: updates by run."""
    capable(study.backend, Trainer, "train")
    plans = _plans(study, runs)
    done = compare_runs(study, existing(study), plans)
    rows = tuple(
        Row(plan.run.name, "updates", plan.updates, plan.updates)
        if plan.run.name in done
        else Row(plan.run.name, "updates", plan.updates, 0, plan.tokens)
        for plan in plans
    )
    pending = [row for row in rows if row.done < row.total]
    return Forecast("train", rows, price_of(study, sum(row.tokens for row in pending), "train", len(pending)))


def compare_runs(study: Study, store: Store | None, plans: Sequence[TrainingPlan]) -> dict[str, Trained]:
    """Compare the plans with the store and with the records of finished runs, which are returned.

    Raises:
        OtherSettings: With one line for every field that changed.
        BadInput: A run continues another that is neither trained nor planned before it.
    """
    trainer = trainer_identity(study)
    lines = [line for plan in plans for line in run_changes(store, plan.evaluated, trainer)]
    lines += pool_changes(store, study.pools(_mixed(plans)))
    lines += [line for plan in plans if _of_the_study(plan) for line in pair_changes(store, plan)]
    done: dict[str, Trained] = {}
    known: set[str] = set()
    for plan in plans:
        name, start = plan.run.name, start_of(plan)
        waits = plan.run.start is not None and start is None
        if waits and plan.run.start not in known:
            raise BadInput(f"run {name} starts from {plan.run.start}, which is not trained yet. Fix: train that first.")
        known.add(name)
        record = read_record(plan.folder)
        if record is not None:
            done[name] = record
            if record.identity and not waits:
                now = job_identity(replace(plan.job, start=start), study)
                lines += difference(record.identity, now, f"runs.{name}.")
    refuse(study.store, lines, "restore them, give the changed run another name (a tag), or delete its folder")
    return done


def _mixed(plans: Sequence[TrainingPlan]) -> list[str]:
    """The prompts whose rephrasings are trained on."""
    return list(dict.fromkeys(plan.run.prompt for plan in plans if _of_the_study(plan)))


def _of_the_study(plan: TrainingPlan) -> bool:
    """Whether a run is trained on the rephrasings that scoring uses, which the store keeps."""
    return bool(plan.rephrasings) and plan.run.rephrasings is None


def start_of(plan: TrainingPlan) -> Checkpoint | None:
    """The checkpoint a run continues from; None for a run from the base model, or one whose start is not trained."""
    record = None if plan.start_folder is None else read_record(plan.start_folder)
    return None if record is None else record.last


def _tell(watcher: Watcher, name: str, event: TrainingEvent) -> TrainingEvent:
    if isinstance(event, TrainingStep):
        watcher.step(name, f"update {event.step} loss {event.loss:.4f}")
        watcher.measure(name, event.step, {"loss": event.loss, "learning_rate": event.learning_rate})
    elif isinstance(event, CheckpointAnswers):
        watcher.note(f"{name}: the answers of update {event.step} have arrived")
    return event


def _store_run(
    study: Study,
    plan: TrainingPlan,
    job: TrainingJob,
    events: Iterable[TrainingEvent],
    writer: StoreWriter,
    watcher: Watcher,
) -> Trained:
    name = plan.run.name
    points: list[Checkpoint] = []
    waiting: list[TrainingStep] = []
    for event in check_training(job, events):
        if isinstance(event, Checkpoint):
            points.append(event)
        elif isinstance(event, CheckpointAnswers):
            _keep_answers(study, plan, event, points)
        else:
            waiting.append(event)
            if len(waiting) >= FLUSH_EVERY:
                _store_losses(writer, name, waiting)
        _tell(watcher, name, event)
    _store_losses(writer, name, waiting)
    points = sorted({point.step: point for point in points}.values(), key=lambda point: point.step)
    trained = Trained(name, plan.updates, tuple(points), job_identity(job, study))
    write_record(plan.folder, trained)
    return trained


def _keep_answers(study: Study, plan: TrainingPlan, event: CheckpointAnswers, points: Sequence[Checkpoint]) -> None:
    """Keep answers that came with the training where `inoc evaluate` looks before it samples."""
    checkpoint = next((point for point in points if point.step == event.step), None)
    if checkpoint is None:
        raise BadResult(
            f"run {plan.run.name}: the backend {study.backend.name!r} sent answers of update {event.step} before its "
            "checkpoint."
        )
    keep_answers(study, texts_of_step(plan.evaluated, event.step), checkpoint, event.completions)


def _store_losses(writer: StoreWriter, name: str, waiting: list[TrainingStep]) -> None:
    if waiting:
        writer.append_losses(
            name,
            np.array([event.step for event in waiting], np.int64),
            np.array([event.loss for event in waiting], np.float64),
            np.array([event.learning_rate for event in waiting], np.float64),
        )
        waiting.clear()
