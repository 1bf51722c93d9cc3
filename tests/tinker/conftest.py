"""A tiny random model, a known table, and one contract server for both in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest

pytest.importorskip("tinker")

from inoc.backends.protocols import ModelSpec, Scalar
from inoc.backends.tinker import TinkerBackend
from inoc.testing import table_model, tiny_model

KEY = "tml-a-key-nobody-may-see"


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


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINKER_API_KEY", KEY)
    monkeypatch.delenv("TINKER_BASE_URL", raising=False)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tinker-models")
    table = table_model(folder / "table", seed=7)
    np.save(folder / "table.npy", table)
    return {"tiny": tiny_model(folder / "tiny", "qwen2", seed=1), "table": folder / "table"}


@pytest.fixture(scope="session")
def table(models: dict[str, Path]) -> np.ndarray:
    return np.load(models["table"].with_name("table.npy"))


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tinker-root")


@pytest.fixture(scope="session")
def server(models: dict[str, Path], root: Path) -> Iterator[TinkerServer]:
    server = TinkerServer(root, models)
    yield server
    server.kill()


@pytest.fixture
def doomed(models: dict[str, Path], root: Path) -> Iterator[TinkerServer]:
    """A server to be killed; the other one knows what was saved here."""
    server = TinkerServer(root, {"tiny": models["tiny"]})
    yield server
    server.kill()


Connect = Callable[..., TinkerBackend]


@pytest.fixture(scope="session")
def open_backend(models: dict[str, Path]) -> Connect:
    def connect(url: str, name: str = "tiny", **options: Scalar) -> TinkerBackend:
        settings: dict[str, Scalar] = {"url": url, "served_name": name, "timeout": 60.0, "patience": 2.0}
        return TinkerBackend.from_spec(ModelSpec(str(models[name]), options=settings | options))

    return connect


@pytest.fixture
def connect(open_backend: Connect) -> Iterator[Connect]:
    """Backends that are closed after the test."""
    opened: list[TinkerBackend] = []

    def connect(url: str, name: str = "tiny", **options: Scalar) -> TinkerBackend:
        opened.append(open_backend(url, name, **options))
        return opened[-1]

    yield connect
    for backend in opened:
        backend.close()


@pytest.fixture(scope="module")
def backend(server: TinkerServer, open_backend: Connect) -> Iterator[TinkerBackend]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINKER_API_KEY", KEY)
        backend = open_backend(server.url)
        yield backend
        backend.close()
