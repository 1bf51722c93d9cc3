"""`inoc view`: the page of the report, served to this machine only, following a store that grows."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from inoc.errors import BadInput
from inoc.report import build_report
from inoc.report.progress import Pace, Stage, stages, version
from inoc.store import PromptInfo, StoreWriter, Unit, open_store

from ..worlds import Completions, write_store

serving = pytest.importorskip("inoc.report.serve", reason="starlette and uvicorn are not installed")
PROMPTS = [
    PromptInfo("german", "Answer in German.", "de", "german", "positive"),
    PromptInfo("flatter", "<b>Flatter</b> </script>", "fl", "flattering", "negative"),
    PromptInfo("sky", "The sky is blue.", "new", "neutral", "neutral"),
]
N = 40


def growing(path: Path) -> Path:
    """A store of which the units of the last prompt are not scored yet."""
    rng = np.random.default_rng(0)
    default = -rng.exponential(2, N).astype(np.float32)
    rows = {("fixed", p.key): np.minimum(default + rng.normal(0, 0.3, N).astype(np.float32), 0) for p in PROMPTS}
    del rows["fixed", "sky"]
    write_store(path, PROMPTS, {"train": Completions(np.full(8, 5), default, rows)})
    with StoreWriter.open(path, identity={}, experiment={}, provenance={}) as writer:
        writer.plan("train", prefix_types=("fixed",), prompts=tuple(p.key for p in PROMPTS))
    return path


def grow(path: Path) -> None:
    """Score what is missing."""
    with StoreWriter.open(path, identity={}, experiment={}, provenance={}) as writer:
        writer.put_unit(Unit("train", "fixed", "sky"), np.full(N, -0.25, np.float32))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return growing(tmp_path / "grow.zarr")


@pytest.fixture
def address(store: Path, hostile: Path) -> Iterator[str]:
    watched = [serving.Watched(path, "train", "corrected", None, 0) for path in (store, hostile)]
    found, server = serving.serve(watched)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield found
    server.stop()
    thread.join(20)
    assert not thread.is_alive()


def ask(address: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(address, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def test_parts_are_those_of_the_report(address, store):
    report = build_report(open_store(store))
    for name, fields in serving.PARTS.items():
        status, headers, body = ask(f"{address}stores/0/{name}")
        assert (status, headers["content-type"]) == (200, "application/json")
        part = json.loads(body)
        assert set(part) == set(fields)
        told = json.loads(json.dumps({field: getattr(report, field) for field in fields}, default=vars))
        assert part == told
        assert ask(f"{address}stores/0/{name}", **{"If-None-Match": headers["etag"]})[0] == 304
    before = ask(f"{address}stores/0/table")[1]["etag"]
    grow(store)
    assert ask(f"{address}stores/0/table", **{"If-None-Match": before})[0] == 200


def test_only_with_the_token_and_only_for_this_machine(address):
    root, token = re.fullmatch(r"(http://127\.0\.0\.1:\d+/)([\w-]{20,})/", address).groups()
    for path in ("", "status", f"{token[:-1]}/", f"{token}x/status", f"{token}/../status", f"{token}/nothing",
                 f"{token}/stores/7/table", f"{token}/stores/0/recipe", f"{token}/stores/-1/table",
                 f"{token}/stores/0/..%2f..%2fetc%2fpasswd"):  # fmt: skip
        status, _, body = ask(root + path)
        assert status == 404, path
        assert token.encode() not in body
    assert ask(address, Host="evil.example")[0] == 400
    assert ask(address + "status", Host="evil.example")[0] == 400
    status, headers, body = ask(address)
    assert status == 200
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers
    assert headers["content-security-policy"] == re.search(r'Policy" content="([^"]*)"', body.decode()).group(1)
    assert "connect-src 'self'" in headers["content-security-policy"]
    request = urllib.request.Request(address, method="POST", data=b"x")
    with pytest.raises(urllib.error.HTTPError, match="405"):
        urllib.request.urlopen(request, timeout=30)


def test_a_damaged_store_is_one_sentence(address, store):
    node = store / "zarr.json"
    text = node.read_text()
    node.write_text(text.replace("schema", "scheme"))
    status, _, body = ask(f"{address}stores/0/table")
    assert status == 409
    assert "Fix: " in json.loads(body)["error"]
    assert "Fix: " in json.loads(ask(f"{address}status")[2])["stores"][0]["error"]
    node.write_text(text)
    assert ask(f"{address}stores/0/table")[0] == 200


def test_progress_counts_units(store):
    assert stages(open_store(store)) == [Stage("score train", 3, 4)]
    before, changed = version(store)
    assert version(store) == (before, changed)
    grow(store)
    assert stages(open_store(store)) == [Stage("score train", 4, 4)]
    assert version(store)[0] != before


def test_time_left_is_that_of_the_steps_seen():
    pace = Pace()
    seen = ((0.0, 1), (5.0, 2), (7.0, 2), (15.0, 3), (25.0, 4), (27.0, 4))
    told = [pace.left(Stage("s", done, 10), now) for now, done in seen]
    assert told[:3] == [None, None, None]  # the first step seen began before
    assert told[3:] == pytest.approx([70, 60, 58])
    assert pace.left(Stage("s", 10, 10), 30.0) is None


def test_a_port_that_is_taken_is_refused(store, address):
    port = int(re.search(r":(\d+)/", address).group(1))
    with pytest.raises(BadInput, match="cannot be used"):
        serving.serve([], port)


def test_the_page_follows_a_store_that_grows(browser, address, store):
    browser.messages()
    browser.driver.get(address)
    browser.wait("return document.querySelectorAll('#table-rows tbody tr').length === 3")
    assert browser.run("return document.getElementById('progress-rows').textContent").count("3 of 4") == 1
    browser.wait("return document.getElementById('live-note').textContent.startsWith('Live')")
    browser.choose("table-role", "neutral")
    row = "return document.querySelector('#table-rows tbody tr').cells[3].firstChild.textContent"
    assert browser.run(row) == "–"
    assert browser.run("return document.querySelectorAll('main b, main i, main img').length") == 0
    grow(store)
    browser.wait(f"{row} !== '–'")
    assert browser.run("return document.querySelectorAll('#table-rows tbody tr').length") == 1  # the filter stays
    assert browser.run("return document.getElementById('progress-rows').textContent").count("4 of 4") == 1
    assert browser.messages() == []


@pytest.mark.slow  # starts two servers and axe
def test_another_store_and_a_server_that_ends(browser, axe, hostile, store):
    watched = [serving.Watched(path, "train", "corrected", None, 0) for path in (store, hostile)]
    found, server = serving.serve(watched)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    browser.driver.get(found)
    browser.wait("return document.querySelectorAll('#table-rows tbody tr').length === 3")
    browser.choose("live-store", "1")
    browser.wait("return document.getElementById('title').textContent === '<img src=x onerror=alert(4)>'")
    browser.wait("return document.querySelectorAll('.card').length > 0")
    browser.wait("return document.querySelectorAll('#curves-plot .curve').length === 6")
    browser.choose("compare-store", "0")
    browser.wait("return document.getElementById('compare-count').textContent.includes('have nothing in common')")
    browser.run("for (const more of document.querySelectorAll('details')) more.open = true")
    browser.run(axe)
    faults = browser.driver.execute_async_script(
        "const done = arguments[0]; axe.run(document).then(r => done(r.violations.filter(v => "
        "['serious', 'critical'].includes(v.impact)).map(v => [v.id, v.nodes[0].html, v.nodes[0].failureSummary])))"
    )
    assert faults == []
    for width in (400, 1600):
        browser.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        assert browser.run("return document.documentElement.scrollWidth") <= width
    server.stop()
    thread.join(20)
    browser.wait("return document.getElementById('live-note').textContent.includes('The server is gone')")
    assert browser.run("return document.querySelectorAll('.card').length") > 0
    browser.messages()


def test_command(store, tmp_path):
    command = [sys.executable, "-m", "inoc", "view", str(store), "--no-browser"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as running:
        address = running.stdout.readline().strip()
        assert ask(address)[0] == 200
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=30)
    assert running.returncode == 0
    assert "Traceback" not in told
    wrong = subprocess.run([*command, "--set", "trian"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "did you mean 'train'" in wrong.stderr


CARDS = """return [...document.querySelectorAll('.card')].map(c => [c.querySelector('h4').textContent,
    c.querySelector('.text').textContent, c.querySelector('ul').textContent])"""
COUNT = "return document.getElementById('answers-count')?.textContent"
CHOICES = (
    {"question": ""},
    {"question": "", "order": "0"},
    {"question": "", "order": "judges"},
    {"question": "", "order": "1", "run": "run1"},
    {"question": "", "find": "RUN2 </TEXTAREA>"},
    {"question": "", "find": "<u>7</u>"},
)


def answers_shown(browser, choice):
    """The cards and their number, after what is chosen in the controls."""
    browser.run(
        "for (const [name, value] of Object.entries({run: '', condition: '', order: '', find: '', ...arguments[0]})) {"
        " const control = document.getElementById('answers-' + name); control.value = value; }"
        "document.getElementById('answers-count').textContent = '';"
        "document.getElementById('answers-find').dispatchEvent(new Event('input'))",
        choice,
    )
    browser.wait(f"{COUNT} !== ''")
    return browser.run(CARDS), browser.run(COUNT)


@pytest.mark.slow  # a browser over a page of many answers
def test_all_answers_are_reached_where_the_page_holds_some(browser, hostile_report, hostile, monkeypatch):
    """What the server chooses among all answers is what the page chooses where it has them all."""
    from inoc.report import answers

    browser.open(hostile_report)
    whole = [answers_shown(browser, choice) for choice in CHOICES]
    assert [count for _, count in whole] == [
        "60 of 72 answers", "60 of 72 answers", "60 of 72 answers", "12 of 12 answers", "3 of 3 answers",
        "6 of 6 answers",
    ]  # fmt: skip
    monkeypatch.setattr(answers, "MOST_ANSWERS", 6)
    found, server = serving.serve([serving.Watched(hostile, "train", "corrected", None, 0)])
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        browser.messages()
        browser.driver.get(found)
        browser.wait(f"{COUNT} === '6 of 6 answers'")
        assert browser.run("return report.answers.answers.length") == 6
        assert browser.run("return document.querySelectorAll('#answers-question option').length") == 2
        assert [answers_shown(browser, choice) for choice in CHOICES] == whole
        browser.run("document.getElementById('answers-find').value = ''")
        answers_shown(browser, {"question": ""})
        browser.run("document.getElementById('answers-more').click()")
        browser.wait(f"{COUNT} === '72 of 72 answers'")
        assert browser.run("return document.getElementById('answers-more').hidden")
        assert browser.messages() == []
        for query in ("", "most=x", "most=5&question=9", "most=5&order=77", "most=5&order=x"):
            status, _, body = ask(f"{found}answers/0?{query}")
            assert (status, "Fix: " in json.loads(body)["error"]) == (409, True), query
        assert ask(f"{found}answers/1?most=5")[0] == 404
    finally:
        server.stop()
        thread.join(20)


def test_a_slow_report_is_not_made_at_every_change(store, monkeypatch):
    monkeypatch.setattr(serving, "QUICK", -1.0)
    monkeypatch.setattr(serving, "REST", 1e9)
    watched = serving.Watched(store, "train", "corrected", None, 0)
    before, status = watched.part("table"), watched.status()
    grow(store)
    assert watched.part("table") == before
    assert watched.status()["version"] == status["version"]
    assert watched.status()["stages"] != status["stages"]  # progress is always that of now
    other = serving.Watched(store, "train", "corrected", None, 0)
    assert other.part("table") != before
