"""One real server for all tests here, on loopback. Skipped where the client or PostgreSQL is not installed."""

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pytest

from inoc.backends.protocols import ModelSpec
from inoc.values import Scalar

sys.path.insert(0, str(Path(__file__).parent))

if TYPE_CHECKING:
    from stack import Stack

    from inoc.backends.local import LocalBackend
    from inoc.backends.openweights import OpenWeightsBackend

OPTIONS: dict[str, Scalar] = {"base_image": "dev", "requires_vram_gb": 0, "install": "", "poll": 0.5}
"""For a worker started by hand on a machine without a GPU."""


@pytest.fixture(scope="session")
def stack() -> Iterator["Stack"]:
    """PostgreSQL, PostgREST and the gateway, without a worker."""
    if find_spec("openweights") is None:
        pytest.skip("the openweights client is not installed here: make test-openweights")
    from stack import Stack, missing

    if lacking := missing():
        pytest.skip(lacking)
    stack = Stack()
    yield stack
    stack.close()


@pytest.fixture
def environment(stack: "Stack", monkeypatch: pytest.MonkeyPatch) -> "Stack":
    """The stack, with this process's environment pointing at it."""
    for name, value in stack.env.items():
        monkeypatch.setenv(name, value)
    return stack


@pytest.fixture(scope="session")
def session_environment(stack: "Stack") -> Iterator["Stack"]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.env.items():
            patch.setenv(name, value)
        yield stack


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    from inoc.testing import tiny_model

    return tiny_model(tmp_path_factory.mktemp("models") / "tiny", "qwen2", seed=1)


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A model whose next-token table is known, and the table."""
    from inoc.testing import table_model

    folder = tmp_path_factory.mktemp("models") / "table"
    return folder, table_model(folder, seed=7)


@pytest.fixture(scope="session")
def local(tiny: Path) -> "LocalBackend":
    from inoc.backends.local import LocalBackend

    return LocalBackend.from_spec(ModelSpec(str(tiny), options={"device": "cpu"}))


class Open(Protocol):
    def __call__(self, model: Path, **options: Scalar) -> "OpenWeightsBackend": ...


@pytest.fixture(scope="session")
def open_backend() -> Open:
    def make(model: Path, **options: Scalar) -> "OpenWeightsBackend":
        from inoc.backends.openweights import OpenWeightsBackend

        return OpenWeightsBackend.from_spec(ModelSpec(str(model), options=OPTIONS | options))

    return make


@pytest.fixture
def worker(environment: "Stack") -> "Stack":
    """The stack with a worker that waits for jobs; left running for the next test."""
    if not environment.has_worker():
        environment.start_worker()
    return environment
