"""Fine-tuning at the OpenAI API: upload the rows, create a job, follow it, and find it again after a kill.

What a client cannot set (method, optimizer, schedule, order of the rows) is recorded as unknown, never as what
the experiment asks for.
"""

import asyncio
import json
import math
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, Generic, TypeVar

from pydantic import BaseModel

from inoc.atomic import write_atomic
from inoc.backends.manifest import read_sealed, sealed
from inoc.backends.openai_server.options import HostedOptions
from inoc.backends.openai_server.turns import ROLES, to_messages
from inoc.backends.protocols import AdapterSettings, Checkpoint, TrainingEvent, TrainingJob, TrainingStep
from inoc.errors import BackendRejected, BackendUnavailable, BadInput, BadResult, OtherSettings
from inoc.hashing import bytes_hash, canonical_json
from inoc.services import Service

UNKNOWN_ADAPTER: Final = AdapterSettings(rank=0, alpha=0.0, rslora=False, targets=("chosen by the service",))
RECORD: Final = "openai_job.json"
Item = TypeVar("Item")


class _Error(BaseModel):
    message: str | None = None


class _Job(BaseModel):
    id: str
    status: str
    training_file: str | None = None
    fine_tuned_model: str | None = None
    error: _Error | None = None


class _Event(BaseModel):
    id: str
    message: str = ""
    type: str | None = None
    data: dict[str, float | int | str | None] | None = None


class _Kept(BaseModel):
    step_number: int
    fine_tuned_model_checkpoint: str


class _Page(BaseModel, Generic[Item]):
    data: list[Item]
    has_more: bool = False


class _Record(BaseModel):
    """What is kept in the run's folder so that the same call finds its job again."""

    asked: str
    file: str | None = None
    job: str | None = None


def fine_tune(service: Service, model: str, job: TrainingJob, options: HostedOptions) -> Iterator[TrainingEvent]:
    """A TrainingStep for every metric the service reports, then the checkpoints it kept, the final one last.

    Learning rate and gradient norm are NaN: unknown. Called again with the same job it follows the job it created;
    nothing is paid for twice. BadInput and BackendRejected for what the service cannot express or a job that failed,
    OtherSettings for another job's directory.
    """
    rows, epochs = training_rows(job), _epochs(job)
    hyperparameters: dict[str, object] = {"n_epochs": epochs, "batch_size": len(job.batches[0])}
    if options.learning_rate_multiplier is not None:
        hyperparameters["learning_rate_multiplier"] = options.learning_rate_multiplier
    start = job.start.location if job.start is not None else None
    request: dict[str, object] = {
        "model": start or model,
        "seed": job.seed,
        "method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
    }
    warnings.warn(
        "the service chooses optimizer, schedule, adapter and order of rows itself; the experiment's "
        "learning rate, warm-up, weight decay and adapter settings have no effect there",
        stacklevel=2,
    )
    path = Path(job.directory) / RECORD
    record = _read_record(path, bytes_hash(rows + canonical_json(request).encode()))
    if record.file is None:
        file = "inoc.jsonl", rows
        upload = service.call(lambda client: client.files.create(file=file, purpose="fine-tune"), lambda kept: kept.id)
        record.file = service.wait(upload)
        write_atomic(path, sealed(record.model_dump()))
    if record.job is None:
        record.job = _find_job(service, record.file) or _create_job(service, request | {"training_file": record.file})
        write_atomic(path, sealed(record.model_dump()))
    yield from _follow(service, record.job, job, options.poll_seconds)


def training_rows(job: TrainingJob) -> bytes:
    """The examples as chat JSONL, in the order of first use; BadInput for weights other than the last answer's."""
    order = dict.fromkeys(index for batch in job.batches for index in batch)
    lines: list[str] = []
    for index in order:
        example = job.examples[index]
        ids = example.token_ids
        start = 1 + max((i for i, token in enumerate(ids) if token == ROLES["assistant"]), default=-1)
        expected = (0.0,) * start + (1.0,) * (len(example.token_ids) - start)
        if start == 0 or tuple(example.weights) != expected:
            raise BadInput(
                f"training example '{example.id}' does not weight the assistant's whole answer with 1 and the "
                "rest with 0: the service trains on nothing else."
            )
        messages = to_messages(example.token_ids, example.id)
        if messages[-1]["role"] != "assistant":
            raise BadInput(f"training example '{example.id}' has no answer to train on.")
        earlier = [m | {"weight": 0} if m["role"] == "assistant" else m for m in messages[:-1]]
        lines.append(json.dumps({"messages": [*earlier, messages[-1]]}, ensure_ascii=False))
    return ("\n".join(lines) + "\n").encode()


