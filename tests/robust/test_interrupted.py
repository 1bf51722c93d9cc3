"""Imports and merges that are killed or find the disk full: the old store or the new one, and the same command ends the
work."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..tally import count

KILLER = Path(__file__).with_name("killer.py")


def matrix(place: Path, *options: str) -> dict[str, object]:
    """What killer.py says; every point is counted."""
    environment = {**os.environ, "TMPDIR": str(place)}
    done = subprocess.run(
        [sys.executable, str(KILLER), str(place), *options],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def survived(kind: str, found: dict[str, object]) -> None:
    failures = found["failures"]
    assert isinstance(failures, dict)
    for point in range(int(str(found["points"]))):
        count(kind, point >= len(failures))
    assert failures == {}


COMMANDS = {"overwrite": "import --overwrite", "append": "import --append", "merge": "merge"}


@pytest.mark.robust
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("command", COMMANDS)
def test_kills(tmp_path: Path, command: str) -> None:
    found = matrix(tmp_path, "--command", command, "--count", "30")
    assert int(str(found["points"])) >= 30
    survived(f"kill: {COMMANDS[command]}", found)


@pytest.mark.robust
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("mode", ["full", "limit"])
def test_a_full_disk(tmp_path: Path, command: str, mode: str) -> None:
    survived(f"full disk: {COMMANDS[command]}", matrix(tmp_path, "--command", command, "--mode", mode, "--count", "10"))


@pytest.mark.robust
def test_deleting_the_old_store_first_is_caught(tmp_path: Path) -> None:
    found = matrix(tmp_path, "--count", "8", "--mutant")
    failures = found["failures"]
    assert isinstance(failures, dict)
    assert len(failures) >= 4


@pytest.mark.robust
@pytest.mark.parametrize("command", ["overwrite", "append"])
def test_some_kills(tmp_path: Path, command: str) -> None:
    survived(f"kill: {COMMANDS[command]}", matrix(tmp_path, "--command", command, "--count", "2"))
