"""What runs on the worker: `python -m inoc.backends.openweights.worker KIND` in a job's folder.

The local backend does the work. Results are uploaded as soon as they are finished and reported in an event; a job that
is started again, after its worker was killed, takes over what its earlier runs have uploaded.
"""

import itertools
import logging
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeVar, cast

from pydantic import TypeAdapter

from inoc.backends.local.backend import LocalBackend
from inoc.backends.openweights import bundle, wire
from inoc.backends.openweights.command import FILES, QUESTIONS, REQUESTS
from inoc.backends.openweights.follow import events_of
from inoc.backends.openweights.service import Named, Row, Service
from inoc.backends.protocols import Checkpoint, Completion, ModelSpec, SampleRequest, ScoreRequest, TrainingStep
from inoc.errors import InocError
from inoc.hashing import bytes_hash
from inoc.values import Sampling

log = logging.getLogger("inoc.backends.openweights")

STEP_SECONDS: Final = 2.0
"""Least seconds between two events of training steps."""
STEP_EVENTS: Final = 400
"""Most step events of one training: a server sends 1000 events in one answer."""
TRAINING: Final = "training"
T = TypeVar("T", bound=wire.Result)


class Often(NamedTuple):
    """Seconds between uploads of results and of training states, and the largest such state in megabytes."""

    upload_every: float
    resume_every: float
    resume_mb: int


class Reporter:
    """Reports in events what is done, and knows what earlier runs of this job have reported."""

    def __init__(self) -> None:
        self.service = Service()
        self.ow = self.service.ow
        self.run = self.ow.run
        runs = self.service.runs(str(self.run.job_id))
        earlier = self.service.events([run["id"] for run in runs if run["id"] != self.run.id])
        own = self.service.events([self.run.id])
        self.earlier = [event.data for event in events_of(str(self.run.job_id), earlier + own)]
        self.sent: list[dict[str, object]] = []
        self.began = time.monotonic()

    def send(self, kind: str, data: Row, content: bytes | None = None, name: str = "") -> None:
        """One event, with a file if there is content."""
        event: dict[str, object] = {**data, "inoc": kind, "event": f"{os.getpid()}-{len(self.sent)}"}
        if content is not None:
            file = self.service.call(lambda ow: ow.files.create(Named(content, name), purpose="result"))["id"]
            event |= {"file": file, "path": name, "sha256": bytes_hash(content)}
        self.run.log(event)
        self.sent.append(event)

    def finish(self, kind: str, tokens: int) -> None:
        """Make sure that every event is stored (the client gives up silently), then report how long it took."""
        lost = self.sent
        for _ in range(3):
            there = {cast(Row, row["data"]).get("event") for row in self.service.events([self.run.id])}
            lost = [event for event in self.sent if event["event"] not in there]
            for event in lost:
                self.run.log(event)
            if not lost:
                break
        else:
            raise InocError(f"{len(lost)} events of the job could not be stored.")
        self.send("done", {f"{kind}_tokens": tokens, f"{kind}_seconds": time.monotonic() - self.began})

    def stored(self, kind: str) -> list[Row]:
        """What earlier runs reported of this kind."""
        return [data for data in self.earlier if data["inoc"] == kind]


def device() -> str:
    """The worker's hardware, for the record."""
    import torch

    if not torch.cuda.is_available():
        return f"cpu, {os.cpu_count()} cores"
    return f"{torch.cuda.device_count()}x {torch.cuda.get_device_name(0)}"


def open_backend(reporter: Reporter, meta: Row) -> LocalBackend:
    """The local backend on the model that the client names."""
    for archive in Path().glob(f"*{FILES}"):
        bundle.unzip(archive.read_bytes(), Path(archive.name.removesuffix(FILES)))
    model = cast(Row, meta["model"])
    options = cast("dict[str, str | int | bool | None]", model["options"])
    dtype = cast("str", model["dtype"])
    revision = cast("str | None", model["revision"])
    backend = LocalBackend.from_spec(ModelSpec(str(model["id"]), revision, dtype, options))  # pyright: ignore[reportArgumentType]
    reporter.send("begin", {"identity": dict(backend.identity()), "hardware": device()})
    return backend


