"""The training job that the tests train, and how they read its events."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from inoc.backends.protocols import (
    AdapterSettings,
    ScoreRequest,
    TrainingEvent,
    TrainingExample,
    TrainingJob,
    TrainingStep,
)

ADAPTER = AdapterSettings(rank=8, alpha=16.0)
REQUESTS = [ScoreRequest(str(i), (1, 2 + i, 3), (70 + i, 71, 72, 73)) for i in range(6)]


def make_job(directory: Path, **changes: object) -> TrainingJob:
    """24 examples of 8 to 40 tokens, 20 updates of 8."""
    rng = np.random.default_rng(0)
    examples: list[TrainingExample] = []
    for number in range(24):
        context, response = int(rng.integers(3, 20)), int(rng.integers(5, 20))
        tokens = (*rng.integers(0, 256, context).tolist(), *rng.integers(60, 90, response).tolist())
        examples.append(TrainingExample(f"e{number}", tokens, (0.0,) * context + (1.0,) * response))
    order = [int(i) for _ in range(7) for i in rng.permutation(24)]
    batches = tuple(tuple(order[start : start + 8]) for start in range(0, 160, 8))
    job = TrainingJob(
        "job", tuple(examples), batches, ADAPTER, learning_rate=3e-3, warmup=4, accumulation=3, optimizer="adamw",
        checkpoint_steps=(5, 10), resume_every=4, directory=str(directory),
    )  # fmt: skip
    return replace(job, **changes)  # type: ignore[arg-type]


def short_job(directory: Path, **changes: object) -> TrainingJob:
    """The first 8 updates of the same job, one checkpoint after the fifth."""
    return make_job(directory, **{"batches": make_job(directory).batches[:8], "checkpoint_steps": (5,), **changes})


def losses(events: Sequence[TrainingEvent]) -> list[float]:
    return [event.loss for event in events if isinstance(event, TrainingStep)]
