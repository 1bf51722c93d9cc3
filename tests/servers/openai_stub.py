"""A real HTTP server on loopback that plays an OpenAI-compatible service from a script, faults included.

    with StubServer(handler) as stub: ...  # stub.url, stub.requests, stub.answered

`handler(call)` gives the `Reply` of every request (or awaits one). Replies can be delayed, cut off in the
middle, or never come. Standard library only.

Real here: HTTP over a socket, and the `openai` SDK that talks to it. Assumed of the hosted API, from its documentation,
and never checked against it: the shape of replies and errors (`error.message`, `error.code`), `top_logprobs` under
`choices[].logprobs.content`, and that 408, 409, 429 and 5xx may be retried while other 4xx may not.
"""

import asyncio
import inspect
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Call:
    """One request as it arrived. `number` counts from 0, `time` is monotonic seconds."""

    number: int
    method: str
    path: str
    headers: Mapping[str, str]
    content: bytes
    time: float = field(default_factory=time.monotonic)

    @property
    def json(self) -> dict:
        return json.loads(self.content)

    @property
    def text(self) -> str:
        """The last chat message, where there is one."""
        return self.json["messages"][-1]["content"]


@dataclass
class Reply:
    """What to send. `cut` closes the connection after that many bytes of the body; `silent` never answers."""

    body: bytes = b"{}"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int | None = None
    silent: bool = False


Handler = Callable[[Call], "Reply | Awaitable[Reply]"]


def json_reply(body: object, status: int = 200, **kwargs: object) -> Reply:
    return Reply(json.dumps(body).encode(), status, **kwargs)


def error_reply(status: int, message: str = "no", code: str | None = None, **kwargs: object) -> Reply:
    return json_reply({"error": {"message": message, "type": "error", "code": code, "param": None}}, status, **kwargs)


def chat_reply(
    first: Sequence[tuple[str, float]], then: Sequence[str] = (), logprobs: bool = True, **kwargs: object
) -> Reply:
    """A chat completion whose first token had the alternatives `first` (text, probability)."""
    alternatives = [{"token": t, "logprob": math.log(p) if p > 0 else -9999.0, "bytes": None} for t, p in first]
    tokens = [{**alternatives[0], "top_logprobs": alternatives}] if alternatives else []
    tokens += [{"token": t, "logprob": -0.1, "bytes": None, "top_logprobs": []} for t in then]
    text = "".join(token["token"] for token in tokens)
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
        "logprobs": {"content": tokens} if logprobs else None,
    }
    return json_reply(
        {"id": "c", "object": "chat.completion", "created": 0, "model": "stub", "choices": [choice]}, **kwargs
    )


class StubServer:
    """Serves `handler` from its own thread. `answered` counts request bodies whose reply was sent whole."""

    def __init__(self, handler: Handler, port: int = 0) -> None:
        self.handler = handler
        self.requests: list[Call] = []
        self.answered: Counter[bytes] = Counter()
        self.in_flight = 0
        self.most_in_flight = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._wait(self._listen(port))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"

    async def _listen(self, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", port, backlog=4096)

    def _wait(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def kill(self) -> None:
        """Stops listening and resets every connection, as a killed process would."""

        async def stop() -> None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            me = asyncio.current_task()
            tasks = [task for task in asyncio.all_tasks() if task is not me]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._wait(stop())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while call := await self._read(reader):
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                try:
                    if not await self._answer(call, writer):
                        break
                finally:
                    self.in_flight -= 1
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Call | None:
        line = await reader.readline()
        if not line:
            return None
        method, path, _ = line.decode().split()
        headers = {}
        while (line := (await reader.readline()).decode().strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        content = await reader.readexactly(int(headers.get("content-length", 0)))
        call = Call(len(self.requests), method, path, headers, content)
        self.requests.append(call)
        return call

    async def _answer(self, call: Call, writer: asyncio.StreamWriter) -> bool:
        reply = self.handler(call)
        if inspect.isawaitable(reply):
            reply = await reply
        if reply.silent:
            await asyncio.sleep(3600)
        if reply.delay:
            await asyncio.sleep(reply.delay)
        headers = {"content-type": "application/json", "content-length": str(len(reply.body)), **reply.headers}
        head = f"HTTP/1.1 {reply.status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
        body = reply.body if reply.cut is None else reply.body[: reply.cut]
        writer.write(head.encode() + body)
        await writer.drain()
        if reply.cut is not None:
            writer.transport.abort() if reply.cut == 0 else writer.close()
            return False
        if reply.status == 200:
            self.answered[call.content] += 1
        return True
