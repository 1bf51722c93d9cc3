"""SIGKILL at write steps and at random times: what is marked done is right, and the same run again ends byte-equal.

The mutation test swaps marker and data and must make the suite fail.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ..tally import count

SCENARIO = Path(__file__).with_name("scenario.py")


def matrix(place: Path, *options: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, str(SCENARIO), str(place), *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    if "--mutant" not in options:
        count("kill: writing a store", not found["failures"], found["points"])
    return found


def test_killed_after_some_steps(quick_dir: Path) -> None:
    result = matrix(quick_dir, "--mode", "steps", "--count", "8")
    assert result["points"] == 8
    assert result["failures"] == {}


def test_killed_at_some_random_times(quick_dir: Path) -> None:
    result = matrix(quick_dir, "--mode", "times", "--count", "3")
    assert result["failures"] == {}


def test_marker_before_data_is_caught(quick_dir: Path) -> None:
    result = matrix(quick_dir, "--mode", "marker", "--count", "3", "--mutant")
    assert len(result["failures"]) >= 2, "the suite did not notice that markers came before their data"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_after_every_step(quick_dir: Path) -> None:
    result = matrix(quick_dir, "--mode", "steps")
    assert result["points"] == result["steps"] > 200
    assert result["failures"] == {}


@pytest.mark.slow
def test_killed_at_twenty_random_times(quick_dir: Path) -> None:
    result = matrix(quick_dir, "--mode", "times", "--count", "20")
    assert result["points"] == 20
    assert result["failures"] == {}