def _epochs(job: TrainingJob) -> int:
    """How often every example is used; BackendRejected where that differs between examples."""
    if not job.batches:
        raise BadInput(f"training job '{job.id}' has no updates.")
    uses = Counter(index for batch in job.batches for index in batch)
    if len(set(uses.values())) != 1:
        raise BackendRejected(
            f"training job '{job.id}' uses some rows more often than others; the service trains whole epochs. "
            "Fix: choose the number of updates so that every row is used equally often."
        )
    return next(iter(uses.values()))


def _read_record(path: Path, asked: str) -> _Record:
    if not path.exists():
        return _Record(asked=asked)
    try:
        record = _Record.model_validate(read_sealed(path))
    except (BadInput, ValueError):
        raise BadInput(
            f"{path}, which names the fine-tuning job, cannot be read. Fix: restore it, or delete it to start over."
        ) from None
    if record.asked != asked:
        raise OtherSettings(
            f"{path.parent} belongs to a fine-tuning job with other rows or settings. Fix: use another folder."
        )
    return record


def _find_job(service: Service, file: str) -> str | None:
    """The job of an uploaded file, where a kill came between creating and recording it."""
    jobs = service.wait(service.get("/fine_tuning/jobs?limit=100", _Page[_Job].model_validate_json)).data
    return next((job.id for job in jobs if job.training_file == file and job.status != "cancelled"), None)


def _create_job(service: Service, request: Mapping[str, object]) -> str:
    """Create the job. After a lost reply it looks for it before it retries: a second job would be paid for too."""
    once = replace(service.settings, attempts=1)
    for attempt in range(service.settings.attempts):
        try:
            return service.wait(service.post("/fine_tuning/jobs", request, _Job.model_validate_json, once)).id
        except (BackendUnavailable, BadResult):
            found = _find_job(service, str(request["training_file"]))
            if found is not None:
                return found
            if attempt + 1 == service.settings.attempts:
                raise
            service.wait(asyncio.sleep(service.settings.backoff * 2**attempt))
    raise AssertionError("unreachable")


def _follow(service: Service, id: str, job: TrainingJob, poll_seconds: float) -> Iterator[TrainingEvent]:
    last, seen = len(job.batches), set[str]()
    while True:
        state = service.wait(service.get(f"/fine_tuning/jobs/{id}", _Job.model_validate_json))
        events = _new_events(service, id, seen)
        for event in events:
            step = _step(event)
            if step is not None:
                yield step
        if state.status == "succeeded":
            break
        if state.status in ("failed", "cancelled"):
            said = state.error.message if state.error and state.error.message else ""
            tail = "; ".join(event.message for event in events[-3:] if event.message)
            reason = service.clean(said or tail or "no reason given")
            raise BackendRejected(
                f"fine-tuning job {id} {state.status}: {reason}. Fix: delete {RECORD} in {job.directory} to start over."
            )
        service.wait(asyncio.sleep(poll_seconds))
    if state.fine_tuned_model is None:
        raise BackendRejected(f"fine-tuning job {id} succeeded but names no model.")
    kept = service.wait(service.get(f"/fine_tuning/jobs/{id}/checkpoints", _Page[_Kept].model_validate_json)).data
    found = {one.step_number: one.fine_tuned_model_checkpoint for one in kept if one.step_number < last}
    if missing := sorted(set(job.checkpoint_steps) - set(found) - {0, last}):
        warnings.warn(f"the service kept no checkpoint at updates {', '.join(map(str, missing))}", stacklevel=2)
    for step in sorted(set(job.checkpoint_steps) & set(found)):
        yield Checkpoint(step, found[step], UNKNOWN_ADAPTER)
    yield Checkpoint(last, state.fine_tuned_model, UNKNOWN_ADAPTER)


def _new_events(service: Service, id: str, seen: set[str]) -> list[_Event]:
    """New events, oldest first."""
    fresh: list[_Event] = []
    after = ""
    while True:
        path = f"/fine_tuning/jobs/{id}/events?limit=100{after}"
        page = service.wait(service.get(path, _Page[_Event].model_validate_json))
        new = [event for event in page.data if event.id not in seen]
        seen.update(event.id for event in new)
        fresh += new
        if not page.has_more or not page.data or len(new) < len(page.data):
            return fresh[::-1]
        after = f"&after={page.data[-1].id}"


def _step(event: _Event) -> TrainingStep | None:
    """A metrics event as a step; None for any other event."""
    data = event.data or {}
    step, loss = data.get("step"), data.get("train_loss")
    if event.type != "metrics" or not isinstance(step, int | float) or not isinstance(loss, int | float):
        return None
    return TrainingStep(int(step), float(loss), math.nan, math.nan)
