"""A training as one job: its steps, checkpoints and answers as the job says them, kept in the job's directory.

The layout is the local backend's: `manifest.json`, `step-00050/` with the adapter. Beside them `openweights.json`
says which job on the server it was.
"""

import json
import math
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final, cast

from inoc.backends.openweights import bundle, wire
from inoc.backends.openweights.command import QUESTIONS, REQUESTS
from inoc.backends.openweights.desk import Desk
from inoc.backends.openweights.follow import Event
from inoc.backends.protocols import (
    Checkpoint,
    CheckpointAnswers,
    Completion,
    TrainingEvent,
    TrainingJob,
    TrainingStep,
)
from inoc.backends.training import check_job
from inoc.errors import BackendRejected, BadInput, BadResult, OtherSettings

RECORD: Final = "openweights.json"


def submit(desk: Desk, job: TrainingJob, context_length: int) -> str:
    """Start the training, or find it where it was started; its id on the server.

    Raises:
        BadInput, BackendRejected: the job cannot be trained as it stands, or not here.
        OtherSettings: the directory holds another training.
    """
    check_job(job, context_length)
    if job.recipe.kind == "full" and desk.model.upload is None:
        raise BackendRejected(
            f"training '{job.id}' asks for full fine-tuning: its checkpoints are whole models, and only models "
            "that are small enough to be sent (upload_mb) come back; use LoRA."
        )
    starts = [] if job.start is None else [job.start]
    names = desk.adapters(starts)
    content = wire.pack_training(desk.setup(None), job, names)
    questions = wire.pack_questions(job.questions) if job.questions else b""
    mark = sha256(content + questions).hexdigest()
    if mark not in desk.trainings:
        claim(job, mark)
        files = {REQUESTS: content, **({QUESTIONS: questions} if questions else {})}
        tokens = sum(len(job.examples[i].token_ids) for batch in job.batches for i in batch)
        desk.trainings[mark] = desk.start(
            "train",
            files,
            names,
            requests=len(job.batches),
            tokens=tokens,
            base=desk.base(None),
            asks=bool(questions),
        )
        write_record(job, mark, desk.trainings[mark])
    return desk.trainings[mark]


def train(desk: Desk, job: TrainingJob, context_length: int) -> Iterator[TrainingEvent]:
    """All events of the job from its beginning: those stored already at once, then new ones as they happen.

    Raises:
        OtherSettings: the directory holds another training.
        BadResult: the job ended and something is missing.
    """
    submitted = submit(desk, job, context_length)
    steps: set[int] = set()
    kept: set[int] = set()
    asked = {group.step: group for group in job.questions}
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
        elif event.kind == "answers":
            answers = read_answers(desk, job, event)
            answered.add(answers.step)
            yield answers
    lost = sorted(set(range(1, len(job.batches) + 1)) - steps)
    if lost:
        raise BadResult(f"the job {submitted} ended without update {lost[0]} ({len(lost)} are missing).")
    wanted = {*job.checkpoint_steps, len(job.batches)} - {0}
    for what, missing in (("checkpoint", wanted - kept), ("answers", asked.keys() - answered)):
        if missing:
            raise BadResult(f"the job {submitted} ended without the {what} of update {min(missing)}.")


def claim(job: TrainingJob, mark: str) -> None:
    """Take the directory for this training, or make sure that it already is.

    Raises:
        OtherSettings: it holds another training.
    """
    directory = Path(job.directory)
    path = directory / RECORD
    if not path.exists():
        if (directory / "manifest.json").exists():
            raise OtherSettings(
                f"'{directory}' holds a training of another backend; give this one a directory of its own or "
                "delete that one."
            )
        return
    if read_record(path).get("content") != mark:
        raise OtherSettings(
            f"'{directory}' holds another training; give this one a directory of its own or delete that one."
        )


def write_record(job: TrainingJob, mark: str, submitted: str) -> None:
    """Note the job's id beside the training; written beside, flushed, renamed."""
    directory = Path(job.directory)
    directory.mkdir(parents=True, exist_ok=True)
    record = {"schema": "inoc.openweights/1", "job": submitted, "content": mark}
    temporary = directory / f".{RECORD}.writing"
    with temporary.open("w") as file:
        file.write(json.dumps(record, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(directory / RECORD)


def read_record(path: Path) -> dict[str, object]:
    try:
        return cast(dict[str, object], json.loads(path.read_text()))
    except (OSError, ValueError):
        raise BadInput(
            f"'{path}' cannot be read; restore it, or delete it to fetch the training anew."
        ) from None


def read_steps(event: Event) -> list[TrainingStep]:
    """The updates of one event; BadResult where they are none."""
    try:
        rows = cast(list[tuple[int, float, float, float | None]], event.data["rows"])
        return [
            TrainingStep(int(n), loss, rate, math.nan if norm is None else norm)
            for n, loss, rate, norm in rows
        ]
    except (KeyError, TypeError, ValueError):
        raise BadResult(f"the job {event.job} sent updates that cannot be read.") from None


def fetch(desk: Desk, job: TrainingJob, event: Event) -> Checkpoint:
    """A checkpoint as a folder in the job's directory; one that is there already is not fetched again."""
    step = int(cast(int, event.data["step"]))
    directory = Path(job.directory)
    folder, mark = directory / f"step-{step:05d}", f"{event.data.get('sha256')}\n"
    told = directory / f".step-{step:05d}.sha256"
    if not (folder / "manifest.json").is_file() or not told.is_file() or told.read_text() != mark:
        bundle.unzip(desk.service.content(event.data), folder)
        if not (folder / "manifest.json").is_file() or not any(folder.glob("*.safetensors")):
            raise BadResult(
                f"the checkpoint of update {step} of the job {event.job} holds no weights or no manifest."
            )
        told.write_text(mark)
    return Checkpoint(step, str(folder), job.recipe)


def read_answers(desk: Desk, job: TrainingJob, event: Event) -> CheckpointAnswers:
    """The answers of one step, with the ids they were asked under."""
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
