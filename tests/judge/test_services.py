"""The client under judges and server backends: rate limit, retry waits, keys, addresses."""

import asyncio
import contextlib
import selectors
import socket
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from types import SimpleNamespace

import httpx2
import pytest
from openai import APIConnectionError, APITimeoutError, AsyncOpenAI

from inoc.errors import BackendUnavailable, BadInput
from inoc.services import Service, ServiceSettings
from inoc.services.retries import RequestFailed, retry_after


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer: waits cost nothing and are exact."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        select = self._selector.select

        def jump(timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
            ready = select(timeout if timeout is None else 0)
            self.now += 1e-6 if ready or not timeout else timeout
            return ready

        self._selector.select = jump

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualLoop:
    """Service and retries keep the time of this loop."""
    loop = VirtualLoop()
    monkeypatch.setattr(asyncio, "new_event_loop", lambda: loop)
    monkeypatch.setattr("tenacity.time", SimpleNamespace(monotonic=loop.time, sleep=time.sleep))
    return loop


def failing(cause: Exception, times: int = 10**9) -> tuple[list[int], Callable[[AsyncOpenAI], Awaitable[str]]]:
    """A request that fails like the SDK for `cause`, `times` times, and a list that grows with every attempt."""
    attempts: list[int] = []
    kind = APITimeoutError if isinstance(cause, httpx2.TimeoutException) else APIConnectionError

    async def send(client: AsyncOpenAI) -> str:
        attempts.append(len(attempts))
        if len(attempts) > times:
            return "answer"
        raise kind(request=httpx2.Request("POST", "http://127.0.0.1:9/v1")) from cause

    return attempts, send


def call(service: Service, send: Callable[[AsyncOpenAI], Awaitable[str]], quick: bool = False) -> str:
    return service.wait(service.call(send, str, service.quick if quick else None))


URL = "http://127.0.0.1:9/v1"


def test_rate_limit_holds_in_every_window_without_an_opening_burst(clock: VirtualLoop) -> None:
    rate = 400.0  # per second
    settings = ServiceSettings(url=URL, concurrency=1000, requests_per_minute=rate * 60)
    times: list[float] = []

    async def send(client: AsyncOpenAI) -> int:
        times.append(clock.time())
        return 1

    with Service(settings) as service:

        async def once(item: int) -> int:
            return await service.call(send, lambda reply: reply)

        assert sum(service.map(once, range(1000))) == 1000
    assert times[-1] - times[0] == pytest.approx(1000 / rate, rel=0.05)
    for width in (50, 200, 500):
        for first, last in zip(times, times[width:], strict=False):
            assert width <= rate * (last - first) + 0.1 * rate + 1, "at most rate x time + 0.1 s of burst"


def test_a_client_too_busy_to_connect_tries_on(clock: VirtualLoop) -> None:
    """More often than `attempts`, as long as `patience`: the server may be well."""
    attempts, send = failing(httpx2.ConnectTimeout("slow"), times=20)
    with Service(ServiceSettings(url=URL, attempts=3)) as service:
        assert call(service, send) == "answer"
    assert len(attempts) == 21


def test_nothing_answers_once_patience_is_over(clock: VirtualLoop) -> None:
    attempts, send = failing(httpx2.ConnectTimeout("slow"))
    with Service(ServiceSettings(url=URL, patience=60.0)) as service:
        with pytest.raises(BackendUnavailable, match=r"nothing answers at .* \(connecting timed out\)"):
            call(service, send)
        assert 60 <= clock.time() < 60 + 8
        tried, began = len(attempts), clock.time()
        with pytest.raises(BackendUnavailable, match="nothing answers"):
            call(service, send, quick=True)
        assert len(attempts) - tried == 1, "a probe asks once"
        assert clock.time() - began < 0.01


def test_a_refused_connection_is_told_within_three_seconds(clock: VirtualLoop) -> None:
    attempts, send = failing(httpx2.ConnectError("refused"))
    words = r"nothing answers at .* \(connection refused\)"
    with Service(ServiceSettings(url=URL)) as service, pytest.raises(BackendUnavailable, match=words):
        call(service, send)
    assert len(attempts) == 3
    assert 0 < clock.time() < 3


def test_a_slow_answer_uses_all_attempts_and_fails_alone(clock: VirtualLoop) -> None:
    attempts, send = failing(httpx2.ReadTimeout("slow"))
    settings = ServiceSettings(url=URL, attempts=4)
    with Service(settings) as service, pytest.raises(RequestFailed, match="4 times in a row"):
        call(service, send)
    assert len(attempts) == 4


def test_a_server_that_takes_no_connection_counts_as_one_that_is_slow_to_connect() -> None:
    """The SDK's own error for a full queue of connections, from a real socket that accepts none."""
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        for _ in range(4):  # fill the queue
            other = waiting.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(address)
        settings = ServiceSettings(url=f"http://127.0.0.1:{address[1]}/v1", timeout=0.6, attempts=1)
        with Service(settings) as service, pytest.raises(BackendUnavailable, match="connecting timed out"):
            service.wait(service.get("/models", lambda body: body))


def test_first_error_cancels_the_rest_and_arrives_here() -> None:
    started: list[int] = []

    async def call(item: int) -> int:
        started.append(item)
        await asyncio.sleep(0)
        if item == 3:
            raise BadInput("three")
        return item

    with Service(ServiceSettings(url=URL, concurrency=2)) as service:
        with pytest.raises(BadInput, match="three"):
            list(service.map(call, range(100)))
        assert len(started) < 100
        assert list(service.map(call, [])) == []
        assert sorted(service.map(call, [0, 1, 2])) == [0, 1, 2]


@pytest.mark.parametrize(
    ("milliseconds", "seconds", "wait"),
    [
        (None, None, None),
        ("250", "9", 0.25),
        (None, "2", 2.0),
        (None, "0.5", 0.5),
        (None, "soon", None),
        (None, "-3", None),
        (None, "1.2.3", None),
        (None, "Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_retry_after(milliseconds: str | None, seconds: str | None, wait: float | None) -> None:
    assert retry_after(milliseconds, seconds) == wait


def test_retry_after_as_a_date() -> None:
    wait = retry_after(None, formatdate(time.time() + 30, usegmt=True))
    assert wait is not None
    assert 27 < wait <= 30


def test_where_keys_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    local, far = "http://127.0.0.1:8000/v1", "https://judge.example/v1"
    assert ServiceSettings(url=local).key() == (None, "none")
    with pytest.raises(BackendUnavailable, match="OPENAI_API_KEY is not set"):
        ServiceSettings().key()
    monkeypatch.setenv("OPENAI_API_KEY", "  k-1 \n")
    assert ServiceSettings().key() == ("OPENAI_API_KEY", "k-1")
    assert ServiceSettings(url=far).key() == (None, "none"), "a key goes to another address only when named"
    with pytest.raises(BadInput, match=r"OPENAI_API_KEY is not sent to judge\.example"):
        ServiceSettings(url=far, key_env="OPENAI_API_KEY").key()
    monkeypatch.setenv("OPENAI_BASE_URL", far)
    assert ServiceSettings().address() == far
    assert ServiceSettings().key() == ("OPENAI_API_KEY", "k-1")
    monkeypatch.delenv("OPENAI_API_KEY")
    assert ServiceSettings().key() == (None, "none")
    monkeypatch.setenv("INOC_KEYS", "OTHER=judge.example")
    monkeypatch.setenv("OTHER", "k\u00e9y")
    with pytest.raises(BackendUnavailable, match="OTHER holds characters") as caught:
        ServiceSettings(url=far, key_env="OTHER").key()
    assert "k\u00e9y" not in str(caught.value)


def test_keys_are_in_no_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "very-secret-key")
    monkeypatch.setenv("INOC_KEYS", "MY_KEY=127.0.0.1")
    with Service(ServiceSettings(url="http://127.0.0.1:9/v1", key_env="MY_KEY")) as service:
        assert "very-secret" not in repr(service) + repr(service.settings) + str(service.where) + service.url
        assert service.clean("bad key very-secret-key\n at  all") == "bad key *** at all"
        assert len(service.clean("x" * 1000)) == 300
