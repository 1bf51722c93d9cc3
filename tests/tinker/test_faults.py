"""What goes wrong on the way to a service: said in one sentence, within seconds, with what was done kept."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from contract import KEY, Trained, make_job, steps_of

from inoc.backends import check_scores
from inoc.backends.protocols import AdapterSettings, Checkpoint, ModelSpec, SampleRequest, ScoreRequest, TrainingStep
from inoc.backends.tinker import TinkerBackend
from inoc.errors import BackendRejected, BackendUnavailable, BadInput, BadResult
from inoc.values import Sampling


def questions(count: int) -> list[ScoreRequest]:
    return [ScoreRequest(f"q{i}", tuple(range(10, 20)), (i % 200, 5, 7)) for i in range(count)]


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def stranger() -> Iterator[str]:
    """A web server that is no Tinker service."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.slow  # waits for the SDK's own patience
def test_unreachable_address_fails_in_seconds(connect, silent: str, tmp_path) -> None:
    for url in ("http://127.0.0.1:9", silent):
        backend = connect(url, context_length=512)
        for act in (backend.check, lambda backend=backend: list(backend.train(make_job(tmp_path)))):
            with pytest.raises(BackendUnavailable, match=f"no Tinker service answers at {url} within 3 s"):
                act()


def test_other_servers_and_bad_urls(connect, stranger: str) -> None:
    with pytest.raises(BackendUnavailable, match="is not a Tinker service"):
        connect(stranger).check()
    for url in ("ftp://host", "http://user:secret@host", "nonsense"):
        with pytest.raises(BadInput, match="plain http") as error:
            connect(url).check()
        assert "secret" not in str(error.value)


