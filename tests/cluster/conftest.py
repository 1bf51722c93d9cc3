"""A dask scheduler and workers as processes of their own, as on a cluster, and `inoc` run against them."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from ..command_line import run_inoc
from ..study.conftest import STUDY, write_study

pytest.importorskip("distributed")
DASK = [sys.executable, "-m", "dask"]
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1000",
    "DASK_DISTRIBUTED__WORKER__MEMORY__TARGET": "False",
    "DASK_DISTRIBUTED__WORKER__MEMORY__SPILL": "False",
}


@dataclass
class Cluster:
    """Processes that end with the test. A worker is a nanny and its child, which is started again when it dies."""

    folder: Path
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "scheduler.json"

    def start_scheduler(self, **environment: str) -> None:
        self.file.unlink(missing_ok=True)
        self.scheduler = self._start("scheduler", "--port", "0", "--dashboard-address", "127.0.0.1:0", **environment)
        deadline = time.monotonic() + 60
        while not (self.file.exists() and self.file.read_text().strip()):
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def start_worker(self, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        local = ("--local-directory", str(self.folder / f"w{len(self.workers)}"))
        worker = self._start("worker", "--nthreads", "1", "--no-dashboard", *local, *options, **environment)
        self.workers.append(worker)
        return worker

    def _start(self, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        command = [*DASK, *words, "--host", "127.0.0.1", "--scheduler-file", str(self.file)]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=ENVIRONMENT | environment, cwd=self.folder)

    def wait_for(self, workers: int) -> None:
        from distributed import Client

        with Client(self.address, timeout="60s", set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=120)

    @property
    def address(self) -> str:
        found = re.search(r"tcp://[\d.:]+", self.file.read_text())
        assert found
        return found[0]

    def pids(self) -> list[int]:
        """The processes that have joined and do the work. A nanny whose child dies before it has joined gives up."""
        from distributed import Client

        with Client(self.address, timeout="60s", set_as_default=False) as client:
            return list(client.run(os.getpid, on_error="ignore").values())

    def close(self) -> None:
        for process in [*self.workers, *([self.scheduler] if self.scheduler else [])]:
            for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []:
                child.kill()
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An empty cluster: a test starts what it needs."""
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler with two workers that several tests share."""
    made = Cluster(tmp_path_factory.mktemp("pair"))
    made.start_scheduler()
    for _ in range(2):
        made.start_worker("--resources", "GPU=1", "--no-nanny")  # nobody kills these
    made.wait_for(2)
    yield made
    made.close()


def study_text() -> str:
    """The tiny study with a generated set and a run that continues another."""
    made = "generate: {n: 4, max_tokens: 6, instruction_prefix: Be plain.}"
    text = STUDY.replace("train: {path: train.jsonl}", f"train: {{path: train.jsonl}}\n  control: {{{made}}}")
    inside = "inside: {examples: 3, dimension: 16, rank: 4}\ntraining:"
    more = "    - {prefix_types: [none], start: say_a-fixed-s0, tag: on}\nevaluation:"
    return text.replace("\ntraining:", f"\n{inside}").replace("evaluation:", more)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@dataclass(frozen=True)
class Lab:
    """The tiny study in a folder of its own."""

    folder: Path

    @property
    def study(self) -> Path:
        return self.folder / "study.yaml"

    @property
    def store(self) -> Path:
        return self.folder / "run.zarr"

    def inoc(self, command: str, *words: object) -> tuple[int, str, str]:
        return run_inoc(command, self.study, "--store", self.store, *words)

    def start(self, command: str, *words: str) -> subprocess.Popen[str]:
        """A process of its own, which Ctrl-C reaches."""
        listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        program = f"{listen}; from inoc.cli import main; main()"
        given = [sys.executable, "-c", program, command, str(self.study), "--store", str(self.store), *words]
        return subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def new_lab(folder: Path) -> Lab:
    write_study(folder, study_text())
    return Lab(folder)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return new_lab(tmp_path)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The study run by one process."""
    made = new_lab(tmp_path_factory.mktemp("whole"))
    code, _, err = made.inoc("run")
    assert code == 0, err
    return made


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
