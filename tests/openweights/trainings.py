"""Trainings on a tiny model that every test here can afford."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from inoc.backends.protocols import (
    AdapterSettings,
    CheckpointQuestions,
    SampleRequest,
    TrainingExample,
    TrainingJob,
)
from inoc.values import Sampling

ADAPTER = AdapterSettings("lora", 4, 16.0, rslora=True, dropout=0.0)
SAMPLING = Sampling(max_tokens=8, seed=2)


def make_job(directory: Path, updates: int = 6, **changes: object) -> TrainingJob:
    """Eight short random examples, updates of four, a checkpoint half way."""
    random = np.random.default_rng(0)
    examples = []
    for i in range(8):
        length = int(random.integers(6, 20))
        ids = tuple(int(token) for token in random.integers(0, 250, length))
        examples.append(TrainingExample(f"e{i}", ids, (0.0,) * 3 + (1.0,) * (length - 3)))
    job = TrainingJob(
        id="run",
        examples=tuple(examples),
        batches=tuple(tuple((4 * update + i) % 8 for i in range(4)) for update in range(updates)),
        adapter=ADAPTER,
        learning_rate=5e-3,
        warmup=2,
        accumulation=2,
        optimizer="adamw",
        seed=5,
        checkpoint_steps=(updates // 2,),
        resume_every=2,
        directory=str(directory),
    )
    return replace(job, **changes)


def questions(*steps: int) -> tuple[CheckpointQuestions, ...]:
    """The same three questions of every step."""
    asked = tuple(SampleRequest(f"q{i}", tuple(range(30 + i, 50 + 2 * i))) for i in range(3))
    return tuple(
        CheckpointQuestions(
            step, tuple(replace(request, id=f"{step} {request.id}") for request in asked), SAMPLING
        )
        for step in steps
    )
