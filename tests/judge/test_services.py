"""The client under judges and server backends: rate limit, retry waits, keys, addresses."""

import asyncio
import time
from email.utils import formatdate

import pytest
from openai import AsyncOpenAI

from inoc.errors import BackendUnavailable, BadInput
from inoc.services import Service, ServiceSettings
from inoc.services.retries import retry_after


def test_rate_limit_holds_in_every_window_without_an_opening_burst() -> None:
    rate = 400.0  # per second
    settings = ServiceSettings(url="http://127.0.0.1:9/v1", concurrency=1000, requests_per_minute=rate * 60)
    times: list[float] = []

    async def send(client: AsyncOpenAI) -> int:
        times.append(time.monotonic())
        return 1

    with Service(settings) as service:

        async def call(item: int) -> int:
            return await service.call(send, lambda reply: reply)

        assert sum(service.map(call, range(1000))) == 1000
    assert times[-1] - times[0] == pytest.approx(1000 / rate, rel=0.3)
    for width in (50, 200, 500):
        for first, last in zip(times, times[width:], strict=False):
            assert width <= rate * (last - first) + 0.1 * rate + 1, "at most rate x time + 0.1 s of burst"


def test_first_error_cancels_the_rest_and_arrives_here() -> None:
    started: list[int] = []

    async def call(item: int) -> int:
        started.append(item)
        await asyncio.sleep(0)
        if item == 3:
            raise BadInput("three")
        return item

    with Service(ServiceSettings(url="http://127.0.0.1:9/v1", concurrency=2)) as service:
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
    assert ServiceSettings(url=far, key_env="OPENAI_API_KEY").key() == ("OPENAI_API_KEY", "k-1")
    monkeypatch.setenv("OPENAI_BASE_URL", far)
    assert ServiceSettings().address() == far
    assert ServiceSettings().key() == ("OPENAI_API_KEY", "k-1")
    monkeypatch.delenv("OPENAI_API_KEY")
    assert ServiceSettings().key() == (None, "none")
    monkeypatch.setenv("OTHER", "k\u00e9y")
    with pytest.raises(BackendUnavailable, match="OTHER holds characters") as caught:
        ServiceSettings(url=far, key_env="OTHER").key()
    assert "k\u00e9y" not in str(caught.value)


def test_keys_are_in_no_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "very-secret-key")
    with Service(ServiceSettings(url="http://127.0.0.1:9/v1", key_env="MY_KEY")) as service:
        assert "very-secret" not in repr(service) + repr(service.settings) + str(service.where) + service.url
        assert service.clean("bad key very-secret-key\n at  all") == "bad key *** at all"
        assert len(service.clean("x" * 1000)) == 300
