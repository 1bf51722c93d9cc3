"""What every backend that trains does in the same way: the checks of a job, its learning-rate schedule, its record."""

import os
from pathlib import Path

from inoc.backends.protocols import TrainingJob
from inoc.errors import BackendRejected, BadInput


def check_job(job: TrainingJob, context_length: int) -> None:
    """Refuse a job that cannot be trained as it stands.

    Raises:
        BadInput: no directory, no batches, a checkpoint past the end, an example without context or response.
        BackendRejected: an example is longer than the model's context.
    """
    if not job.directory:
        raise BadInput(f"training '{job.id}' has no directory to keep its checkpoints in.")
    if not job.batches or not all(job.batches):
        raise BadInput(f"training '{job.id}' has no batches or an empty one.")
    if min(job.accumulation, job.resume_every) < 1:
        raise BadInput(f"training '{job.id}': accumulation and resume_every must be at least 1.")
    late = [step for step in job.checkpoint_steps if not 0 <= step <= len(job.batches)]
    if late:
        raise BadInput(
            f"training '{job.id}' asks for a checkpoint at {late[0]} but has {len(job.batches)} updates."
        )
    for example in job.examples:
        if len(example.weights) != len(example.token_ids):
            raise BadInput(
                f"training example '{example.id}' has {len(example.weights)} weights for its tokens."
            )
        if not any(example.weights[1:]) or example.weights[0] or min(example.weights) < 0:
            raise BadInput(
                f"training example '{example.id}' has no context, no response or a negative weight."
            )
        if len(example.token_ids) > context_length:
            raise BackendRejected(
                f"training example '{example.id}' has {len(example.token_ids)} tokens, more than the model's "
                f"context of {context_length}; shorten or leave it out, inoc does not cut."
            )


def learning_rate(job: TrainingJob, update: int) -> float:
    """Rate of update `update`, counted from 0: linear from 0 over `warmup` updates, then linear to 0 at the last."""
    if update < job.warmup:
        return job.learning_rate * update / job.warmup
    return job.learning_rate * (len(job.batches) - update) / max(1, len(job.batches) - job.warmup)


def write_whole(path: Path, text: str) -> None:
    """A file beside a training: written beside, flushed, renamed. One that is there is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.writing")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
