"""The processes of one training: what each computes, and what they sum. A single process is a team of one."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist

BUCKET_BYTES = 2**28
"""Gradients are summed in pieces of about this size, so that no second copy of all of them is in memory."""


@dataclass(frozen=True)
class Team:
    """This process is number `rank` of `size`. Everything here must be called by all processes, in the same order."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes the files and reports the events."""
        return self.rank == 0

    def share(self, pieces: int) -> range:
        """Which of the micro-batches of an update are this process's."""
        return range(self.rank, pieces, self.size)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            self.add(0.0)

    def add(self, value: float) -> float:
        """The sum of a number over the processes."""
        if self.size == 1:
            return value
        total = torch.tensor([value], dtype=torch.float64, device=current_device())
        dist.all_reduce(total)  # pyright: ignore[reportUnknownMemberType]
        return float(total)

    def add_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replace every gradient by its sum over the processes; a process without one counts as zero."""
        if self.size == 1:
            return
        for bucket in _buckets(parameters):
            grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in bucket]
            flat = torch.cat([grad.flatten() for grad in grads])
            dist.all_reduce(flat)  # pyright: ignore[reportUnknownMemberType]
            start = 0
            for parameter in bucket:
                parameter.grad = flat[start : start + parameter.numel()].view_as(parameter)
                start += parameter.numel()

    def equalize(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Give every process the weights of the first."""
        if self.size > 1:
            with torch.no_grad():
                for parameter in parameters:
                    dist.broadcast(parameter, 0)


def current_device() -> torch.device:
    """Where a team's sums are computed: this process's GPU with NCCL, else the CPU."""
    if dist.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _buckets(parameters: Sequence[torch.nn.Parameter]) -> Generator[list[torch.nn.Parameter]]:
    """Parameters in order, cut where the type or device changes or a bucket is full."""
    bucket: list[torch.nn.Parameter] = []
    size = 0
    for parameter in parameters:
        alike = not bucket or (bucket[0].dtype, bucket[0].device) == (parameter.dtype, parameter.device)
        if bucket and (not alike or size >= BUCKET_BYTES):
            yield bucket
            bucket, size = [], 0
        bucket.append(parameter)
        size += parameter.numel() * parameter.element_size()
    if bucket:
        yield bucket
