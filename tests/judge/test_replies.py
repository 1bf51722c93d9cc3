"""Hostile and hung services: endless replies, redirects, compressed bombs, silence. Bytes and seconds are bounded."""

import gzip
import socket
import tracemalloc
from collections.abc import Iterator

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
        stub._serve = endless  # type: ignore[method-assign]
        server = stub._wait(__import__("asyncio").start_server(endless, "127.0.0.1", 0))
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
    """Six attempts of 10 s each, with half a second in all."""
    with StubServer(lambda call: Reply(silent=True)) as stub:
        with Service(settings(stub, timeout=0.2, deadline=0.5, attempts=60)) as service:
            with pytest.raises(RequestFailed, match=r"3 times in a row"):
                ask(service)
        assert len(stub.requests) == 3


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


@pytest.fixture
def full() -> Iterator[str]:
    """An address whose queue of connections is full: connecting to it times out, it is not refused."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = []
    for _ in range(8):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
        waiting.append(client)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    for client in (*waiting, listener):
        client.close()


def test_a_connection_that_takes_too_long_is_retried_like_any_fault(full: str) -> None:
    """Nothing answered in all attempts: then, and only then, nothing answers."""
    with Service(ServiceSettings(url=full, timeout=0.1, attempts=4, backoff=0.001)) as service:
        with pytest.raises(BackendUnavailable, match=r"nothing answers at .*no connection within 0.1 s"):
            ask(service)


def test_a_busy_client_does_not_end_a_run(full: str) -> None:
    """One request cannot connect while others are answered: it failed, the service did not."""
    with Service(ServiceSettings(url=full, timeout=0.1, attempts=3, backoff=0.001)) as service:
        service._answered_at = float("inf")  # another request is answered all the while
        with pytest.raises(RequestFailed, match=r"no connection within 0.1 s, 3 times in a row"):
            ask(service)