def in_parts(results: Iterator[T], every: float) -> Iterator[list[T]]:
    """Results in lists, each with what arrived in `every` seconds."""
    part: list[T] = []
    last = time.monotonic()
    for result in results:
        part.append(result)
        if time.monotonic() - last >= every:
            yield part
            part, last = [], time.monotonic()
    if part:
        yield part


def work_requests(reporter: Reporter, parcel: wire.Parcel, often: Often) -> None:
    """Score or sample all requests that earlier runs have not answered."""
    backend = open_backend(reporter, parcel.meta)
    requests = wire.unpack_requests(parcel)
    waiting = dict(enumerate(requests))
    for data in reporter.stored("part"):
        for number in wire.unpack(reporter.service.content(data)).arrays["number"]:
            waiting.pop(int(number), None)
    todo = list(waiting.values())
    results: Iterator[wire.Result]
    if parcel.meta["sampling"] is None:
        results = backend.score(cast(Sequence[ScoreRequest], todo))
    else:
        results = backend.sample(
            cast(Sequence[SampleRequest], todo), TypeAdapter(Sampling).validate_python(parcel.meta["sampling"])
        )
    done = 0
    for part in in_parts(results, often.upload_every):
        done += len(part)
        reporter.send("part", {"n": len(part)}, wire.pack_results(part), f"part-{os.getpid()}-{done:07d}.npz")
    tokens = sum(len(r.context) + len(r.completion if isinstance(r, ScoreRequest) else ()) for r in todo)
    reporter.finish("score" if parcel.meta["sampling"] is None else "sample", tokens)


def work_embed(reporter: Reporter, parcel: wire.Parcel, often: Often) -> None:
    """One vector per text."""
    backend = open_backend(reporter, parcel.meta)
    texts = cast(list[str], parcel.meta["texts"])
    reporter.send("part", {"n": len(texts)}, wire.pack_matrix(backend.embed(texts)), "vectors.npz")
    reporter.finish("embed", 0)


def restore(reporter: Reporter, directory: Path) -> int:
    """Take over checkpoints and the newest state that earlier runs uploaded; returns the number of updates done.

    A state counts only if every update before it was reported.
    """
    told = {int(row[0]) for data in reporter.stored("steps") for row in cast(list[list[float]], data["rows"])}
    whole = next(step for step in itertools.count() if step + 1 not in told)
    states = [data for data in reporter.stored("resume") if int(cast(int, data["step"])) <= whole]
    states.sort(key=lambda data: int(cast(int, data["step"])))
    done = int(cast(int, states[-1]["step"])) if states else 0
    if states:
        bundle.unzip(reporter.service.content(states[-1]), directory / f"resume-{done:05d}")
    finished = bool(reporter.stored("trained"))
    for data in reporter.stored("checkpoint"):
        step = int(cast(int, data["step"]))
        if finished or step <= done:
            bundle.unzip(reporter.service.content(data), directory / f"step-{step:05d}")
    return done


