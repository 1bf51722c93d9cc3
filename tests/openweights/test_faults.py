"""What goes wrong on the way to a worker and on it: said in one sentence, what was done kept, nothing done twice."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
import psutil
import pytest

pytest.importorskip("openweights.client", reason="make test-openweights")

from trainings import make_job

from inoc.backends.protocols import ScoreRequest, TrainingStep
from inoc.errors import BackendUnavailable, BadInput, BadResult, InocError

if TYPE_CHECKING:
    from stack import Stack

    from inoc.backends.local import LocalBackend
    from inoc.backends.openweights import OpenWeightsBackend

pytestmark = pytest.mark.timeout(1800)


def texts(count: int, seed: int, length: int = 24) -> list[ScoreRequest]:
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 250, (count, length)).tolist()
    return [ScoreRequest(f"t{i}", tuple(row[: length // 2]), tuple(row[length // 2 :])) for i, row in enumerate(rows)]


def job_states(stack: "Stack") -> dict[str, str]:
    return dict(line.split("|") for line in stack.sql("select id, status from jobs").splitlines())


def wait_for(stack: "Stack", condition: str, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while stack.sql(f"select {condition}") != "t":
        assert time.monotonic() < end, f"not within {seconds} s: {condition}\n{stack.worker_log()[-2000:]}"
        time.sleep(0.2)


@pytest.fixture
def no_worker(environment: "Stack") -> "Stack":
    environment.kill_worker()
    return environment


@pytest.fixture
def backend(environment: "Stack", open_backend, tiny: Path) -> "Iterator[OpenWeightsBackend]":
    backend = open_backend(tiny)
    yield backend
    backend.close()


def test_unreachable_server_fails_in_seconds(backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:9")
    for act in (backend.check, lambda: list(backend.score(texts(1, 0)))):
        with pytest.raises(BackendUnavailable, match=r"answers at http://127.0.0.1:9"):
            act()


@pytest.mark.parametrize("kind", ["unknown", "expired", "revoked", "not one", "absent"])
def test_bad_key_is_one_sentence_without_it(
    environment: "Stack", backend, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    key = f"ow_{kind.replace(' ', '')}5ecret"
    if kind == "expired":
        environment.add_key(key, "-1 hour")
    if kind == "revoked":
        environment.add_key(key)
        environment.sql(f"update hidden.api_tokens set revoked_at = now() where digest = sha256('{key}')")
    if kind == "not one":
        key = "sk-5ecret"
    if kind == "absent":
        monkeypatch.delenv("OPENWEIGHTS_API_KEY")
    else:
        monkeypatch.setenv("OPENWEIGHTS_API_KEY", key)
    for act in (backend.check, lambda: list(backend.score(texts(1, 0)))):
        with pytest.raises(BackendUnavailable, match="OPENWEIGHTS_API_KEY") as error:
            act()
        assert "5ecret" not in str(error.value)
        assert "\n" not in str(error.value)


def test_bad_key_is_not_printed_by_a_command(environment: "Stack", tiny: Path, tmp_path: Path) -> None:
    """With the client's own logging on."""
    script = tmp_path / "s.py"
    script.write_text(
        "import logging, sys\nlogging.basicConfig(level=0)\n"
        "from inoc.backends.protocols import ModelSpec\nfrom inoc.backends.openweights import OpenWeightsBackend\n"
        "assert 'openweights' not in sys.modules and 'torch' not in sys.modules\n"
        f"OpenWeightsBackend.from_spec(ModelSpec({str(tiny)!r})).check()\n"
    )
    env = os.environ | {"OPENWEIGHTS_API_KEY": "ow_verysecretindeed"}
    done = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, timeout=600)
    assert "rejects the key in OPENWEIGHTS_API_KEY" in done.stderr
    assert "verysecret" not in done.stderr + done.stdout


