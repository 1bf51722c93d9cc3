"""Hostile and hung services: endless replies, redirects, compressed bombs, silence. Bytes and seconds are bounded."""

import asyncio
import gzip
import tracemalloc

import pytest
from servers.openai_stub import Call, Reply, StubServer, json_reply

from inoc.errors import BackendRejected, BackendUnavailable, BadResult
from inoc.services import RequestFailed, Service, ServiceSettings


def settings(stub: StubServer, **options: object) -> ServiceSettings:
    return ServiceSettings(url=stub.url, **{"backoff": 0.001, **options})  # type: ignore[arg-type]


def ask(service: Service, text: str = "a prompt") -> bytes:
    return service.wait(service.post("/completions", {"prompt": text}, lambda content: content))


@pytest.mark.parametrize("length", ["whole", "unknown"])
def test_an_endless_reply_is_cut_off(length: str) -> None:
    """Half a gigabyte, with and without its length: never more than a few megabytes are in memory."""
    chunk, sent = b"x" * 65536, [0]

    async def endless(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        writer.write(
            head + (b"content-length: 536870912\r\n\r\n" if length == "whole" else b"connection: close\r\n\r\n")
        )
        try:
            for _ in range(8192):
                writer.write(chunk)
                sent[0] += len(chunk)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    with StubServer(lambda call: Reply()) as stub:
        server = stub._wait(asyncio.start_server(endless, "127.0.0.1", 0))
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        with Service(ServiceSettings(url=url, reply_mb=2, backoff=0.001)) as service:
            tracemalloc.start()
            with pytest.raises(BadResult, match=r"more than 2 MB \(the option reply_mb\)"):
                ask(service)
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        stub._loop.call_soon_threadsafe(server.close)
    assert most < 40e6
    assert sent[0] < 200e6


def test_a_compressed_reply_is_refused_before_it_grows() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 100_000
    with StubServer(lambda call: Reply(bomb, headers={"content-encoding": "gzip"})) as stub:
        with Service(settings(stub)) as service, pytest.raises(BadResult, match="compressed"):
            ask(service)
        assert stub.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("relative", [False, True])
def test_a_redirect_never_carries_prompts_or_keys(status: int, relative: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "very-secret-key")
    monkeypatch.setenv("INOC_KEYS", "MY_KEY=127.0.0.1")
    with StubServer(lambda call: json_reply({})) as thief:

        def send_on(call: Call) -> Reply:
            return Reply(status=status, headers={"location": "/elsewhere" if relative else f"{thief.url}/completions"})

        with StubServer(send_on) as stub, Service(settings(stub, key_env="MY_KEY")) as service:
            with pytest.raises(BackendRejected, match=rf"redirects to .*\({status}\).*Fix: set the url"):
                ask(service)
            assert len(stub.requests) == 1
        assert thief.requests == []


def test_a_hung_service_costs_one_deadline_not_all_attempts() -> None:
    """Sixty attempts of 0.2 s each, with half a second in all."""
    with StubServer(lambda call: Reply(silent=True)) as stub:
        service = Service(settings(stub, timeout=0.2, deadline=0.5, attempts=60))
        with service, pytest.raises(RequestFailed, match=r"no answer within .* s, [1-3] times? in a row|once"):
            ask(service)
        assert 1 <= len(stub.requests) <= 3


def test_a_stage_ends_when_a_service_answers_nobody() -> None:
    """As many requests in a row as are in flight, then every further one is spared."""
    with StubServer(lambda call: Reply(status=503)) as stub:
        with Service(settings(stub, attempts=1, concurrency=4)) as service:
            done: list[int] = []

            async def call(item: int) -> None:
                try:
                    await service.post("/completions", {}, lambda content: content)
                except RequestFailed:
                    done.append(item)

            with pytest.raises(BackendUnavailable, match="answered none of the last 10 requests"):
                list(service.map(call, range(1000)))
        assert len(stub.requests) < 20
        assert len(done) == 9


def test_an_answer_in_between_keeps_the_stage_alive() -> None:
    with StubServer(lambda call: Reply(status=200 if call.number % 5 == 4 else 503)) as stub:
        with Service(settings(stub, attempts=1, concurrency=1)) as service:
            failed = 0
            for _ in range(60):
                try:
                    ask(service)
                except RequestFailed:
                    failed += 1
        assert failed == 48
