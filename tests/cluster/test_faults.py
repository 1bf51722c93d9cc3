"""Workers and schedulers die, are slow, differ or run out of memory: the same bytes, or one sentence and a resume."""

import json
import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from ..stages.conftest import Lab as ToyLab
from ..stages.conftest import files_of, make_lab, plugin
from ..tally import count
from .conftest import Cluster, Lab, contents, kill

HUNGRY = '''
from toy_backend import ToyBackend
class Hungry(ToyBackend):
    """Takes a gigabyte for every context that holds `clown`."""
    name = "hungry"
    def score(self, requests):
        if any("clown" in self.tokenizer.decode(request.context) for request in requests):
            kept = [bytearray(b"x" * 2**20) for _ in range(1000)]
            import time
            time.sleep(60)
        yield from super().score(requests)
'''


@pytest.fixture
def toy(tmp_path: Path) -> ToyLab:
    return make_lab(tmp_path)


def alone(toy: ToyLab) -> dict[str, bytes]:
    """The store that one process makes; a process of its own, since a store records the thread pools of its maker."""
    with toy.start(store="alone.zarr") as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return files_of(toy.folder / "alone.zarr")


def start_pair(cluster: Cluster, toy: ToyLab, *options: str, **environment: str) -> None:
    cluster.start_scheduler()
    for _ in range(2):
        add_worker(cluster, toy, *options, **environment)


def add_worker(cluster: Cluster, toy: ToyLab, *options: str, **environment: str) -> None:
    from ..command_line import with_path

    found = with_path(toy.plugins)["PYTHONPATH"]
    cluster.start_worker(*options, PYTHONPATH=found, **environment)


def kill_workers(cluster: Cluster, process: subprocess.Popen[str], kills: int, seed: int, pause: float) -> int:
    """SIGKILL workers at random while the command runs; how many died."""
    draw, died = random.Random(seed), 0
    while process.poll() is None and died < kills:
        time.sleep(pause * draw.random())
        if pids := cluster.pids():
            kill(draw.choice(pids))
            died += 1
    return died


@pytest.mark.parametrize(("kills", "delay"), [(2, "0.02"), pytest.param(60, "0.25", marks=pytest.mark.slow)])
def test_workers_are_killed_while_scoring(cluster: Cluster, toy: ToyLab, kills: int, delay: str) -> None:
    whole = alone(toy)
    start_pair(cluster, toy, TOY_DELAY=delay)
    died, seed = 0, 0
    while died < kills:
        shutil.rmtree(toy.folder / "run.zarr", ignore_errors=True)
        process = toy.start("--cluster", str(cluster.file))
        died += kill_workers(cluster, process, kills - died, seed, pause=1.5)
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, out + err
        assert files_of(toy.folder / "run.zarr") == whole
        seed += 1
    count("kill: workers of a cluster, scoring", True, died)


def written(toy: ToyLab) -> int:
    """How many files of scores there are."""
    return sum(len(files) for _, _, files in os.walk(toy.folder / "run.zarr" / "logprobs" / "train"))


@pytest.mark.slow  # every time starts three processes
@pytest.mark.parametrize("times", [1, 5])
def test_the_scheduler_is_killed(cluster: Cluster, toy: ToyLab, times: int) -> None:
    """One sentence, and the same command resumes with another scheduler."""
    whole = alone(toy)
    for _ in range(times):
        start_pair(cluster, toy, TOY_DELAY="0.1")
        before = written(toy)
        process = toy.start("--cluster", str(cluster.file))
        while written(toy) <= before and process.poll() is None:
            time.sleep(0.05)
        assert cluster.scheduler is not None
        cluster.scheduler.kill()
        out, err = process.communicate(timeout=60)
        assert process.returncode == 2, out + err
        assert "Traceback" not in err
        last = err.strip().splitlines()[-1]
        assert last.startswith("inoc: the cluster's scheduler does not answer any more. Fix: start it"), err
        cluster.close()
        cluster.workers.clear()
        count("kill: the scheduler of a cluster", True)
    start_pair(cluster, toy)
    done = toy.score("--cluster", str(cluster.file))
    assert done.returncode == 0, done.stderr
    assert files_of(toy.folder / "run.zarr") == whole


def test_a_worker_of_another_version(cluster: Cluster, toy: ToyLab) -> None:
    old = toy.folder / "old.py"
    old.write_text("import inoc._version\ninoc._version.__version__ = '0.0.1'\n")
    cluster.start_scheduler()
    add_worker(cluster, toy, "--preload", str(old), "--no-nanny")
    done = toy.score("--cluster", cluster.address)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "a worker of the cluster has another version of inoc: 0.0.1, here " in done.stderr
    assert not (toy.folder / "run.zarr").exists()


@pytest.mark.slow
def test_a_slow_worker_and_one_that_joins_late(cluster: Cluster, toy: ToyLab) -> None:
    whole = alone(toy)
    cluster.start_scheduler()
    add_worker(cluster, toy, TOY_DELAY="0.5")
    process = toy.start("--cluster", str(cluster.file))
    time.sleep(3)
    add_worker(cluster, toy)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert files_of(toy.folder / "run.zarr") == whole


@pytest.mark.slow
def test_memory_that_never_suffices_fails_its_units_alone(cluster: Cluster, toy: ToyLab) -> None:
    plugin(toy.plugins, "hungry-backend", HUNGRY, "hungry = hungry_backend:Hungry")
    toy.edit("backend: {name: toy}", "backend: {name: hungry}")
    cluster.start_scheduler(DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="1")
    for _ in range(2):
        add_worker(cluster, toy, "--memory-limit", "400MB", DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE="False")
    process = toy.start("--cluster", str(cluster.file))
    out, err = process.communicate(timeout=280)
    assert process.returncode == 1, out + err
    assert "Traceback" not in err
    last = err.strip().splitlines()[-1]
    assert "3 of 11 units failed and stay pending" in last
    assert "workers died one after the other on the same task, often from lack of memory" in last


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_workers_and_the_command_are_killed_anywhere(cluster: Cluster, lab: Lab, whole: Lab) -> None:
    """A whole study of a real model: trainings resume, and the store has the bytes of one process."""
    cluster.start_scheduler()
    for _ in range(2):
        cluster.start_worker()
    cluster.wait_for(2)
    draw = random.Random(7)
    for _ in range(3):
        process = lab.start("run", "--cluster", str(cluster.file))
        kill_workers(cluster, process, 2, draw.randrange(1000), pause=12)
        time.sleep(8 * draw.random())
        process.kill()
        process.communicate()
        count("kill: a command with a cluster", True)
    process = lab.start("run", "--cluster", str(cluster.file), "--json")
    died = kill_workers(cluster, process, 4, 8, pause=15)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, out + err
    assert json.loads(out)["stages"]
    assert contents(lab.store) == contents(whole.store)
    count("kill: workers of a cluster, whole study", True, died)
