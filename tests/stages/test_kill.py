"""SIGKILL at any time, then the same command: nothing marked is wrong, and the end is byte-equal."""

import random
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest

from inoc.store.store import Store

from ..tally import count
from .conftest import Lab, files_of

DELAY = "0.01"  # seconds per request: 46 requests, so that kills meet every phase


def kill_at(lab: Lab, seconds: float) -> bool:
    """Start scoring, kill it; False if it had ended already."""
    with lab.start(store="killed.zarr", TOY_DELAY=DELAY) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            return True
    return False


def marked_units_are_right(killed: Store, whole: Store) -> int:
    """Compare every marked unit with the uninterrupted run; how many there are."""
    count = 0
    for name in killed.completion_sets:
        mine, theirs = killed.token_logprobs(name), whole.token_logprobs(name)
        if mine.default_done:
            np.testing.assert_array_equal(mine.default[:], theirs.default[:])
            count += 1
        for f, p in np.argwhere(mine.done):
            np.testing.assert_array_equal(mine.prefixed[int(f), int(p), :], theirs.prefixed[int(f), int(p), :])
            count += 1
    return count


def whole_store(lab: Lab) -> None:
    """Made in a process of its own, like the stores that are killed: a store records the thread pools of its maker."""
    with lab.start(store="whole.zarr") as process:
        assert process.wait(60) == 0


def kills(lab: Lab, n: int, seed: int) -> None:
    whole_store(lab)
    whole, store = Store(lab.folder / "whole.zarr"), lab.folder / "killed.zarr"
    began = time.monotonic()
    with lab.start(store="timed.zarr", TOY_DELAY=DELAY) as process:
        assert process.wait(60) == 0
    length = time.monotonic() - began
    rng = random.Random(seed)
    met: set[int] = set()
    for tried in range(n + 20):
        if tried >= n and met:  # on a busy machine the first ones may come before there is a store
            break
        if not kill_at(lab, rng.uniform(0.3, 1.0) * length):
            shutil.rmtree(store)
        elif (store / "zarr.json").exists():
            met.add(marked_units_are_right(Store(store), whole))
    with lab.start("--verify", store="killed.zarr") as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert files_of(store) == files_of(lab.folder / "whole.zarr")
    assert met, "no kill met a store"
    count("kill: score", True, n)


@pytest.mark.slow  # kills of every stage of a study are fast tests of tests/study
def test_killed_at_random_times_ends_byte_equal(lab: Lab) -> None:
    kills(lab, 2, seed=0)


@pytest.mark.slow
def test_killed_at_twenty_random_times_ends_byte_equal(lab: Lab) -> None:
    kills(lab, 20, seed=1)


def test_interrupt_is_clean_and_resumable(lab: Lab) -> None:
    with lab.start(TOY_DELAY="0.1") as process:
        end = time.monotonic() + 30
        while not (lab.folder / "run.zarr" / "logprobs").exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; run the same command again" in errors
    assert "Traceback" not in errors
    assert lab.score().returncode == 0
    whole_store(lab)
    assert files_of(lab.folder / "run.zarr") == files_of(lab.folder / "whole.zarr")
