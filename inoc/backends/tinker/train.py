"""Fine-tuning on the service: inoc's own loop of forward_backward and optim_step, resumable after a kill.

Loss of an update = sum(weight * nll) / sum(weight) over the whole batch. The service adds up weight * nll, so the
weights are sent divided by their sum.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inoc.backends.protocols import TrainingEvent, TrainingExample, TrainingJob, TrainingStep
from inoc.backends.tinker.adapter import ServiceAdapter, service_adapter
from inoc.backends.tinker.record import Record, open_record, write_record
from inoc.backends.training import check_job, learning_rate
from inoc.errors import BadInput, BadResult

if TYPE_CHECKING:
    from tinker import TrainingClient
    from tinker.types import AdamParams, Datum

    from inoc.backends.tinker.backend import TinkerBackend

log = logging.getLogger("inoc.backends.tinker")

RESUME_SECONDS = 30 * 24 * 3600
"""How long the service keeps states that only serve to go on after a kill."""


def train(backend: "TinkerBackend", job: TrainingJob) -> Iterator[TrainingEvent]:
    """All events of the job: those of an earlier, interrupted call first, then new ones as they happen.

    Raises:
        BadInput, BackendRejected: the job cannot be trained as it stands, or not on this service.
        OtherSettings: the directory holds a training of another job.
        BadResult: the loss is not finite or missing.
    """
    check_job(job, backend.context_length)
    adapter = service_adapter(job)
    directory, record = Path(job.directory), open_record(job, backend.identity(), adapter)
    if adapter.differences:
        log.warning("training '%s' on the Tinker service differs: %s", job.id, "; ".join(adapter.differences))
    keep = {*job.checkpoint_steps, len(job.batches)} - {0}
    for step in record.steps():
        yield step
        if step.step in keep:
            yield record.checkpoint(step.step, directory)
    done = len(record.updates)
    if done == len(job.batches):
        return
    client = open_client(backend, job, adapter, record)
    for number in range(done + 1, len(job.batches) + 1):
        step = update(backend, client, job, number)
        record.add(step)
        if number in keep or number % job.resume_every == 0:
            _save(backend, client, record, number, number in keep)
            write_record(record, directory)
        yield step
        if number in keep:
            yield record.checkpoint(number, directory)


def open_client(
    backend: "TinkerBackend", job: TrainingJob, adapter: ServiceAdapter, record: Record
) -> "TrainingClient":
    """The service's training: gone on with, continued from `job.start`, or new.

    Raises BadInput where the starting weights have other adapter settings.
    """
    service, start = backend.service, job.start
    client, rank = service.client, adapter.settings.rank
    if record.state is not None:
        state = record.state
        made = service.call(lambda: client.create_training_client_from_state_with_optimizer(state).result())
    elif start is not None and start.location is not None:
        if start.adapter != adapter.settings:
            raise BadInput(
                f"training '{job.id}' continues from a checkpoint with other adapter settings ({start.adapter}, not "
                f"{adapter.settings}); a continued training keeps the adapter settings of its start."
            )
        weights = training_weights(start.location)
        made = service.call(lambda: client.create_training_client_from_state(weights).result())
    else:
        made = service.call(
            lambda: client.create_lora_training_client(
                backend.served_name,
                rank=rank,
                seed=job.seed,
                train_mlp=adapter.train_mlp,
                train_attn=adapter.train_attn,
                train_unembed=False,
            ).result()
        )
    return made


def training_weights(location: str) -> str:
    """Where the weights to train on are, of a checkpoint saved for sampling: both are saved under one name."""
    parts = location.split("/")
    if not location.startswith("tinker://") or len(parts) != 5 or parts[3] != "sampler_weights":
        raise BadInput(
            f"'{location}' is no checkpoint that inoc saved on a Tinker service; training continues only there."
        )
    return "/".join([*parts[:3], "weights", parts[4]])


def update(backend: "TinkerBackend", client: "TrainingClient", job: TrainingJob, number: int) -> TrainingStep:
    """Update `number`, counted from 1. Both requests go out before the first answer is waited for."""
    rate = learning_rate(job, number - 1)
    data = datums([job.examples[i] for i in job.batches[number - 1]])
    losses = client.forward_backward(data, "cross_entropy").future()
    stepped = client.optim_step(adam(job, rate)).future()
    loss = backend.service.wait(losses).metrics.get("loss:sum", math.nan)
    metrics = backend.service.wait(stepped).metrics or {}
    if not math.isfinite(loss):
        raise BadResult(
            f"training '{job.id}': the loss of update {number} is {loss}; lower the learning rate."
        )
    return TrainingStep(number, loss, rate, metrics.get("grad_norm", math.nan))


def datums(examples: Sequence[TrainingExample]) -> "list[Datum]":
    """Inputs ids[:-1], targets ids[1:], and their weights divided by the sum over all examples."""
    from tinker.types import Datum, ModelInput, TensorData

    total = sum(sum(example.weights) for example in examples)
    return [
        Datum(
            model_input=ModelInput.from_ints(list(example.token_ids[:-1])),
            loss_fn_inputs={
                "target_tokens": TensorData.from_numpy(np.array(example.token_ids[1:], np.int64)),
                "weights": TensorData.from_numpy((np.array(example.weights[1:]) / total).astype(np.float32)),
            },
        )
        for example in examples
    ]


def adam(job: TrainingJob, rate: float) -> "AdamParams":
    """Everything said: the service's own defaults are others."""
    from tinker.types import AdamParams

    return AdamParams(
        learning_rate=rate,
        beta1=0.9,
        beta2=0.999,
        eps=1e-8,
        weight_decay=job.weight_decay,
        grad_clip_norm=job.max_grad_norm,
    )


def _save(
    backend: "TinkerBackend", client: "TrainingClient", record: Record, number: int, keep: bool
) -> None:
    """Save the state on the service, and under the same name what can be sampled from."""
    name = f"step-{number:05d}"
    state = client.save_state(name, ttl_seconds=None if keep else RESUME_SECONDS).future()
    if keep:
        sampler = client.save_weights_for_sampler(name).future()
        record.checkpoints[number] = backend.service.wait(sampler).path
    record.state = backend.service.wait(state).path
    if keep and training_weights(record.checkpoints[number]) != record.state:
        raise BadResult(
            f"the service saved '{name}' under unrelated addresses: {record.state}, {record.checkpoints[number]}."
        )