def test_cancelled_job_says_so_and_goes_on_when_asked_again(no_worker: "Stack", backend) -> None:
    requests = texts(5, 1)
    found: list[BaseException] = []

    def ask() -> None:
        try:
            list(backend.score(requests))
        except BaseException as error:
            found.append(error)

    before = job_states(no_worker)
    thread = threading.Thread(target=ask)
    thread.start()
    wait_for(no_worker, f"count(*) = {len(before) + 1} from jobs")
    (job,) = job_states(no_worker).keys() - before.keys()
    no_worker.sql(f"update jobs set status = 'canceled' where id = '{job}'")
    thread.join(30)
    assert "was canceled" in str(found[0])
    assert job in str(found[0])
    no_worker.start_worker()
    assert len(list(backend_again(backend).score(requests))) == 5
    assert job_states(no_worker)[job] == "completed"
    assert len(job_states(no_worker)) == len(before) + 1


def backend_again(backend: "OpenWeightsBackend") -> "OpenWeightsBackend":
    """As a new process would open it."""
    return type(backend).from_spec(backend.spec)


def test_no_worker_is_said(no_worker: "Stack", open_backend, tiny: Path) -> None:
    backend = open_backend(tiny, timeout=2.0)
    with pytest.raises(BackendUnavailable, match="nothing changed for 2 s"):
        list(backend.score(texts(5, 2)))
    no_worker.sql("update jobs set status = 'canceled' where status = 'pending'")
    backend.close()


def test_model_the_worker_does_not_have(worker: "Stack", open_backend, tiny: Path) -> None:
    backend = open_backend(tiny, worker_model="/no/such/model")
    with pytest.raises(BadInput, match=r"the job inoc-score-\w+ failed: .*'/no/such/model'"):
        list(backend.score(texts(5, 3)))
    backend.close()


