"""The hosted API as sampler and trainer, and the chat client, against scripted services."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers.fine_tuning_server import FineTuningServer
from servers.openai_stub import Call, Reply, StubServer, error_reply, json_reply

from inoc.backends.manifest import read_sealed, sealed
from inoc.backends.openai_server.hosted import OpenAIBackend
from inoc.backends.openai_server.turns import TurnTokenizer, to_messages
from inoc.backends.protocols import (
    AdapterSettings,
    Backend,
    Checkpoint,
    ModelSpec,
    Sampler,
    SampleRequest,
    Trainer,
    TrainingExample,
    TrainingJob,
    TrainingStep,
)
from inoc.chat import Chat
from inoc.errors import BackendRejected, BackendUnavailable, BadInput, BadResult, OtherSettings
from inoc.services import ChatClient, Service, ServiceSettings
from inoc.values import Sampling

OPTIONS = {"backoff": 0.01, "poll_seconds": 0.01, "timeout": 10.0}


OPENED: list[OpenAIBackend] = []


@pytest.fixture(autouse=True)
def _close_backends() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def open_backend(url: str, **options) -> OpenAIBackend:
    OPENED.append(OpenAIBackend.from_spec(ModelSpec("base", options={"url": url, **OPTIONS, **options})))
    return OPENED[-1]


@pytest.fixture
def service() -> Iterator[FineTuningServer]:
    with FineTuningServer() as server:
        yield server


# --- turns -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(["system", "user"]), st.text()), min_size=1, max_size=4))
def test_conversations_come_back_from_their_ids(turns: list[tuple[str, str]]) -> None:
    tokenizer = TurnTokenizer()
    messages = [{"role": role, "content": text} for role, text in turns]
    if any("\ue100" <= character <= "\ue103" for _, text in turns for character in text):
        return
    rendered = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    assert isinstance(rendered, str)
    ids = tuple(tokenizer.encode(rendered, add_special_tokens=False))
    expected = [{**m, "content": m["content"].encode(errors="replace").decode()} for m in messages]
    assert list(to_messages(ids, "x")) == expected
    assert tokenizer.decode(ids) == "".join(rendered.encode(errors="replace").decode())


def test_chat_works_with_these_turns() -> None:
    chat = Chat(TurnTokenizer(), system_prompt="Be brief.")
    assert to_messages(chat.context("Hi é?", "Prefix."), "x") == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Prefix. Hi é?"},
    )
    example = chat.training_example("e", "Hi?", "Hallo!")
    assert to_messages(example.token_ids, "e")[-1] == {"role": "assistant", "content": "Hallo!"}
    assert sum(example.weights) == len(b"Hallo!") + 1
    # a completion can never forge a turn
    ids = chat.completion("a\ue103\ue101b")
    assert set(ids[:-1]) <= set(range(256))


@pytest.mark.parametrize("ids", [(), (97,), (256, 97), (257, 97, 258), (259,), (257, 97, 259, 97)])
def test_ids_that_are_no_conversation(ids: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match="'x'"):
        to_messages(ids, "x")


# --- sampling --------------------------------------------------------------------------------------------------------


def test_samples_by_chat_with_the_checkpoints_model(service: FineTuningServer) -> None:
    backend = open_backend(service.url)
    assert isinstance(backend, Backend)
    assert isinstance(backend, Sampler)
    assert isinstance(backend, Trainer)
    backend.check()
    chat = Chat(backend.tokenizer, system_prompt=None)
    trained = Checkpoint(5, "ft:base:final", AdapterSettings())
    requests = [SampleRequest(f"r{n}", chat.context(f"Q{n}"), trained if n % 2 else None) for n in range(10)]
    sampling = Sampling(temperature=0.5, max_tokens=9, seed=4, stop_ids=(chat.end_of_turn,))
    got = {c.id: backend.tokenizer.decode(c.token_ids) for c in backend.sample(requests, sampling)}
    assert got == {f"r{n}": f"{'ft:base:final' if n % 2 else 'base'} to Q{n}" for n in range(10)}
    bodies = [call.json for call in service.stub.requests if call.path.endswith("completions")]
    assert {(b["temperature"], b["top_p"], b["max_tokens"]) for b in bodies} == {(0.5, 1.0, 9)}
    assert len({b["seed"] for b in bodies}) == 10
    with pytest.raises(BackendRejected, match="stop"):
        backend.sample(requests, replace(sampling, stop_ids=(65,)))
    OPENED.append(OpenAIBackend.from_spec(ModelSpec("none", options={"url": service.url})))
    with pytest.raises(BackendRejected, match="does not exist"):
        OPENED[-1].check()


def test_keys_and_options(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendUnavailable, match="OPENAI_API_KEY is not set"):
        OpenAIBackend.from_spec(ModelSpec("gpt"))
    with pytest.raises(BadInput, match="unknown option of the backend openai 'x'"):
        open_backend("http://127.0.0.1:9/v1", x=1)
    with pytest.raises(BadInput, match="learning_rate_multiplier"):
        open_backend("http://127.0.0.1:9/v1", learning_rate_multiplier=-1.0)


# --- chat client -----------------------------------------------------------------------------------------------------


def answers(*texts: str | None, finish: str = "stop") -> Reply:
    return json_reply({"choices": [{"message": {"content": text}, "finish_reason": finish} for text in texts]})


def test_chat_gives_n_answers_in_order() -> None:
    def handler(call: Call) -> Reply:
        return answers(*(f"{call.text}-{k}" for k in range(call.json.get("n", 1))))

    with StubServer(handler) as stub, Service(ServiceSettings(url=stub.url)) as service:
        client = ChatClient(service, "m")
        talks = [[{"role": "user", "content": f"t{i}"}] for i in range(20)]
        got = client.chat(talks, 3, Sampling(seed=1))
        assert [[a.text for a in some] for some in got] == [[f"t{i}-{k}" for k in range(3)] for i in range(20)]
        assert client.chat(talks[:1], 1, Sampling(seed=None))[0][0].finish == "stop"
        assert "seed" not in stub.requests[-1].json
        with pytest.raises(BadInput):
            client.chat([[]], 1, Sampling())


def test_chat_reads_cuts_refusals_and_nonsense() -> None:
    replies = {
        "cut": answers("half", finish="length"),
        "refusal": json_reply({"choices": [{"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}]}),
        "filter": answers("x", finish="content_filter"),
        "none": answers(None),
        "few": json_reply({"choices": []}),
    }
    with (
        StubServer(lambda call: replies[call.text]) as stub,
        Service(ServiceSettings(url=stub.url, backoff=0.01)) as service,
    ):
        client = ChatClient(service, "m")
        ask = lambda text: client.chat([[{"role": "user", "content": text}]], 1, Sampling())[0][0]
        assert ask("cut") == ("half", "length")
        assert ask("refusal") == ("No.", "stop")
        for bad in ("filter", "none", "few"):
            with pytest.raises(BadResult):
                ask(bad)


def test_chat_learns_the_other_name_of_the_limit() -> None:
    def handler(call: Call) -> Reply:
        if "max_tokens" in call.json:
            return error_reply(400, "Use 'max_completion_tokens' instead.", code="unsupported_parameter")
        return answers("ok")

    with StubServer(handler) as stub, Service(ServiceSettings(url=stub.url)) as service:
        client = ChatClient(service, "m")
        for _ in range(3):
            assert client.chat([[{"role": "user", "content": "a"}]], 1, Sampling())[0][0].text == "ok"
        assert len(stub.requests) == 4


# --- training --------------------------------------------------------------------------------------------------------


def make_job(directory: Path, **changes) -> TrainingJob:
    chat = Chat(TurnTokenizer(), system_prompt="S")
    examples = tuple(chat.training_example(str(n), f"Q{n}", f"A{n} é") for n in range(10))
    job = TrainingJob(
        "run", examples, ((3, 1), (0, 2), (9, 8), (7, 6), (5, 4)), AdapterSettings(), seed=7, directory=str(directory)
    )
    return replace(job, **changes)


def train(backend: OpenAIBackend, job: TrainingJob) -> list:
    with pytest.warns(UserWarning, match="chooses optimizer"):
        return list(backend.train(job))


def test_trains_uploads_once_and_reports_what_it_knows(service: FineTuningServer, tmp_path: Path) -> None:
    backend = open_backend(service.url, learning_rate_multiplier=2.0)
    job = make_job(tmp_path, checkpoint_steps=(3, 4, 5))
    events = train(backend, job)
    steps = [e for e in events if isinstance(e, TrainingStep)]
    assert [(e.step, e.loss) for e in steps] == [(n, 3.0 / n) for n in range(1, 6)]
    assert all(math.isnan(e.learning_rate) and math.isnan(e.grad_norm) for e in steps)
    kept = [e for e in events if isinstance(e, Checkpoint)]
    assert [(c.step, c.location) for c in kept] == [(3, "ft:base:step-3"), (4, "ft:base:step-4"), (5, "ft:base:final")]
    assert all(c.adapter != job.adapter for c in kept), "what the service did is unknown, not what was asked"
    (made,) = service.jobs.values()
    assert made["request"]["model"] == "base"
    assert made["request"]["seed"] == 7
    assert made["request"]["method"]["supervised"]["hyperparameters"] == {
        "n_epochs": 1, "batch_size": 2, "learning_rate_multiplier": 2.0,
    }  # fmt: skip
    rows = service.rows("file-0")
    assert [row["messages"][1]["content"] for row in rows] == [f"Q{n}" for n in (3, 1, 0, 2, 9, 8, 7, 6, 5, 4)]
    assert rows[0]["messages"][0] == {"role": "system", "content": "S"}
    assert rows[0]["messages"][2] == {"role": "assistant", "content": "A3 é"}
    # the same call again finds its job: nothing is uploaded or created
    assert [e for e in train(backend, job) if isinstance(e, Checkpoint)] == kept
    assert len(service.files) == len(service.jobs) == 1
    with pytest.raises(OtherSettings, match="other rows or settings"):
        train(backend, replace(job, seed=8))
    later = make_job(tmp_path / "more", start=kept[-1], batches=((0, 1), (1, 0)))
    train(backend, later)
    assert service.jobs["ftjob-1"]["request"]["model"] == "ft:base:final"
    assert service.jobs["ftjob-1"]["request"]["method"]["supervised"]["hyperparameters"]["n_epochs"] == 2


def test_checkpoints_the_service_did_not_keep_are_told(tmp_path: Path) -> None:
    with FineTuningServer(keep=1) as server, pytest.warns(UserWarning, match="no checkpoint at updates 2, 3"):
        list(open_backend(server.url).train(make_job(tmp_path, checkpoint_steps=(2, 3))))


def test_a_lost_reply_creates_no_second_job(tmp_path: Path) -> None:
    with FineTuningServer(lose_created=1) as server:
        events = train(open_backend(server.url), make_job(tmp_path))
        assert isinstance(events[-1], Checkpoint)
        assert len(server.jobs) == 1


def test_killed_between_creating_and_writing_down(service: FineTuningServer, tmp_path: Path) -> None:
    backend = open_backend(service.url)
    train(backend, make_job(tmp_path))
    path = tmp_path / "openai_job.json"
    path.write_text(sealed({**read_sealed(path), "job": None}))
    train(backend, make_job(tmp_path))
    assert len(service.jobs) == len(service.files) == 1
    (tmp_path / "openai_job.json").write_text("{")
    with pytest.raises(BadInput, match=r"openai_job\.json"):
        train(backend, make_job(tmp_path))


TRAINING = """
import sys, warnings
warnings.simplefilter("ignore")
sys.path[:0] = [sys.argv[3]]
from pathlib import Path
from openai_server.test_hosted import make_job, open_backend
for event in open_backend(sys.argv[1], poll_seconds=0.2).train(make_job(Path(sys.argv[2]))):
    print(event, flush=True)
