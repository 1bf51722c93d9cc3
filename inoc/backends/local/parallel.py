"""Data-parallel training: this process starts the members, passes on what the first one reports, and ends them.

Every member trains the whole job on its share of the micro-batches (`team.py`); members find each other through a
file. This process does not train, so that it can report which member died.
"""

import gc
import logging
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal

import torch
from pydantic import TypeAdapter

from inoc import errors
from inoc.backends.local.load import choose_device
from inoc.backends.local.model import LocalModel
from inoc.backends.local.options import Device, Options
from inoc.backends.protocols import Checkpoint, ModelSpec, TrainingEvent, TrainingJob, TrainingStep
from inoc.backends.training import check_job
from inoc.errors import BackendUnavailable, InocError
from inoc.values import Scalar

log = logging.getLogger("inoc.backends.local")

LOOK_EVERY = 0.2
"""Seconds between checks that all members run."""
GRACE = 3.0
"""Seconds in which the others may report why they failed, after the first has ended."""


@dataclass(frozen=True)
class Order:
    """What a member does, as one line of JSON on its standard input."""

    spec: ModelSpec
    options: Options
    identity: Mapping[str, Scalar]
    job: TrainingJob
    rank: int
    size: int
    meeting: str
    """The file through which the processes find each other."""


@dataclass(frozen=True)
class Said:
    """What a member reports, as one line of JSON on its standard output."""

    kind: Literal["step", "checkpoint", "log", "error", "done"]
    step: TrainingStep | None = None
    checkpoint: Checkpoint | None = None
    text: str = ""
    error: str = ""
    """Name of the error's class in `inoc.errors`, "" for any other error."""


ORDER: TypeAdapter[Order] = TypeAdapter(Order)
SAID: TypeAdapter[Said] = TypeAdapter(Said)


def train_in_processes(model: LocalModel, job: TrainingJob) -> Iterator[TrainingEvent]:
    """`train` by as many processes as the option `processes` says; the events are those of one process.

    BackendUnavailable for more processes than GPUs; InocError where a process died, or what `train` raises.
    """
    n, options = model.options.processes, replace(model.options, processes=1)
    check_job(job, model.context_length)
    check_devices(model.options.device, n)
    free_memory(model)
    with tempfile.TemporaryDirectory(prefix="inoc-training-") as folder:
        meeting = str(Path(folder) / "meeting")
        members = [
            Member(Order(model.spec, options, model.identity, job, rank, n, meeting), Path(folder) / f"stderr-{rank}")
            for rank in range(n)
        ]
        try:
            yield from _events(members, job.id)
        finally:
            for member in members:
                member.end()


def free_memory(model: LocalModel) -> None:
    """Remove this process's model from memory, which the members need."""
    model.close()
    gc.collect()  # a model with adapters refers to itself
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def check_devices(device: Device, processes: int) -> None:
    """BackendUnavailable where there are fewer GPUs than processes."""
    kind = choose_device(device).type
    if kind == "mps":
        raise BackendUnavailable(
            "several processes cannot share an mps device. Fix: set backend.options.processes to 1."
        )
    if kind == "cuda" and torch.cuda.device_count() < processes:
        raise BackendUnavailable(
            f"backend.options.processes is {processes}, but this machine has {torch.cuda.device_count()} CUDA "
            "device(s). Fix: lower processes; every process needs its own device."
        )


class Member:
    """One process: its start, its reports as they arrive, and its end."""

    def __init__(self, order: Order, errors_file: Path) -> None:
        self.rank, self.size = order.rank, order.size
        self.errors_file = errors_file
        self.reports: queue.SimpleQueue[Said] = queue.SimpleQueue()
        with errors_file.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "inoc.backends.local.member"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment(order.size),
                start_new_session=True,  # Ctrl-C is this process's to handle
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()
        with suppress(BrokenPipeError):  # a dead member is noticed later
            self.process.stdin.write(ORDER.dump_json(order) + b"\n")
            self.process.stdin.flush()  # stays open: its end tells the member that this process died

    def _read(self, lines: IO[bytes]) -> None:
        for line in lines:
            try:
                self.reports.put(SAID.validate_json(line))
            except ValueError:
                continue  # a library that prints

    def next(self, seconds: float) -> Said | None:
        """The next report; None after `seconds` without one."""
        try:
            return self.reports.get(timeout=seconds)
        except queue.Empty:
            return None

    @property
    def status(self) -> int | None:
        """Exit status, None while it runs; once it is known, all reports have arrived."""
        status = self.process.poll()
        if status is not None:
            self._reader.join()
        return status

    def last_words(self) -> str:
        """The last line it wrote to stderr."""
        lines = self.errors_file.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "no output")[:300]

    def end(self) -> None:
        """Kill it if it runs, and release its pipes."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()


def environment(size: int) -> dict[str, str]:
    """The environment of a member: its share of the cores, and a network that stays on this machine."""
    own = dict(os.environ)
    own.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // size)))
    own["TOKENIZERS_PARALLELISM"] = "false"
    if sys.platform == "linux":
        own.setdefault("GLOO_SOCKET_IFNAME", "lo")
    return own


def _events(members: list[Member], job: str) -> Iterator[TrainingEvent]:
    """What the first member reports, until all are done."""
    waiting, first = set(range(len(members))), members[0]
    while waiting:
        said = first.next(LOOK_EVERY if 0 in waiting else 0.0)
        match said:
            case Said(kind="step", step=TrainingStep() as step):
                yield step
            case Said(kind="checkpoint", checkpoint=Checkpoint() as checkpoint):
                yield checkpoint
            case Said(kind="log"):
                log.warning("%s", said.text)
            case Said(kind="done"):
                waiting.discard(0)
            case Said(kind="error"):
                raise _failure(members, {0: said}, job)
            case _:
                pass
        if said is None:
            for rank in sorted(waiting):
                status = members[rank].status
                if status == 0 and rank > 0:
                    waiting.discard(rank)
                elif status is not None and (rank > 0 or first.reports.empty()):
                    raise _failure(members, {}, job)
            if waiting and 0 not in waiting:
                time.sleep(LOOK_EVERY / 10)


def _failure(members: list[Member], said: dict[int, Said], job: str) -> InocError:
    """Why a training ended: an error that inoc raised, else the member that was killed, else the first that failed."""
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline and any(member.status is None for member in members):
        time.sleep(LOOK_EVERY / 4)
    for member in members:
        while member.rank not in said and (report := member.next(0.0)) is not None:
            if report.kind == "error":
                said[member.rank] = report
    for report in (said[rank] for rank in sorted(said)):
        kind = getattr(errors, report.error, None) if report.error else None
        if isinstance(kind, type) and issubclass(kind, InocError):
            return kind(report.text)
    killed = [member for member in members if (member.status or 0) < 0]
    if killed:
        dead = killed[0]
        why = " (often: out of memory)" if dead.status == -9 else ""
        return InocError(
            f"training '{job}': process {dead.rank + 1} of {dead.size} was ended by signal {-(dead.status or 0)}{why}. "
            "Fix: run the same command again; it resumes from the last saved state."
        )
    failed = next((member for member in members if member.status), members[0])
    words = said[failed.rank].text if failed.rank in said else failed.last_words()
    return InocError(
        f"training '{job}': process {failed.rank + 1} of {failed.size} failed ({words}). "
        "Fix: run the same command again; it resumes from the last saved state."
    )
