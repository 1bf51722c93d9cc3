"""A training of a tiny model that every test can afford."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from inoc.backends.protocols import AdapterSettings, TrainingExample, TrainingJob


def small_job(directory: Path, updates: int, **changes: object) -> TrainingJob:
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
        adapter=AdapterSettings(),
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
