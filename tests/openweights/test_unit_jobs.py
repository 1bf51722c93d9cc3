"""Waiting for jobs and putting their parts together, on a server that is a dictionary. No client."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inoc import errors
from inoc.backends.openweights import bundle, wire
from inoc.backends.openweights import follow as following
from inoc.backends.openweights.command import REQUESTS
from inoc.backends.openweights.cost import price
from inoc.backends.openweights.desk import Desk
from inoc.backends.openweights.follow import Event, follow
from inoc.backends.openweights.model import Model
from inoc.backends.openweights.options import Options
from inoc.backends.openweights.record import Record, claim, write_record
from inoc.backends.openweights.requests import cost, run
from inoc.backends.openweights.service import Service
from inoc.backends.openweights.train import read_steps, submit
from inoc.backends.protocols import (
    AdapterSettings,
    CheckpointQuestions,
    ModelSpec,
    SampleRequest,
    ScoreRequest,
    TokenLogprobs,
    TrainingExample,
    TrainingJob,
)
from inoc.backends.requests import portions
from inoc.errors import BackendRejected, BackendUnavailable, BadInput, BadResult, InocError, OtherSettings
from inoc.values import Sampling

FAST = Options(base_image="dev", requires_vram_gb=0, poll=0.001)


class Server(Service):
    """The part of `Service` that jobs are followed through. `script` is what each look at a job finds."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, dict[str, object]] = {}
        self.stored: dict[str, list[dict[str, object]]] = {}
        self.files: dict[str, bytes] = {}
        self.script: dict[str, list[str]] = {}
        self.cancelled: list[str] = []
        self.silent: float | None = None
        self.asked_for: list[tuple[object, object]] = []

    def add(self, job: str, *statuses: str, events: Sequence[dict[str, object]] = (), log: str = "") -> None:
        self.rows[job] = {"id": job, "docker_image": "dev", "requires_vram_gb": 8, "worker_id": "w1"}
        self.script[job] = list(statuses)
        self.stored[job] = list(events)
        self.files[f"log-{job}"] = log.encode()

    def jobs(self, ids: Sequence[str]) -> dict[str, dict[str, object]]:
        for job in ids:
            if self.script.get(job):
                self.rows[job]["status"] = self.script[job].pop(0)
        return {job: self.rows[job] for job in ids if job in self.rows}

    def runs(self, job: str) -> list[Mapping[str, object]]:
        return [{"id": job, "log_file": f"log-{job}"}]

    def events(self, runs: Sequence[object], skip: int = 0) -> list[Mapping[str, object]]:
        return [{"data": data} for run in runs for data in self.stored[str(run)]][skip:]

    def file(self, id: str) -> bytes:
        return self.files[id]

    def content(self, data: Mapping[str, object]) -> bytes:
        return self.files[str(data["file"])]

    def upload(self, content: bytes, name: str) -> str:
        self.files[f"{name}-{len(self.files)}"] = content
        return list(self.files)[-1]

    def clean(self, text: str) -> str:
        return text.replace("ow_secret", "***")

    def silence(self, worker: str) -> float | None:
        return self.silent

    def cancel(self, job: str) -> None:
        self.cancelled.append(job)

    def find(self, params: Mapping[str, object]) -> list[dict[str, object]]:
        return [row for row in self.rows.values() if "params" in row]

    def ask_for(self, row: object, hardware: object, vram_gb: object) -> None:
        self.asked_for.append((hardware, vram_gb))


def seen(server: Server, *jobs: str, options: Options = FAST) -> list[Event]:
    return list(follow(server, jobs, options, set(jobs)))


def test_events_come_once_and_while_the_job_runs():
    server = Server()
    server.add("a", "pending", "in_progress", "in_progress", "completed", events=[{"inoc": "part", "n": 1}])
    server.add("b", "in_progress", "completed", events=[{"inoc": "part", "n": 2}, {"loss": 3.0}])
    events = follow(server, ["a", "b"], FAST, set())
    first = next(events)
    assert (first.job, first.data["n"]) == ("a", 1)
    server.stored["a"].append({"inoc": "done"})
    assert [(event.job, event.kind) for event in events] == [("b", "part"), ("a", "done")]


def test_a_completed_job_of_an_earlier_call_tells_all():
    server = Server()
    server.add("a", "completed", events=[{"inoc": "part", "n": n} for n in range(5)])
    assert [event.data["n"] for event in seen(server, "a")] == [0, 1, 2, 3, 4]


