"""Fine-tuning on the service: inoc's own loop of forward_backward and optim_step, resumable after a kill.

Loss of an update = sum(weight * nll) / sum(weight) over the whole batch. The service sums weight * nll, so the
weights are sent divided by their sum.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inoc.backends.protocols import TrainingEvent, TrainingExample, TrainingJob, TrainingStep
from inoc.backends.tinker.adapter import ServiceAdapter, service_adapter
from inoc.backends.tinker.record import Record, open_record, write_record
from inoc.backends.tinker.service import Service
from inoc.backends.training import learning_rate
from inoc.errors import BadInput, BadResult
from inoc.values import Scalar

if TYPE_CHECKING:
    from tinker import TrainingClient
    from tinker.types import AdamParams, Datum

log = logging.getLogger("inoc.backends.tinker")

RESUME_SECONDS = 30 * 24 * 3600
"""How long the service keeps states that only serve to resume after a kill."""


def train(service: Service, job: TrainingJob, model: str, base: Mapping[str, Scalar]) -> Iterator[TrainingEvent]:
    """Train, or resume: events of an earlier, interrupted call first, then new ones as they happen.

    BackendRejected for what the service cannot train, OtherSettings for another job's directory, BadResult for a loss
    that is missing or not finite.
    """
    adapter = service_adapter(job)
    directory, record = Path(job.directory), open_record(job, base, adapter)
    if adapter.differences:
        log.warning("training '%s' on the Tinker service differs: %s", job.id, "; ".join(adapter.differences))
    keep = {*job.checkpoint_steps, len(job.batches)} - {0}
    for step in tuple(record.updates):
        yield step
        if step.step in keep:
            yield record.checkpoint(step.step, directory)
    done = len(record.updates)
    if done == len(job.batches):
        return
    client = open_client(service, job, model, adapter, record)
    for number in range(done + 1, len(job.batches) + 1):
        step = update(service, client, job, number)
        record.updates.append(step)
        if number in keep or number % job.resume_every == 0:
            _save(service, client, record, number, number in keep)
            write_record(record, directory)
        yield step
        if number in keep:
            yield record.checkpoint(number, directory)


def open_client(
    service: Service, job: TrainingJob, model: str, adapter: ServiceAdapter, record: Record
) -> "TrainingClient":
    """The service's training: resumed, continued from `job.start`, or new; BadInput where the starting weights
    have other adapter settings."""
    client, start, state = service.client, job.start, record.state
    if state is not None:
        return service.call(lambda: client.create_training_client_from_state_with_optimizer(state).result())
    if start is not None and start.location is not None:
        if start.adapter != adapter.settings:
            raise BadInput(
                f"training '{job.id}' continues from a checkpoint with other adapter settings ({start.adapter}, not "
                f"{adapter.settings}). Fix: keep the adapter settings of its start."
            )
        weights = training_weights(start.location)
        return service.call(lambda: client.create_training_client_from_state(weights).result())
    return service.call(
        lambda: client.create_lora_training_client(
            model, rank=adapter.settings.rank, seed=job.seed, train_mlp=adapter.train_mlp,
            train_attn=adapter.train_attn, train_unembed=False,
        ).result()
    )  # fmt: skip


def training_weights(location: str) -> str:
    """Address of the trainable weights of a checkpoint saved for sampling: both are saved under one name."""
    parts = location.split("/")
    if not location.startswith("tinker://") or len(parts) != 5 or parts[3] != "sampler_weights":
        raise BadInput(f"'{location}' is not a checkpoint that inoc saved on a Tinker service. Fix: start from one.")
    return "/".join([*parts[:3], "weights", parts[4]])


def update(service: Service, client: "TrainingClient", job: TrainingJob, number: int) -> TrainingStep:
    """Update `number`, counted from 1. Both requests are sent before the first answer is awaited."""
    rate = learning_rate(job, number - 1)
    data = datums([job.examples[i] for i in job.batches[number - 1]])
    losses = client.forward_backward(data, "cross_entropy").future()
    stepped = client.optim_step(adam(job, rate)).future()
    loss = service.wait(losses).metrics.get("loss:sum", math.nan)
    metrics = service.wait(stepped).metrics or {}
    if not math.isfinite(loss):
        raise BadResult(f"training '{job.id}': the loss of update {number} is {loss}. Fix: lower the learning rate.")
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
    """Every setting, because the service's defaults differ."""
    from tinker.types import AdamParams

    decay, norm = job.weight_decay, job.max_grad_norm
    return AdamParams(learning_rate=rate, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=decay, grad_clip_norm=norm)


def _save(service: Service, client: "TrainingClient", record: Record, number: int, keep: bool) -> None:
    """Save the state on the service, and weights to sample from under the same name."""
    name = f"step-{number:05d}"
    state = client.save_state(name, ttl_seconds=None if keep else RESUME_SECONDS).future()
    if keep:
        sampler = client.save_weights_for_sampler(name).future()
        record.checkpoints[number] = service.wait(sampler).path
    record.state = service.wait(state).path
    if keep and training_weights(record.checkpoints[number]) != record.state:
        raise BadResult(
            f"the service saved '{name}' under unrelated addresses: {record.state}, {record.checkpoints[number]}."
        )
