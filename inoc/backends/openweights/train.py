"""A training as one job: its steps, checkpoints and answers as the job reports them, kept in the job's directory.

The layout is the local backend's: `manifest.json`, `step-00050/` with the adapter; in addition `openweights.json` says
which job on the server it is.
"""

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from inoc.backends.manifest import MANIFEST, verify
from inoc.backends.openweights import bundle, wire
from inoc.backends.openweights.command import QUESTIONS, REQUESTS
from inoc.backends.openweights.desk import Desk
from inoc.backends.openweights.follow import Event
from inoc.backends.openweights.record import Record, claim, write_record
from inoc.backends.protocols import Checkpoint, CheckpointAnswers, Completion, TrainingEvent, TrainingJob, TrainingStep
from inoc.backends.training import check_job
from inoc.errors import BackendRejected, BadInput, BadResult
from inoc.hashing import bytes_hash, file_hash

log = logging.getLogger("inoc.backends.openweights")


def submit(desk: Desk, job: TrainingJob, context_length: int) -> Record:
    """Start the training, or find a job that trains it already.

    BadInput or BackendRejected for a job that cannot be trained, OtherSettings where the directory holds another one.
    """
    check_job(job, context_length)
    if job.adapter.kind == "full" and desk.model.upload is None:
        raise BackendRejected(
            f"training '{job.id}' asks for full fine-tuning, whose checkpoints are whole models, and only models up to "
            "upload_mb are transferred. Fix: use LoRA."
        )
    names = desk.adapters([job.start])
    content = wire.pack_training(desk.setup(None), job, names)
    questions = wire.pack_questions(job.questions) if job.questions else b""
    learned = wire.pack_training({"model": dict(desk.learned())}, job, names)
    record = Record("", bytes_hash(learned), bytes_hash(questions), desk.choice())
    key = job.directory, record
    if key not in desk.trainings:
        desk.trainings[key] = _running(desk, job, record) or _start(desk, job, record, content, questions, names)
    return desk.trainings[key]


def _running(desk: Desk, job: TrainingJob, record: Record) -> Record | None:
    """The job that an earlier call, perhaps of an older version, submitted for this training, unless it failed."""
    known = claim(job, record)
    if known is None or known.choice != record.choice:
        return None
    rows = desk.service.jobs([known.job])
    if not rows or rows[known.job]["status"] in ("failed", "canceled"):
        return None
    desk.found(rows[known.job])
    desk.open.add(known.job)
    return known


def _start(
    desk: Desk, job: TrainingJob, record: Record, content: bytes, questions: bytes, names: Mapping[str, str]
) -> Record:
    """Submit the training and record its job in its directory."""
    started = desk.start(
        "train",
        {REQUESTS: content, **({QUESTIONS: questions} if questions else {})},
        names,
        requests=len(job.batches),
        tokens=sum(len(job.examples[i].token_ids) for batch in job.batches for i in batch),
        base=desk.base(None),
        asks=bool(questions),
    )
    written = replace(record, job=started)
    write_record(job, written)
    return written


def train(desk: Desk, job: TrainingJob, context_length: int) -> Iterator[TrainingEvent]:
    """All events of the job from its beginning: those stored already at once, then new ones as they happen.

    BadResult for a job that ended and lacks something, and the errors of `submit`.
    """
    record = submit(desk, job, context_length)
    submitted = record.job
    # a job with other questions is followed too: they do not change what is learned
    same = record.questions == bytes_hash(wire.pack_questions(job.questions) if job.questions else b"")
    steps: set[int] = set()
    kept: set[int] = set()
    asked = {group.step for group in job.questions} if same else set[int]()
    answered: set[int] = set()
    for event in desk.follow([submitted]):
        if event.kind == "steps":
            for step in read_steps(event):
                steps.add(step.step)
                yield step
        elif event.kind == "checkpoint":
            checkpoint = fetch(desk, job, event)
            kept.add(checkpoint.step)
            yield checkpoint
        elif event.kind == "answers" and same:
            answers = read_answers(desk, job, event)
            answered.add(answers.step)
            yield answers
    lost = sorted(set(range(1, len(job.batches) + 1)) - steps)
    if lost:
        raise BadResult(f"the job {submitted} ended without update {lost[0]} ({len(lost)} are missing).")
    wanted = {*job.checkpoint_steps, len(job.batches)} - {0}
    for what, missing in (("checkpoint", wanted - kept), ("answers", asked - answered)):
        if missing:
            raise BadResult(f"the job {submitted} ended without the {what} of update {min(missing)}.")


def read_steps(event: Event) -> list[TrainingStep]:
    """The updates of one event; BadResult where it has other content."""
    try:
        rows = cast(list[tuple[int, float, float, float | None]], event.data["rows"])
        return [TrainingStep(int(n), loss, rate, math.nan if norm is None else norm) for n, loss, rate, norm in rows]
    except (KeyError, TypeError, ValueError):
        raise BadResult(f"the job {event.job} sent unreadable updates.") from None


def fetch(desk: Desk, job: TrainingJob, event: Event) -> Checkpoint:
    """A checkpoint as a folder in the job's directory, its files verified; a whole one is not fetched again."""
    step = int(cast(int, event.data["step"]))
    directory = Path(job.directory)
    folder, mark = directory / f"step-{step:05d}", f"{event.data.get('sha256')}\n"
    told = directory / f".step-{step:05d}.sha256"
    if not told.is_file() or told.read_text() != mark or not _whole(folder):
        bundle.unzip(desk.service.content(event.data), folder)
        if not _whole(folder):
            raise BadResult(
                f"the checkpoint of update {step} of the job {event.job} lacks its weights or its manifest, or its "
                "files differ from their hashes."
            )
        told.write_text(mark)
    return Checkpoint(step, str(folder), job.adapter, file_hash(folder / MANIFEST))


def _whole(folder: Path) -> bool:
    """Whether a checkpoint's folder has weights, and all files are as they were written."""
    try:
        manifest = verify(folder)
    except BadInput:
        return False
    return manifest is not None and "files" in manifest and any(folder.glob("*.safetensors"))


def read_answers(desk: Desk, job: TrainingJob, event: Event) -> CheckpointAnswers:
    """The answers of one step, with the ids of the questions."""
    step = int(cast(int, event.data["step"]))
    number = 0
    for group in job.questions:
        if group.step == step:
            asked = {i: (request,) for i, request in enumerate(group.requests, start=number)}
            total = sum(len(each.requests) for each in job.questions)
            results = wire.unpack_results(desk.service.content(event.data), asked, total)
            completions = tuple(result for _, result in results if isinstance(result, Completion))
            if sorted(each.id for each in completions) != sorted(each.id for each in group.requests):
                raise BadResult(
                    f"the job {event.job} answered {len(results)} of {len(asked)} questions of update {step}."
                )
            return CheckpointAnswers(step, completions)
        number += len(group.requests)
    raise BadResult(f"the job {event.job} answered questions of update {step}, which were not asked.")