def test_a_failure_that_inoc_said_keeps_its_class():
    server = Server()
    server.add("a", "failed", events=[{"inoc": "error", "type": "BackendRejected", "text": "too long."}])
    with pytest.raises(errors.BackendRejected, match="the job a failed: too long"):
        seen(server, "a")
    server.add("b", "failed", events=[{"inoc": "error", "type": "__import__", "text": "odd"}])
    with pytest.raises(InocError, match="odd"):
        seen(server, "b")


def test_another_failure_shows_the_end_of_the_log_without_keys():
    log = "".join(f"line {n}\n\n" for n in range(30)) + "Killed, ow_secret\n"
    server = Server()
    server.add("a", "in_progress", "failed", log=log)
    with pytest.raises(InocError) as caught:
        seen(server, "a")
    lines = str(caught.value).splitlines()
    assert [line.strip() for line in lines[1:]] == [*(f"line {n}" for n in range(21, 30)), "Killed, ***"]


def test_a_missing_package_names_the_option():
    server = Server()
    server.add("a", "failed", log="Traceback\nModuleNotFoundError: No module named 'peft'\n")
    with pytest.raises(BackendUnavailable, match="option install"):
        seen(server, "a")


def test_a_cancelled_and_a_vanished_job():
    server = Server()
    server.add("a", "canceled")
    with pytest.raises(InocError, match="a was canceled"):
        seen(server, "a")
    with pytest.raises(BadResult, match="no longer on the server"):
        seen(server, "b")


def test_waiting_ends():
    server = Server()
    server.add("a", *["pending"] * 10_000)
    with pytest.raises(BackendUnavailable, match=r"nothing changed for 0 s in a: .* `ow cancel a`"):
        seen(server, "a", options=replace(FAST, timeout=0.05))


def test_notes_are_made_once(monkeypatch, caplog):
    monkeypatch.setattr(following, "NOTE_SECONDS", 0.0)
    server = Server()
    server.silent = 500.0
    server.add("a", *["pending"] * 5, *["in_progress"] * 5, "completed")
    with caplog.at_level(logging.WARNING):
        seen(server, "a")
    assert len(caplog.messages) == 2
    assert "no worker has taken a" in caplog.messages[0]
    assert "at least 8 GB" in caplog.messages[0]
    assert "the worker w1 of a has reported nothing for 500 s" in caplog.messages[1]


# --- scoring and sampling ------------------------------------------------------------------------------------------


class FakeDesk(Desk):
    """Jobs are computed when they are followed: the log-probability of a token is minus its id."""

    def start(self, kind, files, names, *, requests, tokens, base, index=None, asks=False):
        server, job = self.service, f"{kind}-{len(self.service.rows)}"
        server.add(job, "in_progress", "completed")
        server.rows[job]["params"] = {"validated_params": {"index": index}}
        server.rows[job]["status"] = "in_progress"
        if kind == "train":
            return job
        asked = wire.unpack_requests(wire.unpack(files[REQUESTS]))
        half = (len(asked) + 1) // 2
        # two parts, the first one twice, as after the loss of a worker
        for number, rows in enumerate([asked[:half], asked[:half], asked[half:]]):
            name = f"{job}-{number}"
            results = [TokenLogprobs(r.id, -np.array(r.completion, np.float32), r.completion) for r in rows]
            server.files[name] = wire.pack_results(results)
            server.stored[job].append({"inoc": "part", "file": name})
        return job


@pytest.fixture
def desk() -> FakeDesk:
    model = Model("m", None, "m", "m", None)
    return FakeDesk(ModelSpec("owner/m"), FAST, model, Server())


def texts(first: int, last: int, prefix: str = "") -> list[ScoreRequest]:
    return [ScoreRequest(f"{prefix}{i}", (1, i), (i, i + 1)) for i in range(first, last)]


def test_every_request_is_answered_once(desk: FakeDesk):
    asked = [*texts(0, 7), *texts(2, 4, "again-")]
    results = list(run(desk, "score", asked, None))
    assert sorted(r.id for r in results) == sorted(r.id for r in asked)
    by_id = {r.id: r.logprobs.tolist() for r in results}
    assert by_id["again-3"] == by_id["3"] == [-3.0, -4.0]
    assert list(desk.service.rows) == ["score-0"]