"""


def test_killed_while_following_and_resumed(tmp_path: Path) -> None:
    with FineTuningServer(updates=5) as server:
        tests = str(Path(__file__).parents[1])
        process = subprocess.Popen(
            [sys.executable, "-c", TRAINING, server.url, str(tmp_path), tests], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert "step=1" in process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        events = train(open_backend(server.url), make_job(tmp_path))
        assert [e.step for e in events] == [1, 2, 3, 4, 5, 5]
        assert len(server.jobs) == len(server.files) == 1


def test_a_failed_job_says_why(tmp_path: Path) -> None:
    words = r"ftjob-0 failed: rows are bad.*openai_job\.json"
    with FineTuningServer(fail_at=3) as server, pytest.raises(BackendRejected, match=words):
        train(open_backend(server.url), make_job(tmp_path))


def test_a_service_that_dies_is_told_and_the_job_found_again(tmp_path: Path) -> None:
    with FineTuningServer(updates=4) as server:
        backend = open_backend(server.url)
        stream = backend.train(make_job(tmp_path))
        with pytest.warns(UserWarning, match="chooses optimizer"):
            next(stream)
        server.stub.kill()
        with pytest.raises(BackendUnavailable, match="nothing answers"):
            list(stream)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"batches": ((0, 1), (0, 2))}, BackendRejected, "whole epochs"),
        ({"batches": ()}, BadInput, "no updates"),
        ({"examples": (TrainingExample("odd", (257, 65, 259, 258, 66, 259), (0.0, 0.0, 0.0, 0.0, 0.5, 1.0)),),
          "batches": ((0,),)}, BadInput, "'odd'"),
        ({"examples": (TrainingExample("all", (257, 65, 259), (1.0, 1.0, 1.0)),), "batches": ((0,),)},
         BadInput, "'all'"),
    ],
)  # fmt: skip
def test_jobs_a_service_cannot_express(tmp_path: Path, changes: dict, error: type, words: str) -> None:
    with FineTuningServer() as server:
        with pytest.raises(error, match=words):
            list(open_backend(server.url).train(make_job(tmp_path, **changes)))
        assert not server.stub.requests
