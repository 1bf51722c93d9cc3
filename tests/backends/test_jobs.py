"""`check_job` and `check_training`: what cannot be trained or answered is named, at its limit; what can, passes."""

import math
from dataclasses import replace

import pytest

from inoc.backends.protocols import (
    AdapterSettings,
    Checkpoint,
    TrainingEvent,
    TrainingExample,
    TrainingJob,
    TrainingStep,
)
from inoc.backends.training import check_job, check_training, learning_rate
from inoc.errors import BackendRejected, BadInput, BadResult

ROW = TrainingExample("a", (5, 6, 7), (0.0, 0.0, 1.0))
JOB = TrainingJob(
    "j", (ROW,), ((0,), (0,)), AdapterSettings(), accumulation=1, resume_every=1, checkpoint_steps=(0, 2), directory="d"
)


def test_a_job_at_every_limit_passes() -> None:
    check_job(JOB, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"directory": ""}, "no directory"),
        ({"batches": ()}, "no batches or an empty one"),
        ({"batches": ((0,), ())}, "no batches or an empty one"),
        ({"accumulation": 0}, "below 1"),
        ({"resume_every": 0}, "below 1"),
        ({"checkpoint_steps": (1, 3)}, "asks for a checkpoint at 3 but has 2 updates"),
        ({"checkpoint_steps": (-1,)}, "asks for a checkpoint at -1"),
        ({"examples": (replace(ROW, weights=(0.0, 1.0)),)}, "has 2 weights for its tokens"),
        ({"examples": (replace(ROW, weights=(0.0, 0.0, 0.0)),)}, "no context, no response or a negative weight"),
        ({"examples": (replace(ROW, weights=(1.0, 0.0, 1.0)),)}, "no context, no response or a negative weight"),
        ({"examples": (replace(ROW, weights=(0.0, -0.5, 1.0)),)}, "no context, no response or a negative weight"),
    ],
)
def test_what_cannot_be_trained_is_named(changes: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        check_job(replace(JOB, **changes), 3)


def test_a_row_longer_than_the_context_is_rejected() -> None:
    with pytest.raises(BackendRejected, match="has 3 tokens; the model's context is 2"):
        check_job(JOB, 2)


def test_the_rate_rises_over_the_warmup_and_falls_to_nothing() -> None:
    job = replace(JOB, batches=((0,),) * 6, warmup=2, learning_rate=8.0)
    assert [learning_rate(job, update) for update in range(7)] == [0.0, 4.0, 8.0, 6.0, 4.0, 2.0, 0.0]


STEPS = [TrainingStep(1, 2.0, 1e-4, 0.5), TrainingStep(2, 1.0, 1e-4, 0.5)]
END = Checkpoint(2, "there", AdapterSettings())


@pytest.mark.parametrize("events", [[*STEPS, END], [STEPS[0], *STEPS, END]], ids=["once", "an update again"])
def test_a_right_training_passes_unchanged(events: list[TrainingEvent]) -> None:
    assert list(check_training(replace(JOB, checkpoint_steps=()), events)) == events


@pytest.mark.parametrize(
    "events",
    [
        [STEPS[0], END],
        STEPS,
        [*STEPS, END, replace(STEPS[0], step=3)],
        [replace(STEPS[0], step=0), *STEPS, END],
        [replace(STEPS[0], loss=math.nan), STEPS[1], END],
    ],
    ids=["a hole", "no checkpoint", "too late", "update 0", "not finite"],
)
def test_a_wrong_training_is_refused(events: list[TrainingEvent]) -> None:
    with pytest.raises(BadResult, match="'j'"):
        list(check_training(replace(JOB, checkpoint_steps=()), events))
