"""Fine-tuning: the update loop, a low-rank adapter (PEFT) or all weights, resumable after a kill.

Loss of an update = sum(weight * nll) / sum(weight) over the whole batch, however it is split up: into micro-batches,
and over the processes of a team, whose sums are added before the update.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch.utils.checkpoint import checkpoint as recompute  # pyright: ignore[reportUnknownVariableType]

from inoc.backends import training_folder as files
from inoc.backends.local.engine import Engine
from inoc.backends.local.model import LocalModel
from inoc.backends.local.score import is_out_of_memory
from inoc.backends.local.team import Team
from inoc.backends.local.trainable import Trainable, make_optimizer, make_trainable
from inoc.backends.local.training_files import load_state, save_state
from inoc.backends.protocols import TrainingEvent, TrainingExample, TrainingJob, TrainingStep
from inoc.backends.training import check_job, learning_rate
from inoc.errors import BackendRejected, BadResult

log = logging.getLogger("inoc.backends.local")

LOGIT_BYTES = 2**28
"""Logits kept for the backward pass at once; a longer batch recomputes them piece by piece."""


def train(model: LocalModel, job: TrainingJob, team: Team | None = None) -> Iterator[TrainingEvent]:
    """All events of a job: those of an earlier, interrupted call first, then new ones as they happen.

    Every process of the team runs this with the same job; the first writes the files. OtherSettings where the directory
    belongs to another job, BadResult for a loss that is not finite, and the errors of `check_job`.
    """
    check_job(job, model.context_length)
    team = team or Team()
    trainable = make_trainable(model, job)
    try:
        optimizer, kind = make_optimizer(job, trainable.parameters)
        directory, manifest = Path(job.directory), files.describe(job, model.identity, kind)
        if team.leads:
            files.claim(directory, manifest)
        team.wait()
        steps = load_state(directory, trainable.weights, optimizer, manifest)
        team.equalize(trainable.parameters)
        keep = {*job.checkpoint_steps, len(job.batches)} - {0}
        for step in steps:
            yield step
            if step.step in keep and team.leads:
                yield files.stored_checkpoint(job, step.step, manifest)
        updates = Updates(job, trainable, optimizer, team)
        for number in range(len(steps) + 1, len(job.batches) + 1):
            steps.append(updates.run(number))
            if number in keep and team.leads:
                files.save_checkpoint(job, number, trainable.save, manifest)
            if team.leads and (number % job.resume_every == 0 or number == len(job.batches)):
                save_state(directory, trainable.weights, optimizer, steps, manifest)
            yield steps[-1]
            if number in keep and team.leads:
                yield files.stored_checkpoint(job, number, manifest)
    finally:
        trainable.release()


@dataclass
class Updates:
    """The state of the loop between updates."""

    job: TrainingJob
    trainable: Trainable
    optimizer: torch.optim.Optimizer
    team: Team

    def __post_init__(self) -> None:
        self.pieces = max(self.job.accumulation, self.team.size)

    def run(self, number: int) -> TrainingStep:
        """Do update `number`, counted from 1."""
        job, optimizer = self.job, self.optimizer
        batch = sorted((job.examples[i] for i in job.batches[number - 1]), key=lambda e: -len(e.token_ids))
        rate = learning_rate(job, number - 1)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = self._gradients(batch, number)
        if not math.isfinite(loss):
            raise BadResult(
                f"training '{job.id}': the loss of update {number} is {loss}. Fix: lower the learning rate."
            )
        norm = torch.nn.utils.clip_grad_norm_(self.trainable.parameters, job.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return TrainingStep(number, loss, rate, float(norm))

    def _gradients(self, batch: Sequence[TrainingExample], number: int) -> float:
        """Loss of the batch, its gradients summed over micro-batches and processes; micro-batches that do not fit a
        process's memory are halved."""
        total = sum(sum(example.weights) for example in batch)
        while True:
            size = -(-len(batch) // self.pieces)
            loss, fits = 0.0, True
            # dropout is keyed by the update's number, so a resumed training draws the same
            with self.trainable.training(self.job.seed, number, self.team.rank), self._precision():
                try:
                    for piece in self.team.share(-(-len(batch) // size)):
                        examples = batch[piece * size : (piece + 1) * size]
                        part = summed_loss(self.trainable.engine, examples) / total
                        part.backward()  # pyright: ignore[reportUnknownMemberType]
                        loss += float(part.detach())
                except RuntimeError as error:
                    if not is_out_of_memory(error):
                        raise
                    fits = False
            if self.team.add(float(not fits)) == 0:
                self.team.add_gradients(self.trainable.parameters)
                return self.team.add(loss)
            self.optimizer.zero_grad(set_to_none=True)
            if size == 1:
                raise BackendRejected(
                    f"training '{self.job.id}': one example alone does not fit the memory of "
                    f"{self.trainable.engine.device}. Fix: use gradient checkpointing or a smaller model."
                )
            self.pieces = -(-len(batch) // max(1, size // 2))
            log.warning("out of memory: continuing with micro-batches of %d", -(-len(batch) // self.pieces))

    def _precision(self) -> AbstractContextManager[object]:
        half = self.trainable.half
        return nullcontext() if half is None else torch.autocast(self.trainable.engine.device.type, half)


def summed_loss(engine: Engine, examples: Sequence[TrainingExample]) -> Float[torch.Tensor, ""]:
    """sum(weight * nll) over the tokens of some examples, right-padded; float32 log-softmax."""
    width = max(len(example.token_ids) for example in examples) - 1
    ids = torch.zeros(len(examples), width, dtype=torch.int64)
    targets, weights = torch.zeros_like(ids), torch.zeros(ids.shape)
    for row, example in enumerate(examples):
        length = len(example.token_ids) - 1
        tokens = torch.tensor(example.token_ids)
        ids[row, :length], targets[row, :length] = tokens[:-1], tokens[1:]
        weights[row, :length] = torch.tensor(example.weights[1:])
    asked = weights.flatten().nonzero()[:, 0]
    device = engine.device
    positions = torch.arange(width, device=device)[None].expand(len(examples), -1)
    if engine.projects_rows:
        hidden = engine.hidden(ids.to(device), positions).flatten(0, 1)
        rows = hidden[asked.to(hidden.device)]
    else:
        rows = engine.whole_logits(ids.to(device), positions).flatten(0, 1)[asked.to(device)]
    chosen, factors = targets.flatten()[asked].to(rows.device), weights.flatten()[asked].to(rows.device)

    def piece(rows: torch.Tensor, chosen: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        logits = engine.logits(rows) if engine.projects_rows else rows
        nll = torch.nn.functional.cross_entropy(logits, chosen.to(logits.device), reduction="none")
        return (nll * factors.to(nll.device)).sum()

    block = max(1, LOGIT_BYTES // (4 * engine.vocabulary))
    if rows.shape[0] <= block:
        return piece(rows, chosen, factors)
    parts = zip(*(torch.split(part, block) for part in (rows, chosen, factors)), strict=True)
    return torch.stack([recompute(piece, *part, use_reentrant=False) for part in parts]).sum()
