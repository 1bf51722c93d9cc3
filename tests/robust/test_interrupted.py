"""Imports that are killed or find the disk full: the old store or the new one, and the same command ends the work."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import count

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


@pytest.mark.robust
@pytest.mark.timeout(1200)
def test_killed_imports(tmp_path: Path) -> None:
    found = matrix(tmp_path, "--count", "90")
    assert int(str(found["points"])) >= 90
    survived("kill: import --overwrite", found)


@pytest.mark.robust
def test_a_full_disk(tmp_path: Path) -> None:
    survived("full disk: import --overwrite", matrix(tmp_path, "--mode", "full", "--count", "25"))


@pytest.mark.robust
def test_deleting_the_old_store_first_is_caught(tmp_path: Path) -> None:
    found = matrix(tmp_path, "--count", "8", "--mutant")
    failures = found["failures"]
    assert isinstance(failures, dict)
    assert len(failures) >= 4


def test_some_killed_imports(tmp_path: Path) -> None:
    survived("kill: import --overwrite", matrix(tmp_path, "--count", "2"))