def test_nothing_is_submitted_twice(desk: FakeDesk):
    list(run(desk, "score", texts(0, 6), None))
    list(run(desk, "score", texts(3, 6), None))
    assert list(desk.service.rows) == ["score-0"]
    results = list(run(desk, "score", texts(4, 9, "x"), None))
    assert sorted(r.id for r in results) == ["x4", "x5", "x6", "x7", "x8"]
    assert list(desk.service.rows) == ["score-0", "score-1"]
    sent = [wire.unpack(desk.service.files[f"score-1-{part}"]).arrays["number"].tolist() for part in (0, 2)]
    assert sent == [[0, 1], [2]]  # 6, 7 and 8; 4 and 5 were in the first job


def test_a_failed_job_is_not_built_on(desk: FakeDesk):
    list(run(desk, "score", texts(0, 2), None))
    desk.service.rows["score-0"]["status"] = "failed"
    list(run(desk, "score", texts(0, 2), None))
    assert list(desk.service.rows) == ["score-0", "score-1"]


def test_a_job_that_waits_gets_the_hardware_of_today(desk: FakeDesk):
    list(run(desk, "score", texts(0, 2), None))
    desk.service.rows["score-0"]["status"] = "pending"
    desk.service.script["score-0"] = ["completed"]
    desk.options = replace(FAST, allowed_hardware="1x A100")
    list(run(desk, "score", texts(0, 2), None))
    assert desk.service.asked_for == [(["1x A100"], 0)]


def test_a_result_that_is_missing_is_named(desk: FakeDesk):
    desk.options = replace(FAST, tokens_per_job=8)
    started = desk.start

    def lose(kind, files, names, **more):
        job = started(kind, files, names, **more)
        if job == "score-1":
            desk.service.stored[job].pop()
        return job

    desk.start = lose
    with pytest.raises(BadResult, match="the job score-1 ended without 1 of its results, the first: 3"):
        list(run(desk, "score", texts(0, 4), None))


def test_requests_are_cut_by_tokens():
    asked = texts(0, 10)  # four tokens each
    parts = list(portions(asked, lambda request: cost(request, None), 12))
    assert [len(part) for part in parts] == [3, 3, 3, 1]
    assert [r for part in parts for r in part] == asked
    samples = [SampleRequest(str(i), (1, 2)) for i in range(4)]
    sampling = Sampling(max_tokens=10)
    assert [len(part) for part in portions(samples, lambda request: cost(request, sampling), 20)] == [2, 2]


def test_a_job_on_another_model_is_refused(desk: FakeDesk):
    desk.model = replace(desk.model, weights="here")
    desk.service.add("a", "completed", events=[{"inoc": "begin", "identity": {"weights": "there"}}])
    with pytest.raises(BadResult, match="other weights than m has here"):
        list(desk.follow(["a"]))


def test_an_interruption_leaves_jobs_running_and_says_where(desk: FakeDesk, caplog):
    desk.open.add("other")
    desk.service.add("a", *["in_progress"] * 9, events=[{"inoc": "part"}])
    events = desk.follow(["a"])
    next(events)
    events.close()
    assert desk.service.cancelled == []
    assert "`ow cancel a other` ends them" in caplog.text


def test_an_interruption_cancels_where_that_is_asked_for(desk: FakeDesk):
    desk.options = replace(FAST, cancel_on_exit=True)
    desk.service.add("a", *["in_progress"] * 9, events=[{"inoc": "part"}])
    desk.service.add("other", "pending", "pending")
    desk.service.add("finished", "completed")
    desk.open |= {"other", "finished"}
    events = desk.follow(["a"])
    next(events)
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt)
    assert desk.service.cancelled == ["a", "other"]


# --- price ---------------------------------------------------------------------------------------------------------


def test_the_price_from_options(desk: FakeDesk):
    desk.options = replace(FAST, tokens_per_second=1000.0, price_per_hour=2.0, tokens_per_job=5_000_000)
    found = price(desk, 7_200_000, "score", None)
    assert (found.jobs, found.hours, found.dollars) == (2, 2.0, 4.0)
    assert found.hardware == "at least 0 GB of GPU memory"


def test_the_rate_of_earlier_jobs(desk: FakeDesk):
    for name, status, tokens, seconds in (
        ("a", "completed", 60_000, 30.0), ("b", "completed", 40_000, 20.0), ("tiny", "completed", 9, 20.0),
        ("c", "failed", 900_000, 1.0),
    ):  # fmt: skip
        desk.service.add(name)
        desk.service.rows[name] |= {
            "status": status,
            "params": {},
            "outputs": {"train_tokens": tokens, "train_seconds": seconds},
        }
    found = price(desk, 1000, "train", 3)
    assert found.rate == pytest.approx(2000)
    assert found.jobs == 3
    assert price(desk, 1000, "score", None).rate is None
    assert found.dollars is None
    assert "price_per_hour" in found.basis


