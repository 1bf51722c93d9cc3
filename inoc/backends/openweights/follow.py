"""Waiting for jobs: their events as they are stored, their end, and the error of a failed job."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from inoc import errors
from inoc.backends.openweights.options import Options
from inoc.backends.openweights.service import Row, Service
from inoc.errors import BackendUnavailable, BadResult, InocError

log = logging.getLogger("inoc.backends.openweights")

LOG_LINES: Final = 10
LOG_SECONDS: Final = 15.0
"""A job is marked failed shortly before its log is stored."""
NOTE_SECONDS: Final = 60.0
SILENT_SECONDS: Final = 180.0
"""A worker reports every few seconds."""
ENDED: Final = ("completed", "failed", "canceled")


@dataclass(frozen=True)
class Event:
    """What a job's script reports; `kind`: begin, steps, checkpoint, answers, part, resume, trained, error or done."""

    job: str
    kind: str
    data: Mapping[str, object]


def follow(service: Service, ids: Sequence[str], options: Options, unfinished: set[str]) -> Iterator[Event]:
    """Events of all runs of these jobs, stored and new, until every job is completed; ended ones leave `unfinished`.

    The error of a job that failed or was canceled, while others continue; BackendUnavailable after `timeout` seconds
    without a change.
    """
    waiting, seen = list(dict.fromkeys(ids)), dict.fromkeys(ids, 0)
    states: dict[str, object] = {}
    changed, notes = time.monotonic(), Notes()
    while waiting:
        rows = service.jobs(waiting)
        for job in tuple(waiting):
            if job not in rows:
                raise BadResult(
                    f"the job {job} is no longer on the server. Fix: run the same command, which submits it again."
                )
            status = rows[job]["status"]
            look = status != "pending" or job not in states
            fresh = _fresh(service, job, seen) if look else []
            if fresh or states.get(job) != status:
                changed, states[job] = time.monotonic(), status
            yield from fresh
            if status in ENDED:
                unfinished.discard(job)
                if status != "completed":
                    raise failure(service, rows[job])
                waiting.remove(job)
        now = time.monotonic()
        notes.say(service, [rows[job] for job in waiting])
        if now - changed > options.timeout:
            raise BackendUnavailable(
                f"nothing changed for {options.timeout:.0f} s in {', '.join(waiting)}: {after(waiting)}"
            )
        if waiting:
            time.sleep(options.poll)


class Notes:
    """Warns once that no worker takes a job, and once that the worker of a job is silent."""

    def __init__(self) -> None:
        self.begun = self.looked = time.monotonic()
        self.told: set[str] = set()

    def say(self, service: Service, rows: Sequence[Row]) -> None:
        """At most once in `NOTE_SECONDS`, about unfinished jobs."""
        now = time.monotonic()
        if now - self.looked < NOTE_SECONDS:
            return
        self.looked = now
        pending = [row for row in rows if row["status"] == "pending"]
        if pending and len(pending) == len(rows) and "pending" not in self.told:
            self.told.add("pending")
            log.warning(
                "no worker has taken %s for %.0f s (image %s, %s); the work starts when one is free",
                ", ".join(str(row["id"]) for row in pending), now - self.begun, pending[0]["docker_image"],
                hardware(pending[0]),
            )  # fmt: skip
        for row in rows:
            worker, job = str(row.get("worker_id")), str(row["id"])
            if row["status"] != "in_progress" or job in self.told:
                continue
            silent = service.silence(worker)
            if silent is not None and silent > SILENT_SECONDS:
                self.told.add(job)
                log.warning(
                    "the worker %s of %s has reported nothing for %.0f s; if it does not come back, "
                    "`ow cancel %s` and the same command resume from what is uploaded", worker, job, silent, job,
                )  # fmt: skip


def leave(service: Service, waiting: Sequence[str], options: Options) -> None:
    """Cancel unfinished jobs when inoc is interrupted, if that is chosen, and say what becomes of them."""
    if not options.cancel_on_exit:
        log.warning("interrupted; %s", after(waiting))
        return
    running = [job for job, row in service.jobs(waiting).items() if row["status"] not in ENDED]
    for job in running:
        service.cancel(job)
    log.warning("canceled %s; the same command submits them again", ", ".join(running) or "nothing")


def after(waiting: Sequence[str]) -> str:
    """Where to find jobs that continue without inoc."""
    names = " ".join(waiting)
    return f"submitted jobs continue, the same command finds them; `ow logs JOB` shows, `ow cancel {names}` ends them."


def hardware(row: Row) -> str:
    """What a job requires, in words."""
    allowed = cast(Sequence[str] | None, row.get("allowed_hardware"))
    return " or ".join(allowed) if allowed else f"at least {row.get('requires_vram_gb') or 0} GB of GPU memory"


def _fresh(service: Service, job: str, seen: dict[str, int]) -> list[Event]:
    """inoc's own events that were stored since the last call."""
    runs = service.runs(job)
    rows = service.events([run["id"] for run in runs], seen[job])
    seen[job] += len(rows)
    return events_of(job, rows)


def events_of(job: str, rows: Sequence[Row]) -> list[Event]:
    """Those rows that inoc's script wrote."""
    data = [cast(Mapping[str, object], row["data"]) for row in rows]
    return [Event(job, str(fields["inoc"]), fields) for fields in data if "inoc" in fields]


def failure(service: Service, row: Row) -> InocError:
    """The error of a job that failed or was canceled."""
    job = str(row["id"])
    if row["status"] == "canceled":
        return InocError(f"the job {job} was canceled. Fix: run the same command, which submits it again.")
    runs = service.runs(job)
    if not runs:
        return InocError(f"the job {job} failed before it ran.")
    found = events_of(job, service.events([runs[-1]["id"]]))
    said = next((event.data for event in reversed(found) if event.kind == "error"), None)
    if said is not None:
        kind = getattr(errors, str(said.get("type")), InocError)
        if not (isinstance(kind, type) and issubclass(kind, InocError)):
            kind = InocError
        return kind(f"the job {job} failed: {said.get('text')}")
    tail = log_tail(service, job)
    lines = "\n".join(f"    {line}" for line in tail)
    if any("ModuleNotFoundError" in line for line in tail[-2:]):
        return BackendUnavailable(
            f"the job {job} failed: its image {row['docker_image']} lacks a package. "
            f"Fix: name it in the option install. Last lines of the log:\n{lines}"
        )
    return InocError(
        f"the job {job} failed. Fix: run the same command, which submits it again. Last lines of the log:\n{lines}"
    )


def log_tail(service: Service, job: str) -> list[str]:
    """The last lines of the newest run's log, once it is stored; without keys."""
    end = time.monotonic() + LOG_SECONDS
    while True:
        runs = service.runs(job)
        file = runs[-1].get("log_file") if runs else None
        if file:
            text = service.file(str(file)).decode(errors="replace")
            return [service.clean(line) for line in text.splitlines() if line.strip()][-LOG_LINES:]
        if time.monotonic() > end:
            return ["(no log was stored)"]
        time.sleep(0.5)
