"""A tiny random model, and real completions servers for it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inoc.backends.openai_server import OpenAIServerBackend
from inoc.backends.protocols import ModelSpec
from inoc.testing import tiny_model
from inoc.values import Scalar

sys.path.insert(0, str(Path(__file__).parents[1]))


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("server") / "qwen2", "qwen2", seed=7)


Connect = Callable[..., OpenAIServerBackend]


@pytest.fixture
def connect(tiny: Path) -> Iterator[Connect]:
    """Backends on a server's url, closed after the test."""
    opened: list[OpenAIServerBackend] = []

    def open_backend(url: str, **options: Scalar) -> OpenAIServerBackend:
        options = {"url": url, "served_name": "tiny", "timeout": 20.0, "backoff": 0.01} | options
        opened.append(OpenAIServerBackend.from_spec(ModelSpec(str(tiny), options=options)))
        return opened[-1]

    yield open_backend
    for backend in opened:
        backend.close()