def test_the_price_list_of_the_client(desk: FakeDesk):
    pytest.importorskip("openweights.client")
    from openweights.cluster.start_runpod import GPU_COST_PER_HOUR as LIST

    desk.options = replace(FAST, allowed_hardware="2x A100, 1x L40", tokens_per_second=1.0)
    found = price(desk, 3600, "score", None)
    assert found.dollars == pytest.approx(max(2 * LIST["A100"], LIST["L40"]))
    assert found.hardware == "2x A100 or 1x L40"
    desk.options = replace(desk.options, allowed_hardware="1x Abacus")
    with pytest.raises(BadInput, match="allowed_hardware"):
        price(desk, 3600, "score", None)


# --- training ------------------------------------------------------------------------------------------------------


def test_a_directory_belongs_to_one_training(tmp_path: Path):
    job = TrainingJob("run", (), (), AdapterSettings(), directory=str(tmp_path / "run"))
    one = Record("inoc-train-1", "one", "questions", "choice")
    assert claim(job, one) is None
    write_record(job, one)
    assert claim(job, replace(one, job="", questions="others", choice="other")) == one
    with pytest.raises(OtherSettings, match="a different training"):
        claim(job, replace(one, content="two"))
    for damaged in ("{", "{}", "[]"):
        (tmp_path / "run" / "openweights.json").write_text(damaged)
        with pytest.raises(BadInput, match="cannot be read"):
            claim(job, one)
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "manifest.json").write_text("{}")
    with pytest.raises(OtherSettings, match="a different backend"):
        claim(replace(job, directory=str(tmp_path / "local")), one)


def training(directory: Path, **changes: object) -> TrainingJob:
    examples = (TrainingExample("e", (1, 2, 3), (0.0, 1.0, 1.0)),)
    job = TrainingJob("run", examples, ((0,), (0,)), AdapterSettings(rank=2), directory=str(directory))
    return replace(job, **changes)


def test_a_training_goes_on_as_the_job_it_is(desk: FakeDesk, tmp_path: Path, monkeypatch):
    """Another inoc, other questions or other hardware later: the same job is followed. Another image or a failure: a
    new one."""
    started = lambda: [job for job in desk.service.rows if job.startswith("train")]
    job = training(tmp_path / "run")
    assert submit(desk, job, 99).job == "train-0"
    assert submit(desk, job, 99).job == "train-0"
    later = FakeDesk(desk.spec, replace(FAST, requires_vram_gb=3), desk.model, desk.service)
    monkeypatch.setattr(bundle, "zip_source", lambda: b"another inoc")
    asked = (CheckpointQuestions(0, (SampleRequest("q", (1,)),), Sampling()),)
    assert submit(later, replace(job, questions=asked), 99).job == "train-0"
    assert started() == ["train-0"]
    other = FakeDesk(desk.spec, replace(FAST, base_image="other"), desk.model, desk.service)
    assert submit(other, job, 99).job == "train-1"
    desk.service.rows["train-1"]["status"] = "failed"
    desk.service.script["train-1"] = []
    again = FakeDesk(desk.spec, replace(FAST, base_image="other"), desk.model, desk.service)
    assert submit(again, job, 99).job == "train-2"
    with pytest.raises(OtherSettings):
        submit(desk, training(tmp_path / "run", learning_rate=1.0), 99)


def test_full_fine_tuning_of_large_models_is_refused(desk: FakeDesk, tmp_path: Path):
    with pytest.raises(BackendRejected, match="use LoRA"):
        submit(desk, training(tmp_path / "run", adapter=AdapterSettings("full")), 99)


def test_updates_are_read_or_refused():
    steps = read_steps(Event("j", "steps", {"rows": [[3, 1.5, 1e-4, 0.5], [4, 1.25, 2e-4, None]]}))
    assert [(s.step, s.loss, s.learning_rate) for s in steps] == [(3, 1.5, 1e-4), (4, 1.25, 2e-4)]
    assert steps[0].grad_norm == 0.5
    assert np.isnan(steps[1].grad_norm)
    for bad in ({}, {"rows": [[1]]}, {"rows": None}):
        with pytest.raises(BadResult):
            read_steps(Event("j", "steps", bad))


def test_polling_sleeps(monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    server = Server()
    server.add("a", "pending", "in_progress", "completed")
    seen(server, "a", options=replace(FAST, poll=7.0))
    assert slept == [7.0, 7.0]