def work_train(reporter: Reporter, parcel: wire.Parcel, often: Often) -> None:
    """Train, and upload steps, checkpoints and from time to time the state to resume from."""
    directory = Path(TRAINING)
    directory.mkdir(exist_ok=True)
    done = restore(reporter, directory)
    if reporter.stored("trained"):
        return
    backend = open_backend(reporter, parcel.meta)
    job = wire.unpack_training(parcel, TRAINING)
    rows: list[list[float | None]] = []
    waiting = {*job.checkpoint_steps, len(job.batches)}
    sent = kept = time.monotonic()
    most = -(-len(job.batches) // STEP_EVENTS)
    for event in backend.train(job):
        if event.step <= done:
            continue
        if isinstance(event, TrainingStep):
            norm = event.grad_norm if math.isfinite(event.grad_norm) else None
            rows.append([event.step, event.loss, event.learning_rate, norm])
            if len(rows) >= most and time.monotonic() - sent >= STEP_SECONDS:
                send_steps(reporter, rows)
                sent = time.monotonic()
        elif isinstance(event, Checkpoint):
            send_steps(reporter, rows)
            folder = Path(str(event.location))
            content = bundle.zip_folder(folder)
            reporter.send("checkpoint", {"step": event.step}, content, f"{folder.name}.zip")
            waiting.discard(event.step)
        # a state must not be stored without the checkpoints and updates before it
        if event.step not in waiting and time.monotonic() - kept >= often.resume_every:
            kept = time.monotonic() if send_state(reporter, directory, done, rows, often.resume_mb) else kept
    send_steps(reporter, rows)
    reporter.send("trained", {"updates": len(job.batches)})
    tokens = sum(len(job.examples[i].token_ids) for batch in job.batches[done:] for i in batch)
    reporter.finish("train", tokens)


def send_steps(reporter: Reporter, rows: list[list[float | None]]) -> None:
    """Updates since the last event; the last one also under names that the server's pages plot."""
    if rows:
        step, loss, rate, _ = rows[-1]
        reporter.send("steps", {"rows": list(rows), "step": step, "loss": loss, "learning_rate": rate})
        rows.clear()


def send_state(reporter: Reporter, directory: Path, done: int, rows: list[list[float | None]], megabytes: int) -> bool:
    """Upload the newest state if it is new and small enough, after the updates that lead to it."""
    states = sorted(directory.glob("resume-*"))
    if not states:
        return False
    step = int(states[-1].name.removeprefix("resume-"))
    sent = {event["step"] for event in reporter.sent if event["inoc"] == "resume"}
    size = sum(file.stat().st_size for file in states[-1].iterdir()) / 1e6
    if step <= done or step in sent:
        return False
    if size > megabytes:
        log.warning("the state of update %d has %.0f MB and is not uploaded (resume_mb %d)", step, size, megabytes)
        return True
    send_steps(reporter, rows)
    try:
        reporter.send("resume", {"step": step}, bundle.zip_folder(states[-1]), f"{states[-1].name}.zip")
    except InocError as error:  # a training must not end because its state cannot be kept
        log.warning("the state of update %d is not uploaded: %s", step, error)
    return True


def work_answers(reporter: Reporter, parcel: wire.Parcel, often: Often) -> None:
    """Sample from the checkpoints, in a separate process: the training's memory is free again."""
    backend = open_backend(reporter, parcel.meta)
    adapter = wire.unpack_training(parcel, TRAINING).adapter
    answered = {data["step"] for data in reporter.stored("answers")}
    tokens = first = 0
    for group in wire.unpack_questions(Path(QUESTIONS).read_bytes()):
        first += len(group.requests)
        if group.step in answered:
            continue
        where = Checkpoint(group.step, f"{TRAINING}/step-{group.step:05d}", adapter) if group.step else None
        asked = [SampleRequest(r.id, r.context, where, r.stream) for r in group.requests]
        results: list[Completion] = list(backend.sample(asked, group.sampling))
        reporter.send("answers", {"step": group.step}, wire.pack_results(results), f"answers-{group.step:05d}.npz")
        tokens += sum(len(result.token_ids) for result in results)
    reporter.finish("answer", tokens)


def main(kind: str, upload_every: str, resume_every: str, resume_mb: str) -> None:
    """Do a job of this kind in the current folder; an InocError is reported in an event."""
    reporter = Reporter()
    work = {
        "score": work_requests,
        "sample": work_requests,
        "embed": work_embed,
        "train": work_train,
        "answer": work_answers,
    }[kind]
    often = Often(float(upload_every), float(resume_every), int(resume_mb))
    try:
        work(reporter, wire.unpack(Path(REQUESTS).read_bytes()), often)
    except InocError as error:
        reporter.send("error", {"type": type(error).__name__, "text": str(error)})
        sys.exit(f"inoc: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
