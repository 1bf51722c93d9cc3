"""A tiny random model, a known table, and one contract server for both in a process of its own."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tinker")
sys.path.insert(0, str(Path(__file__).parent))

from contract import HERE, KEY, TinkerServer, Trained

from inoc.backends.protocols import ModelSpec
from inoc.backends.tinker import TinkerBackend
from inoc.testing import table_model, tiny_model
from inoc.values import Scalar


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINKER_API_KEY", KEY)
    monkeypatch.setenv("INOC_KEYS", HERE)
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
def servers(models: dict[str, Path], root: Path) -> Iterator[tuple[TinkerServer, TinkerServer]]:
    """Two that share what is saved, started together."""
    both = TinkerServer(root, models), TinkerServer(root, {"tiny": models["tiny"]})
    yield both
    for server in both:
        server.kill()


@pytest.fixture(scope="session")
def server(servers: tuple[TinkerServer, TinkerServer]) -> TinkerServer:
    return servers[0]


@pytest.fixture(scope="session")
def doomed(servers: tuple[TinkerServer, TinkerServer]) -> TinkerServer:
    """To be killed by the one test that uses it."""
    return servers[1]


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
        patch.setenv("INOC_KEYS", HERE)
        backend = open_backend(server.url)
        yield backend
        backend.close()


@pytest.fixture(scope="session")
def trained(server: TinkerServer, open_backend: Connect, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """One uninterrupted training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINKER_API_KEY", KEY)
        patch.setenv("INOC_KEYS", HERE)
        backend = open_backend(server.url)
        trained = Trained(backend, tmp_path_factory.mktemp("training"))
        backend.close()
        return trained
