"""A pool: a backend whose calls run on workers that each hold one inner backend.

It answers what the inner backend answers: a call goes to one worker whole, so that batches, and with them the last
bits, are the same. Only samples, each of which has a random stream of its own, and groups of probes are spread.
"""

import time
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, ClassVar, Final, TypeVar

import numpy as np
from jaxtyping import Float32

from inoc.backends import load_backend
from inoc.backends.probing import Probed, ProbeGroup, ProbeSpec
from inoc.backends.protocols import (
    Backend,
    Capabilities,
    ChatTokenizer,
    Completion,
    ModelSpec,
    Provable,
    SampleRequest,
    ScoreRequest,
    TokenLogprobs,
    TrainingEvent,
    TrainingJob,
    TrainingStep,
)
from inoc.cluster import worker
from inoc.cluster.client import Client, Future, wait_for
from inoc.cluster.place import PATIENCE, Place, connected, dashboard, versions, workers
from inoc.errors import BackendRejected, BackendUnavailable, BadInput, InocError
from inoc.values import Sampling, Scalar

R = TypeVar("R")
SAMPLES: Final = 128
"""Answers of one task: fewer leave a worker's last rows alone, more leave workers without any."""
GROUPS: Final = 8
"""Groups of one probing task, which computes the references again."""
LOOK_EVERY: Final = 1.0
"""Seconds between questions how many workers there are."""


class Pool:
    """A backend of many workers. Made by `open_pool`; calls may come from several threads.

    Args:
        client: Of the cluster.
        inner: The backend as it is here: it names the model and has the tokenizer.
        order: What workers hold.
        resources: What a task needs of its worker.
    """

    name: ClassVar[str] = "pool"
    capabilities: ClassVar[Capabilities] = Capabilities()

    def __init__(
        self, client: Client, inner: Backend, order: worker.Order, resources: Mapping[str, int | float]
    ) -> None:
        can = inner.capabilities
        answers = can.train and can.sample and can.adapters
        self.__dict__.update(name=inner.name, capabilities=replace(can, samples_while_training=answers))
        self._client, self._inner, self._order = client, inner, order
        self._resources = dict(resources)
        self._workers, self._looked, self._seen = 0, 0.0, time.monotonic()

    @classmethod
    def from_spec(cls, model: ModelSpec) -> "Pool":
        """Refused: a pool needs a cluster."""
        raise BadInput(f"a pool for {model.id} needs a cluster. Fix: call inoc.cluster.open_pool.")

    @property
    def tokenizer(self) -> ChatTokenizer:
        """The inner backend's."""
        return self._inner.tokenizer

    @property
    def context_length(self) -> int:
        """The inner backend's."""
        return self._inner.context_length

    def identity(self) -> Mapping[str, Scalar]:
        """The inner backend's: how many compute a value does not change it."""
        return self._inner.identity()

    def needs_proof(self) -> str | None:
        """What the inner backend needs proved."""
        return self._inner.needs_proof() if isinstance(self._inner, Provable) else None

    def accept_proofs(self, proofs: Iterable[str]) -> None:
        """Tell the workers what was proved."""
        self._order = replace(self._order, proofs=tuple(sorted(proofs)))

    @property
    def workers(self) -> int:
        """How many workers there are now."""
        now = time.monotonic()
        if now - self._looked > LOOK_EVERY and self._client.status == "running":  # else it would wait to connect
            self._looked = now
            with suppress(OSError, KeyError):  # the next call says what is wrong
                self._workers = workers(self._client)
            self._seen = now if self._workers else self._seen
        return self._workers

    @property
    def dashboard(self) -> str:
        """The address of the cluster's dashboard; "" where it has none."""
        return dashboard(self._client)

    def check(self) -> None:
        """A worker makes its backend and checks it."""
        self._call(worker.check)

    def close(self) -> None:
        """Free what the inner backend holds here."""
        self._inner.close()

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        """As the inner backend does, on one worker."""
        yield from self._call(worker.score, requests)

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        """As the inner backend does, spread over the workers."""
        parts = [requests[i : i + SAMPLES] for i in range(0, len(requests), SAMPLES)]
        futures = [self._submit(worker.sample, part, sampling) for part in parts]
        with self._until_done(futures):
            for future in futures:
                yield from self._result(future)

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text feature"]:
        """As the inner backend does, on one worker."""
        return self._call(worker.embed, texts)

    def probe(
        self, spec: ProbeSpec, groups: Sequence[ProbeGroup], references: Sequence[ProbeGroup] = ()
    ) -> Iterator[Probed]:
        """As the inner backend does, spread over the workers, in the order of the groups."""
        parts = [groups[i : i + GROUPS] for i in range(0, len(groups), GROUPS)] or [groups]
        futures = [self._submit(worker.probe, spec, part, references) for part in parts]
        with self._until_done(futures):
            for n, future in enumerate(futures):
                yield from self._result(future)[0 if n == 0 else len(references) :]

    def train(self, job: TrainingJob) -> Iterator[TrainingEvent]:
        """The updates as they happen, then checkpoints and answers, when a worker has trained the whole job."""
        folder = Path(job.directory).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        reports: SimpleQueue[TrainingStep | None] = SimpleQueue()
        topic = f"inoc-{uuid.uuid4()}"
        self._client.subscribe_topic(topic, lambda event: reports.put(TrainingStep(*event[1])))
        future = self._submit(worker.train, replace(job, directory=str(folder)), topic)
        future.add_done_callback(lambda _: reports.put(None))
        told = 0
        with self._until_done([future]):
            try:
                while (step := self._next(reports)) is not None:
                    if step.step == told + 1:  # another worker repeats what a dead one reported
                        told = step.step
                        yield step
                for event in self._result(future):
                    if not isinstance(event, TrainingStep) or event.step > told:
                        yield event
            finally:
                self._client.unsubscribe_topic(topic)

    def _next(self, reports: "SimpleQueue[TrainingStep | None]") -> TrainingStep | None:
        while True:
            try:
                return reports.get(timeout=LOOK_EVERY)
            except Empty:
                self._need_workers()

    def _need_workers(self) -> None:
        """Raise where the cluster has had no worker for too long."""
        if not self.workers and time.monotonic() - self._seen > PATIENCE:
            raise BackendUnavailable(
                f"the cluster has had no worker for {PATIENCE:.0f} s. Fix: start workers and run the same command "
                "again; it resumes."
            )

    def _submit(self, task: Callable[..., R], *given: object) -> Future[R]:
        key = f"{task.__name__}-{uuid.uuid4()}"
        return self._client.submit(task, self._order, *given, key=key, pure=False, resources=self._resources or None)

    def _call(self, task: Callable[..., R], *given: object) -> R:
        future = self._submit(task, *given)
        with self._until_done([future]):
            return self._result(future)

    @contextmanager
    def _until_done(self, futures: Sequence[Future[Any]]) -> Generator[None]:
        """Tell the workers of what nobody waits for any more."""
        try:
            yield
        finally:
            for future in futures:
                if not future.done():
                    future.cancel()

    def _result(self, future: Future[R]) -> R:
        """What a task returned, or its error; InocError for what went wrong with the cluster."""
        from concurrent.futures import CancelledError

        from distributed import KilledWorker

        try:
            while not future.done():
                wait_for(future, LOOK_EVERY)
                self._need_workers()
            return future.result()
        except InocError:
            raise
        except CancelledError:
            raise BackendUnavailable(
                "the cluster's scheduler does not answer any more. Fix: start it and run the same command again; it "
                "resumes."
            ) from None
        except KilledWorker as error:
            raise InocError(
                f"{error.allowed_failures + 1} workers died one after the other on the same task, often from lack of "
                "memory. Fix: give workers more memory or use a smaller model; the workers' logs say more."
            ) from None
        except (ImportError, AttributeError) as error:
            raise BackendUnavailable(
                f"a worker of the cluster lacks something that is here ({error}). Fix: install the same versions on "
                "all workers."
            ) from None


