"""What every backend that trains does alike: the checks of a job and its learning-rate schedule; and the check of what
a trainer returns."""

import math
from collections.abc import Iterable, Iterator

from inoc.backends.protocols import Checkpoint, TrainingEvent, TrainingJob, TrainingStep
from inoc.errors import BackendRejected, BadInput, BadResult


def check_job(job: TrainingJob, context_length: int) -> None:
    """Refuse a job that cannot be trained; BackendRejected for an example longer than the context, else BadInput."""
    if not job.directory:
        raise BadInput(f"training '{job.id}' has no directory to keep its checkpoints in.")
    if not job.batches or not all(job.batches):
        raise BadInput(f"training '{job.id}' has no batches or an empty one.")
    if min(job.accumulation, job.resume_every) < 1:
        raise BadInput(f"training '{job.id}' has accumulation or resume_every below 1. Fix: set them to 1 or more.")
    late = [step for step in job.checkpoint_steps if not 0 <= step <= len(job.batches)]
    if late:
        raise BadInput(
            f"training '{job.id}' asks for a checkpoint at {late[0]} but has {len(job.batches)} updates. "
            "Fix: correct training.checkpoints."
        )
    for example in job.examples:
        if len(example.weights) != len(example.token_ids):
            raise BadInput(f"training example '{example.id}' has {len(example.weights)} weights for its tokens.")
        if not any(example.weights[1:]) or example.weights[0] or min(example.weights) < 0:
            raise BadInput(f"training example '{example.id}' has no context, no response or a negative weight.")
        if len(example.token_ids) > context_length:
            raise BackendRejected(
                f"training example '{example.id}' has {len(example.token_ids)} tokens; the model's context is "
                f"{context_length}. Fix: shorten or remove it."
            )


def learning_rate(job: TrainingJob, update: int) -> float:
    """Learning rate of update `update`, counted from 0: up linearly over `warmup` updates, then down to 0."""
    if update < job.warmup:
        return job.learning_rate * update / job.warmup
    return job.learning_rate * (len(job.batches) - update) / max(1, len(job.batches) - job.warmup)


def check_training(job: TrainingJob, events: Iterable[TrainingEvent]) -> Iterator[TrainingEvent]:
    """Pass on the events of a training that can be right: updates of the job with a finite loss, checkpoints of its
    updates. An update may come again, after a restart. BadResult for an event that cannot be right, or where an update
    or a checkpoint that was asked for is missing at the end."""
    last = len(job.batches)
    steps, kept = set[int](), set[int]()
    for event in events:
        if not 0 <= event.step <= last or (isinstance(event, TrainingStep) and event.step == 0):
            raise BadResult(
                f"training '{job.id}' has {last} updates, and the backend answers for {event.step}. "
                "Fix: report it to the authors of the backend."
            )
        if isinstance(event, TrainingStep):
            steps.add(event.step)
            if not math.isfinite(event.loss):
                raise BadResult(
                    f"training '{job.id}': the loss of update {event.step} is {event.loss}. "
                    "Fix: lower the learning rate and train again."
                )
        elif isinstance(event, Checkpoint):
            kept.add(event.step)
        yield event
    wanted = {*job.checkpoint_steps, last} - {0}
    for what, missing in (("loss", set(range(1, last + 1)) - steps), ("checkpoint", wanted - kept)):
        if missing:
            raise BadResult(
                f"training '{job.id}' ended without the {what} of update {min(missing)} ({len(missing)} missing). "
                "Fix: report it to the authors of the backend."
            )
