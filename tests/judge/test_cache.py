"""The judge cache: what it refuses to hold, and that neither kills nor other processes break it."""

import math
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from inoc.errors import BadInput
from inoc.judge.cache import JudgmentCache, cache_key, default_cache_path


def test_keeps_scores_between_openings(tmp_path: Path) -> None:
    cache = JudgmentCache(tmp_path / "deep" / "judge.sqlite")
    cache.put("a", 12.5, 0.9)
    cache.put("a", 99.0, 1.0)  # the first writer wins
    cache.close()
    again = JudgmentCache(tmp_path / "deep" / "judge.sqlite")
    assert again.get(["a", "b"]) == {"a": (12.5, 0.9)}
    journal = again._database.execute("PRAGMA journal_mode").fetchone()
    assert journal == ("wal",), "one process reads while another writes"
    assert len(again.get([str(n) for n in range(2000)])) == 0
    for n in (0, 499, 500, 1501):
        again.put(str(n), float(n), 1.0)
    assert again.get([str(n) for n in range(1502)]) == {str(n): (float(n), 1.0) for n in (0, 499, 500, 1501)}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_never_holds_nan(tmp_path: Path, bad: float) -> None:
    cache = JudgmentCache(tmp_path / "judge.sqlite")
    with pytest.raises(ValueError):
        cache.put("a", bad, 0.9)
    with pytest.raises(ValueError):
        cache.put("a", 1.0, bad)
    with pytest.raises(sqlite3.IntegrityError):  # not even around `put`: the table refuses
        cache._database.execute("INSERT INTO judgement VALUES ('a', ?, 1.0)", (bad if math.isnan(bad) else None,))
    assert cache.get(["a"]) == {}


def test_key_depends_on_model_version_and_every_part_of_the_request() -> None:
    base = cache_key("m", "1", {"messages": ["x"], "temperature": 1.0})
    assert base == cache_key("m", "1", {"temperature": 1.0, "messages": ["x"]})
    others = [
        cache_key("n", "1", {"messages": ["x"], "temperature": 1.0}),
        cache_key("m", "2", {"messages": ["x"], "temperature": 1.0}),
        cache_key("m", "1", {"messages": ["x"], "temperature": 0.0}),
        cache_key("m", "1", {"messages": ["x "], "temperature": 1.0}),
        cache_key("m", "1", {"messages": ["\ud83d"], "temperature": 1.0}),  # a lone surrogate must not crash
    ]
    assert len({base, *others}) == 6


def test_a_file_that_is_no_database_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "judge.sqlite"
    path.write_text("not a database, but long enough to be looked at" * 50)
    with pytest.raises(BadInput, match="cannot be used"):
        JudgmentCache(path)


WRITER = """
import sys
from pathlib import Path
from inoc.judge.cache import JudgmentCache, default_cache_path
cache = JudgmentCache(Path(sys.argv[1]))
n = 0
while True:
    cache.put(f"{sys.argv[2]}-{n}", float(n % 101), 0.9)
    print(n, flush=True)
    n += 1
"""


def test_survives_kill_in_the_middle_of_writing(tmp_path: Path) -> None:
    path = tmp_path / "judge.sqlite"
    for attempt in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(attempt)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(200):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        acknowledged = [int(line) for line in process.stdout.read().split("\n")[:-1]]
        process.wait()
        process.stdout.close()
        last = max(acknowledged, default=199)
        cache = JudgmentCache(path)
        keys = [f"{attempt}-{n}" for n in range(last + 1)]
        assert cache.get(keys) == {key: (float(n % 101), 0.9) for n, key in enumerate(keys)}
        assert cache._database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        cache.close()


def write_many(path: str, first: int) -> None:
    cache = JudgmentCache(Path(path))
    for n in range(first, first + 300):
        cache.put(str(n), float(n % 101), 1.0)


def test_processes_share_it(tmp_path: Path) -> None:
    path = tmp_path / "judge.sqlite"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=write_many, args=(str(path), first)) for first in (0, 150, 300, 450)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert len(JudgmentCache(path).get([str(n) for n in range(750)])) == 750


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert default_cache_path() == tmp_path / "own" / "inoc" / "judgements.sqlite"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_path() == tmp_path / ".cache" / "inoc" / "judgements.sqlite"