def test_failed_job_shows_the_last_lines_of_its_log(no_worker: "Stack", open_backend, tiny: Path) -> None:
    no_worker.start_worker(env={"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""})
    backend = open_backend(tiny, install="no-such-package-of-anybody==7")
    with pytest.raises(InocError, match="Last lines of the log") as error:
        list(backend.score(texts(5, 4)))
    assert "No matching distribution found for no-such-package-of-anybody==7" in str(error.value)
    assert os.environ["OPENWEIGHTS_API_KEY"] not in str(error.value)
    backend.close()


def test_sessions_expire_and_servers_stumble_meanwhile(worker: "Stack", backend) -> None:
    """A token of two seconds, and errors that pass: 503 and 429."""
    worker.sql("update hidden.settings set jwt_lifetime = '2 seconds'")
    try:
        results = []
        for i, result in enumerate(backend.score(texts(20, 5))):
            if i == 0:
                worker.gateway.fail(503)
                worker.gateway.fail(429)
            results.append(result)
        assert len(results) == 20
    finally:
        worker.sql("update hidden.settings set jwt_lifetime = '1 hour'")


CLIENT = """
import sys
sys.path.insert(0, sys.argv[1])
import conftest
from test_faults import texts
from inoc.backends.openweights import OpenWeightsBackend
from inoc.backends.protocols import ModelSpec
backend = OpenWeightsBackend.from_spec(ModelSpec(sys.argv[2], options=conftest.OPTIONS))
list(backend.score(texts(50, 6)))
print("done")
"""


def test_killed_client_finds_its_job_again(worker: "Stack", backend, tiny: Path, local: "LocalBackend") -> None:
    before = job_states(worker)
    command = [sys.executable, "-c", CLIENT, str(Path(__file__).parent), str(tiny)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for(worker, f"count(*) = {len(before) + 1} from jobs")
    process.send_signal(signal.SIGKILL)
    said, _ = process.communicate()
    assert "done" not in said
    (job,) = job_states(worker).keys() - before.keys()
    requests = texts(50, 6)
    found = {result.id: result.logprobs for result in backend.score(requests)}
    for result in local.score(requests):
        np.testing.assert_allclose(found[result.id], result.logprobs, atol=5e-5, rtol=0)
    assert job_states(worker).keys() - before.keys() == {job}
    assert worker.sql(f"select count(*) from runs where job_id = '{job}'") == "1"
    # a part of it, with something new: only the new is computed
    more = [*requests[:10], ScoreRequest("new", (1, 2, 3), (4, 5))]
    assert len(list(backend.score(more))) == 11
    (other,) = job_states(worker).keys() - before.keys() - {job}
    assert worker.sql(f"select params->'validated_params'->>'requests' from jobs where id = '{other}'") == "1"


def test_damaged_file_is_refused(worker: "Stack", backend) -> None:
    """One flipped byte in what the storage holds of a finished job."""
    requests = texts(50, 6)
    list(backend.score(requests))
    file = worker.sql(
        "select data->>'file' from events where data->>'inoc' = 'part' and data->>'n' = '50' order by id desc limit 1"
    )
    (place,) = worker.gateway.folder.glob(f"*{quote(file, safe='')}")
    whole = place.read_bytes()
    place.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])
    with pytest.raises(BadResult, match="arrived damaged"):
        list(backend.score(requests))
    place.write_bytes(whole)
    assert len(list(backend.score(requests))) == 50


def test_worker_lost_while_it_scores(no_worker: "Stack", open_backend, tiny: Path, local: "LocalBackend") -> None:
    """Restarted, it goes on after the parts that it had sent."""
    no_worker.start_worker()
    requests = texts(6000, 7, 120)
    backend = open_backend(tiny, upload_every=0.5)
    before, found = job_states(no_worker), {}
    for result in backend.score(requests):
        if not found:
            no_worker.kill_worker()
            no_worker.start_worker()
        assert result.id not in found
        found[result.id] = result.logprobs
    assert len(found) == len(requests)
    (job,) = job_states(no_worker).keys() - before.keys()
    of_job = f"from events join runs on run_id = runs.id where job_id = '{job}' and data->>'inoc' = 'part'"
    assert no_worker.sql(f"select sum((data->>'n')::int) {of_job}") == "6000", "nothing was scored twice"
    assert no_worker.sql(f"select count(distinct run_id) {of_job}") == "2", "the second run did a part of it"
    assert no_worker.sql(f"select status from runs where job_id = '{job}' order by id") == "failed\ncompleted"
    sample = requests[::40]
    for result in local.score(sample):
        np.testing.assert_allclose(found[result.id], result.logprobs, atol=5e-5, rtol=0)
    backend.close()


def test_worker_lost_while_it_trains(
    no_worker: "Stack", open_backend, tiny: Path, local: "LocalBackend", tmp_path: Path
) -> None:
    """Restarted, it goes on from the last state that it had sent, to the same losses."""
    no_worker.start_worker()
    backend = open_backend(tiny, resume_every=0.5)
    job = make_job(tmp_path / "there", updates=300)
    before, losses, lost = job_states(no_worker), {}, False
    for event in backend.train(job):
        if isinstance(event, TrainingStep):
            losses[event.step] = event.loss
        if not lost and len(losses) > 20:
            lost = True
            no_worker.kill_worker()
            no_worker.start_worker()
    assert sorted(losses) == list(range(1, 301))
    (id,) = job_states(no_worker).keys() - before.keys()
    first = no_worker.sql(
        "select min((data->>'step')::int) from events join runs on run_id = runs.id "
        f"where job_id = '{id}' and data->>'inoc' = 'steps' group by run_id order by run_id"
    ).split()
    assert len(first) == 2
    assert int(first[1]) > int(first[0]), "the second run did not begin anew"
    here = [e.loss for e in local.train(make_job(tmp_path / "here", updates=300)) if isinstance(e, TrainingStep)]
    np.testing.assert_allclose([losses[step] for step in range(1, 301)], here, atol=1e-5, rtol=0)
    backend.close()


def test_killed_job_goes_on_when_asked_again(no_worker: "Stack", open_backend, tiny: Path, tmp_path: Path) -> None:
    """As by a machine out of memory: the job is gone, its worker is not."""
    no_worker.start_worker()
    backend = open_backend(tiny, resume_every=0.5)
    job = make_job(tmp_path / "run", updates=302)

    def train_until_the_job_is_killed() -> None:
        for number, _ in enumerate(backend.train(job)):
            if number == 20:
                end_job()

    with pytest.raises(InocError, match=r"failed\. Fix: run the same command") as error:
        train_until_the_job_is_killed()
    assert "Last lines of the log" in str(error.value)
    again = {event.step for event in backend_again(backend).train(job)}
    assert again == set(range(1, 303))
    backend.close()


def end_job() -> None:
    for process in psutil.Process().children(recursive=True):
        if "inoc.backends.openweights.worker" in " ".join(process.cmdline()):
            process.kill()
