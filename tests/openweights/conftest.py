"""One real server for all tests here, on loopback. Skipped where the client or PostgreSQL is not installed."""

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

if TYPE_CHECKING:
    from stack import Stack


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
