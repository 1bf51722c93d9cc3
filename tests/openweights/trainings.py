"""Trainings on a tiny model that every test here can afford."""

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from small_training import small_job

from inoc.backends.protocols import AdapterSettings, CheckpointQuestions, SampleRequest, TrainingJob
from inoc.values import Sampling

ADAPTER = AdapterSettings("lora", 4, 16.0, rslora=True, dropout=0.0)
SAMPLING = Sampling(max_tokens=8, seed=2)


def make_job(directory: Path, updates: int = 6, **changes: object) -> TrainingJob:
    """The small job with the local backend's adapter."""
    return small_job(directory, updates, **{"adapter": ADAPTER, **changes})


def questions(*steps: int) -> tuple[CheckpointQuestions, ...]:
    """The same three questions of every step."""
    asked = tuple(SampleRequest(f"q{i}", tuple(range(30 + i, 50 + 2 * i))) for i in range(3))
    return tuple(
        CheckpointQuestions(step, tuple(replace(request, id=f"{step} {request.id}") for request in asked), SAMPLING)
        for step in steps
    )
