"""`inoc doctor --train`: six tiny updates, and whether their losses are those of the scores."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from inoc.backends.consistency import Weighted, mean_loss, scored_updates
from inoc.backends.protocols import Backend, Checkpoint, Scorer, Trainer, TrainingJob, TrainingStep
from inoc.backends.training import check_training
from inoc.experiment import Experiment
from inoc.plan import Study, plan_scores
from inoc.stages.capable import capable
from inoc.stages.doctor.agreement import TOLERANCE

UPDATES: Final = 6


@dataclass(frozen=True)
class TrainingReport:
    """The losses of a tiny training, in nats per weighted token, beside those by the scores of the weights before each
    update (`expected`; empty where the backend does not score with them), and what is wrong."""

    losses: tuple[float, ...]
    expected: tuple[float, ...]
    tolerance: float
    fault: str | None
    seconds: float

    @property
    def difference(self) -> float | None:
        """The largest of a loss to the scores."""
        return apart(self.losses, self.expected) if self.expected else None


def check_trainer(experiment: Experiment, backend: Backend) -> TrainingReport:
    """Train a tiny job on the shortest rows of the experiment, in a folder that is removed, and score its checkpoints.
    BackendRejected where the backend does not train, BadResult where updates, checkpoints or a loss are missing."""
    begin, tolerance = time.perf_counter(), TOLERANCE[experiment.model.dtype]
    trainer = capable(backend, Trainer, "train")
    compares = backend.capabilities.score and backend.capabilities.adapters and isinstance(backend, Scorer)
    with TemporaryDirectory(prefix="inoc-doctor-") as folder:
        job = tiny_job(experiment, backend, Path(folder))
        base: list[Checkpoint | None] = [None] * UPDATES
        untrained = scored_updates(capable(backend, Scorer, "score"), job, base) if compares else []
        events = list(check_training(job, trainer.train(job)))
        by_step = {event.step: event.loss for event in events if isinstance(event, TrainingStep)}
        losses = tuple(by_step[k] for k in sorted(by_step))
        if not compares:
            return TrainingReport(losses, (), tolerance, None, time.perf_counter() - begin)
        kept: dict[int, Checkpoint | None] = {event.step: event for event in events if isinstance(event, Checkpoint)}
        scorer = capable(backend, Scorer, "score")
        before, after, trained, again = (
            scored_updates(scorer, job, weights)
            for weights in (
                [kept.get(k) for k in range(UPDATES)],
                [kept[k + 1] for k in range(UPDATES)],
                [kept[UPDATES]] * UPDATES,
                base,
            )
        )
    expected = tuple(map(mean_loss, before))
    fault = None
    if farthest(untrained, again) > tolerance:
        fault = "the base model scores differently after the training: an adapter is merged or stays active"
    elif farthest(untrained, trained) <= tolerance:
        fault = "the last checkpoint scores like the base model: nothing is learned, or the scorer ignores checkpoints"
    elif apart(losses, expected) > tolerance:
        fault = explanation(losses, before, after, tolerance)
    return TrainingReport(losses, expected, tolerance, fault, time.perf_counter() - begin)


def tiny_job(experiment: Experiment, backend: Backend, folder: Path) -> TrainingJob:
    """Six updates of four of the eight shortest training rows, every checkpoint kept."""
    study = Study(experiment, backend, Path())
    rows = plan_scores(study, sets=("train",), prefix_types=("fixed",)).sets[0].examples
    short = sorted(rows, key=lambda row: len(row.instruction) + len(row.completion))[:8]
    examples = tuple(
        study.chat.training_example(row.id, row.instruction, row.completion, finish=row.finish) for row in short
    )
    batches = tuple(tuple((4 * k + 3 * i) % len(examples) for i in range(4)) for k in range(UPDATES))
    return TrainingJob(
        "inoc-doctor", examples, batches, experiment.training.adapter, learning_rate=1e-3, warmup=1, accumulation=2,
        optimizer="adamw", checkpoint_steps=tuple(range(1, UPDATES)), resume_every=UPDATES, directory=str(folder),
    )  # fmt: skip


def apart(one: Sequence[float], two: Sequence[float]) -> float:
    """The largest difference of two losses of the same update."""
    return float(np.abs(np.subtract(one, two)).max())


def farthest(one: Sequence[Weighted], two: Sequence[Weighted]) -> float:
    """The largest difference of a log-probability."""
    return max(
        float(np.abs(a - b).max()) for x, y in zip(one, two, strict=True) for (_, a), (_, b) in zip(x, y, strict=True)
    )


def explanation(losses: Sequence[float], before: Sequence[Weighted], after: Sequence[Weighted], close: float) -> str:
    """Why losses are not those of the scores; explanations are tried, not guessed."""

    def whole(batch: Weighted) -> float:
        return mean_loss([(replace(e, weights=(1.0,) * len(e.weights)), logprobs) for e, logprobs in batch])

    def by_example(batch: Weighted) -> float:
        return float(np.mean([mean_loss([row]) for row in batch]))

    tried = {
        "they are those after the update, or every checkpoint is of the update before": list(map(mean_loss, after)),
        "the context is part of the loss": list(map(whole, before)),
        "they are means over examples, not over weighted tokens": list(map(by_example, before)),
    }
    for sentence, values in tried.items():
        if apart(losses, values) <= close:
            return f"losses are not those of the scores: {sentence}"
    return "losses are not those of the scores: other rows, order or weights, or checkpoints of other weights"
