"""What runs in a worker: tasks for the one backend that its process holds, one at a time."""

import platform
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from inoc.backends import load_backend
from inoc.backends.probing import Probed, ProbeGroup, Prober, ProbeSpec
from inoc.backends.protocols import (
    Backend,
    Checkpoint,
    CheckpointAnswers,
    Completion,
    Embedder,
    ModelSpec,
    Provable,
    Sampler,
    SampleRequest,
    Scorer,
    ScoreRequest,
    TokenLogprobs,
    Trainer,
    TrainingEvent,
    TrainingJob,
    TrainingStep,
)
from inoc.cluster.place import compare, versions
from inoc.errors import BackendUnavailable, InocError
from inoc.values import Sampling, Scalar

LOCK_SECONDS = 600
"""How long a training waits for a worker that the cluster gave up and that still trains the same run."""


@dataclass(frozen=True)
class Order:
    """The backend that a worker is to hold, and what must be the same there as here.

    Attributes:
        backend: Its name; the worker's own environment has its keys.
        spec: The model and the backend's options.
        versions: Of Python, inoc and dask, by name.
        identity: The backend's identity where the command runs.
        proofs: What `inoc doctor` proved in the study.
    """

    backend: str
    spec: ModelSpec
    versions: Mapping[str, str]
    identity: Mapping[str, Scalar]
    proofs: tuple[str, ...] = ()


_turn = threading.Lock()
_held: list[tuple[Order, Backend]] = []


@contextmanager
def held(order: Order) -> Generator[Backend]:
    """This process's backend, made where it holds another; nobody else uses it meanwhile.

    Raises:
        BackendUnavailable: Versions, or what the backend says of the model and its engine, differ from the order's.
    """
    with _turn:
        if not _held or _held[0][0] != order:
            while _held:
                _held.pop()[1].close()
            _held.append((order, _opened(order)))
        yield _held[0][1]


def _opened(order: Order) -> Backend:
    compare("version of", order.versions, versions())
    backend = load_backend(order.backend, order.spec)
    compare("", order.identity, backend.identity())
    if isinstance(backend, Provable):
        backend.accept_proofs(order.proofs)
    return backend


def check(order: Order) -> None:
    """Raise where this worker cannot work."""
    with held(order) as backend:
        backend.check()


def score(order: Order, requests: Sequence[ScoreRequest]) -> list[TokenLogprobs]:
    """The scores of a call."""
    with held(order) as backend:
        assert isinstance(backend, Scorer)
        return list(backend.score(requests))


def sample(order: Order, requests: Sequence[SampleRequest], sampling: Sampling) -> list[Completion]:
    """The completions of a call."""
    with held(order) as backend:
        assert isinstance(backend, Sampler)
        return list(backend.sample(requests, sampling))


def embed(order: Order, texts: Sequence[str]) -> Float32[np.ndarray, "text feature"]:
    """The vectors of texts."""
    with held(order) as backend:
        assert isinstance(backend, Embedder)
        return backend.embed(texts)


def probe(
    order: Order, spec: ProbeSpec, groups: Sequence[ProbeGroup], references: Sequence[ProbeGroup]
) -> list[Probed]:
    """The references, then the groups."""
    with held(order) as backend:
        assert isinstance(backend, Prober)
        return list(backend.probe(spec, groups, references))


def train(order: Order, job: TrainingJob, topic: str) -> list[TrainingEvent]:
    """All events of a training, then the answers to its questions; updates are reported as they happen.

    Args:
        order: The backend.
        job: The training; its directory is one that the command sees, too.
        topic: Where updates are reported.

    Raises:
        BackendUnavailable: This worker does not see the directory.
        InocError: Another worker trains in it.
    """
    from distributed import get_worker

    me = get_worker()
    task = me.get_current_task()
    events: list[TrainingEvent] = []

    def stop_if_unwanted() -> None:
        """The command may have ended, or the cluster given this worker up: then another trains the same run."""
        state = me.state.tasks.get(task)
        if state is None or state.state == "cancelled":
            raise InocError(f"training '{job.id}' is not wanted any more. Fix: run it again.")

    with held(order) as backend, _alone(Path(job.directory), stop_if_unwanted):
        assert isinstance(backend, Trainer)
        for event in backend.train(replace(job, questions=())):
            stop_if_unwanted()
            events.append(event)
            if isinstance(event, TrainingStep):
                me.log_event(topic, [event.step, event.loss, event.learning_rate, event.grad_norm])
        points = {event.step: event for event in events if isinstance(event, Checkpoint)}
        for asked in job.questions:
            assert isinstance(backend, Sampler)
            if asked.step in points:
                stop_if_unwanted()
                requests = [replace(request, checkpoint=points[asked.step]) for request in asked.requests]
                events.append(CheckpointAnswers(asked.step, tuple(backend.sample(requests, asked.sampling))))
    return events


@contextmanager
def _alone(folder: Path, look: Callable[[], None]) -> Generator[None]:
    """Wait until no other worker trains in a folder, and keep others out."""
    from filelock import FileLock, Timeout

    if not folder.is_dir():
        raise BackendUnavailable(
            f"a worker of the cluster ({platform.node()}) does not see {folder}. Fix: put the store, or "
            "training.directory, on a file system that all workers share."
        )
    lock = FileLock(folder / "worker.lock", thread_local=False)
    for _ in range(LOCK_SECONDS):
        look()
        try:
            lock.acquire(timeout=1, poll_interval=0.1)
        except Timeout:
            continue
        try:
            yield
        finally:
            with suppress(OSError):  # Windows keeps a file that is open
                Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()
        return
    raise InocError(f"another worker has been training in {folder} for {LOCK_SECONDS} s. Fix: end it, then run again.")
