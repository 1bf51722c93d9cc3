"""Makes `servers.openai_stub` importable and keeps the user's own keys, urls and caches out of the tests."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from servers.openai_stub import Handler, StubServer

from inoc.judge.cache import JudgmentCache
from inoc.services import Service, client


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def _nothing_left_open(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Closes what lives as long as a process: shared services, and the caches of judges."""
    opened: list[Service | JudgmentCache] = []
    for kind in (Service, JudgmentCache):

        def made(self, *arguments, start=kind.__init__) -> None:
            start(self, *arguments)
            opened.append(self)

        monkeypatch.setattr(kind, "__init__", made)
    yield
    client._shared.cache_clear()
    for one in opened:
        one.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], StubServer]]:
    """Starts stub servers that end with the test."""
    servers: list[StubServer] = []

    def start(handler: Handler) -> StubServer:
        servers.append(StubServer(handler))
        return servers[-1]

    yield start
    for server in servers:
        server.__exit__()
