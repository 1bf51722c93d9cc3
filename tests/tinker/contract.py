"""The contract server as a process, and the training every test here runs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

sys.path.insert(0, str(Path(__file__).parents[1]))

from small_training import small_job

from inoc.backends.protocols import AdapterSettings, Checkpoint, TrainingJob, TrainingStep
from inoc.backends.tinker import TinkerBackend

KEY = "tml-a-key-nobody-may-see"
HERE = "TINKER_API_KEY=127.0.0.1,TINKER_API_KEY=localhost"
"""The user allows the key for servers on this machine."""


class TinkerServer:
    """tests/servers/tinker_local.py as a process; two with one root share what is saved."""

    def __init__(self, root: Path, models: dict[str, Path]) -> None:
        script = Path(__file__).parents[1] / "servers" / "tinker_local.py"
        named = [part for name, place in models.items() for part in ("--model", f"{name}={place}")]
        self.process = subprocess.Popen(
            [sys.executable, str(script), "--root", str(root), "--key", KEY, *named],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            text=True,
        )
        self.root, self._url = root, ""

    @property
    def url(self) -> str:
        if not self._url:
            assert self.process.stdout is not None
            self._url = self.process.stdout.readline().strip()
            assert self._url, "the contract server did not start"
        return self._url

    def fault(self, kind: str, count: int = 1) -> None:
        body = json.dumps({"kind": kind, "count": count}).encode()
        urlopen(Request(f"{self.url}/faults", body, method="POST"), timeout=10).read()

    def calls(self, path: str) -> int:
        return json.loads(urlopen(f"{self.url}/calls", timeout=10).read()).get(path, 0)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


SERVICE = AdapterSettings("lora", 4, 32.0, rslora=False, dropout=0.0)
UPDATES = 6


def make_job(directory: Path, **changes: object) -> TrainingJob:
    """The small job with the service's adapter."""
    return small_job(directory, UPDATES, **{"adapter": SERVICE, **changes})


def steps_of(events: list[TrainingStep | Checkpoint]) -> list[TrainingStep]:
    return [event for event in events if isinstance(event, TrainingStep)]


class Trained:
    """One uninterrupted training, shared by the tests below."""

    def __init__(self, backend: TinkerBackend, directory: Path) -> None:
        self.job = make_job(directory)
        self.events = list(backend.train(self.job))
        self.checkpoints = {event.step: event for event in self.events if isinstance(event, Checkpoint)}
        self.losses = [step.loss for step in steps_of(self.events)]