@contextmanager
def open_pool(backend: str, spec: ModelSpec, place: Place) -> Generator[Pool]:
    """A pool of workers that each hold a backend, for as long as the context lasts.

    Args:
        backend: The backend's name.
        spec: The model and the backend's options.
        place: Where the workers are.

    Returns:
        A context manager that gives the pool.

    Raises:
        BackendRejected: The backend starts jobs on machines of its own.
        BackendUnavailable: There is no cluster, no worker with the resources, or it has other versions.
    """
    if Path(spec.id).is_dir():
        spec = replace(spec, id=str(Path(spec.id).absolute()))
    inner = load_backend(backend, spec)
    if inner.capabilities.jobs:
        raise BackendRejected(f"the backend {backend} has machines of its own. Fix: leave --cluster out.")
    with connected(place) as client:
        order = worker.Order(backend, spec, versions(), dict(inner.identity()))
        _need_resources(client, place)
        yield Pool(client, inner, order, place.resources)


def _need_resources(client: Client, place: Place) -> None:
    """BackendUnavailable where workers lack what a task needs, which would wait for ever; where all have just died,
    nobody knows."""
    found = client.scheduler_info()["workers"].values()
    if found and not any(all(w["resources"].get(k, 0) >= n for k, n in place.resources.items()) for w in found):
        asked = ", ".join(f"{name}={n:g}" for name, n in place.resources.items())
        raise BackendUnavailable(
            f'no worker of the cluster has {asked}. Fix: start one with `dask worker ADDRESS --resources "{asked}"`.'
        )