def test_url_of_the_environment(connect, server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINKER_BASE_URL", server.url)
    connect(None).check()


def test_missing_or_wrong_key(connect, server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINKER_API_KEY")
    with pytest.raises(BackendUnavailable, match="set the environment variable TINKER_API_KEY"):
        connect(server.url).check()
    for wrong in ("sk-not-tinker", "tml-expired-secret"):
        monkeypatch.setenv("TINKER_API_KEY", wrong)
        backend = connect(server.url, context_length=512)
        for act in (backend.check, lambda backend=backend: list(backend.score(questions(2)))):
            with pytest.raises(BackendUnavailable, match="TINKER_API_KEY") as error:
                act()
            assert wrong not in str(error.value)


def test_key_is_no_option_and_nowhere_else(connect, server, trained: Trained) -> None:
    with pytest.raises(BadInput, match="set the environment variable TINKER_API_KEY"):
        connect(server.url, api_key=KEY)
    backend = connect(server.url)
    assert KEY not in repr(backend.identity()) + repr(vars(backend)) + repr(vars(backend.service))
    assert server.url not in repr(backend.identity())
    for file in (*server.root.rglob("*.json"), *map(server.root.__class__, [trained.job.directory])):
        assert file.is_dir() or KEY not in file.read_text()
    assert backend.service.clean(f"echo {KEY}\nline") == "echo *** line"


@pytest.mark.slow  # starts commands; that the key is in no option, message or file is a fast test
def test_key_is_not_printed_by_a_command(server, models, tmp_path) -> None:
    """The server repeats the key it refuses; the SDK's own logging is on."""
    (tmp_path / "s.py").write_text(
        "import logging, sys\nlogging.basicConfig(level=0)\n"
        "from inoc.backends.protocols import ModelSpec\nfrom inoc.backends.tinker import TinkerBackend\n"
        "assert 'tinker' not in sys.modules and 'torch' not in sys.modules\n"
        f"spec = ModelSpec({str(models['tiny'])!r}, options=dict(url={server.url!r}, served_name='tiny'))\n"
        "TinkerBackend.from_spec(spec).check()\n"
    )
    done = subprocess.run(
        [sys.executable, str(tmp_path / "s.py")],
        env=os.environ | {"TINKER_API_KEY": "tml-secret-of-mine"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert "rejects the key" in done.stderr
    assert "secret-of-mine" not in done.stderr + done.stdout


def test_unknown_model_names_what_there_is(connect, server) -> None:
    backend = connect(server.url, served_name="Qwen/Qwen9")
    with pytest.raises(BackendRejected, match="does not have the model 'Qwen/Qwen9', but table, tiny"):
        backend.check()


def test_unknown_options_and_checkpoints(connect, server, backend: TinkerBackend) -> None:
    with pytest.raises(BadInput, match="did you mean 'concurrency'"):
        connect(server.url, concurency=3)
    with pytest.raises(BadInput, match="'concurrency' of the backend tinker is 0"):
        connect(server.url, concurrency=0)
    ask = questions(1)[0]
    for place, error, text in (
        ("/local/adapter", BadInput, "is not on a Tinker service"),
        ("tinker://run/sampler_weights/gone", BackendRejected, "no sampler_weights at tinker://run"),
    ):
        checkpoint = Checkpoint(1, place, AdapterSettings())
        with pytest.raises(error, match=text):
            list(backend.score([ScoreRequest("x", ask.context, ask.completion, checkpoint)]))


@pytest.mark.parametrize("kind", ["short", "nan", "positive", "garbage"])
def test_wrong_reply_is_asked_for_again_then_refused(backend: TinkerBackend, server, kind: str) -> None:
    right = {r.id: r.logprobs for r in backend.score(questions(6))}
    server.fault(kind, 1)
    again = {r.id: r.logprobs for r in check_scores(questions(6), backend.score(questions(6)))}
    for id in right:
        np.testing.assert_array_equal(again[id], right[id])
    server.fault(kind, 2)
    with pytest.raises(BadResult, match="q0: "):
        list(backend.score(questions(1)))


@pytest.mark.slow  # waits between tries, as the fast test of a storm in tests/judge does
def test_storm_of_429_is_weathered(backend: TinkerBackend, server, connect) -> None:
    server.fault("busy", 3)
    assert len(list(backend.score(questions(8)))) == 8
    server.fault("busy", 1000)
    hasty = connect(server.url, timeout=2.0)
    with pytest.raises(BackendUnavailable, match="gave no answer for 2 s"):
        list(hasty.score(questions(2)))
    server.fault("busy", -2000)
    assert len(list(backend.score(questions(8)))) == 8


@pytest.mark.slow  # starts a second server; a killed client is a fast test
def test_killed_server_keeps_what_was_done(
    doomed, server, connect, backend: TinkerBackend, trained: Trained, tmp_path
) -> None:
    """Scoring, then training: both end in seconds with one sentence, and go on with another server."""
    dying = connect(doomed.url, concurrency=2)
    job = make_job(tmp_path / "run")
    training = dying.train(job)
    events = [next(training) for _ in range(6)]  # five updates and the checkpoint of update 3
    scored = []
    scoring = dying.score(questions(40))
    scored = [next(scoring) for _ in range(3)]
    sampling = dying.sample([SampleRequest("s", (1, 2, 3))], Sampling(max_tokens=4))
    doomed.kill()
    for work in (scoring, training, sampling):
        with pytest.raises(BackendUnavailable, match="no Tinker service answers"):
            scored += work
    dying.close()
    done = {result.id for result in scored}
    asked = server.calls("asample")
    rest = [request for request in questions(40) if request.id not in done]
    found = {result.id for result in check_scores(rest, backend.score(rest))}
    assert sorted([*done, *found]) == sorted(request.id for request in questions(40)), "nothing is lost"
    assert server.calls("asample") - asked == len(rest), "nothing is scored twice"
    expected = {r.id: r.logprobs for r in backend.score(questions(40))}
    assert 3 <= len([r for r in scored if r.id in expected]) < 40
    for result in scored:
        np.testing.assert_allclose(result.logprobs, expected[result.id], atol=1e-6)
    resumed = steps_of(list(backend.train(job)))
    assert [s.loss for s in events if isinstance(s, TrainingStep)] == pytest.approx(trained.losses[:5], abs=1e-6)
    np.testing.assert_allclose([step.loss for step in resumed], trained.losses, atol=1e-6)


def test_damaged_resume_file_is_named(backend: TinkerBackend, tmp_path) -> None:
    (tmp_path / "tinker.json").write_text('{"settings"')
    with pytest.raises(BadInput, match=r"tinker\.json' cannot be read"):
        list(backend.train(make_job(tmp_path)))


def test_missing_tokenizer_says_which_option() -> None:
    with pytest.raises(BadInput, match="there is no tokenizer"):
        TinkerBackend.from_spec(ModelSpec("nobody/nothing"))
