"""One client of one OpenAI-compatible HTTP service: concurrency, rate limit, retries, bounds, clear errors."""

import asyncio
import itertools
import queue
import re
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeVar, cast
from urllib.parse import urlsplit

from inoc.errors import BackendRejected, BackendUnavailable, BadResult, InocError
from inoc.services.replies import capped
from inoc.services.retries import Budget, RequestFailed, RequestRefused, Transient, retry_after
from inoc.services.settings import ServiceSettings

if TYPE_CHECKING:
    from httpx2 import Response
    from openai import APIError, AsyncOpenAI

Item = TypeVar("Item")
Result = TypeVar("Result")
POOL_SIZE: Final = 64
"""Most connections per connection pool."""
UNANSWERED: Final = 10
"""Requests in a row without an answer after which the service is given up; `concurrency` where that is more."""


class Service:
    """A client of one service: an event loop in a background thread with `openai.AsyncOpenAI` clients on it.

    Retries happen here, not in the SDK, because every attempt must pass the rate limit. The key is kept in the
    client only and removed from every message. Redirects are not followed: they would carry prompts and key to another
    address. Close it (or use `with`) to end its thread and connections.

    Args:
        settings: Address, key and limits.

    Raises:
        BadInput: The address is invalid, or the key is not bound to its host.
        BackendUnavailable: A library or the key is missing.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        try:
            import aiolimiter
            import httpx2
            import openai
        except ImportError as error:
            raise BackendUnavailable(
                f"OpenAI-compatible services need {error.name}. Fix: pip install -e '.[openai]' in inoc's clone."
            ) from None
        self.settings = settings
        self.url = settings.address()
        parts = urlsplit(self.url)
        self.where = parts.hostname or "" if parts.port is None else f"{parts.hostname}:{parts.port}"
        self._key_name, self._key = settings.key()
        self._openai = openai
        self._refused, self._unreached = httpx2.ConnectError, httpx2.ConnectTimeout
        # A connection pool's cost per request grows with its size (measured: 12 ms with 1000 connections,
        # 4.5 with pools of 64), therefore the connections are spread over several pools.
        pools = -(-settings.concurrency // POOL_SIZE)
        self._clients = tuple(
            openai.AsyncOpenAI(
                base_url=self.url,
                api_key=self._key,
                max_retries=0,
                timeout=httpx2.Timeout(settings.timeout, connect=min(10.0, settings.timeout / 2)),
                http_client=openai.DefaultAsyncHttpxClient(
                    follow_redirects=False,
                    headers={"accept-encoding": "identity"},
                    event_hooks={"response": [self._bound]},
                    limits=httpx2.Limits(max_connections=None, max_keepalive_connections=POOL_SIZE),
                    verify=parts.scheme == "https",
                    # a server on this machine is not reached through the environment's proxy
                    trust_env=parts.hostname not in ("localhost", "127.0.0.1", "::1"),
                ),
            )
            for _ in range(pools)
        )
        self._next_client = itertools.cycle(self._clients)
        self._limiter: aiolimiter.AsyncLimiter | None = None
        if settings.requests_per_minute is not None:
            rate = settings.requests_per_minute / 60.0
            burst = max(1.0, 0.1 * rate)
            self._limiter = aiolimiter.AsyncLimiter(burst, burst / rate)
        self._quiet_until = 0.0
        self._unanswered = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="inoc-service", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Service":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connections and the thread; a second call does nothing."""
        if self._loop.is_closed():
            return
        for client in self._clients:
            self.wait(client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def quick(self) -> ServiceSettings:
        """Settings for a probe: one attempt, at most 3 s."""
        return replace(self.settings, attempts=1, timeout=min(3.0, self.settings.timeout))

    def wait(self, work: Coroutine[object, object, Result]) -> Result:
        """Run one coroutine on the service's loop and return its result."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()

    def map(self, call: Callable[[Item], Awaitable[Result]], items: Sequence[Item]) -> Iterator[Result]:
        """Results of `call` on every item as they arrive, at most `concurrency` in flight.

        The first exception of `call` is raised here. It cancels what is in flight; so does closing the iterator.
        """
        results: queue.SimpleQueue[tuple[Result] | None] = queue.SimpleQueue()

        async def worker(todo: Iterator[Item]) -> None:
            for item in todo:
                results.put((await call(item),))

        async def work() -> None:
            todo = iter(items)
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.settings.concurrency, len(items))):
                    group.create_task(worker(todo))

        future = asyncio.run_coroutine_threadsafe(work(), self._loop)
        future.add_done_callback(lambda _: results.put(None))
        try:
            while (result := results.get()) is not None:
                yield result[0]
            try:
                future.result()
            except BaseExceptionGroup as group:
                raise _first(group) from None
        finally:
            future.cancel()

    async def post(
        self,
        path: str,
        body: Mapping[str, object],
        parse: Callable[[bytes], Result],
        settings: ServiceSettings | None = None,
    ) -> Result:
        """POST `body` as JSON and parse the reply as in `call`."""
        import httpx2

        return await self.call(
            lambda client: client.post(path, cast_to=httpx2.Response, body=dict(body)),
            lambda reply: parse(reply.content),
            settings,
        )

    async def get(self, path: str, parse: Callable[[bytes], Result], settings: ServiceSettings | None = None) -> Result:
        """GET `path` and parse the reply as in `call`."""
        import httpx2

        return await self.call(
            lambda client: client.get(path, cast_to=httpx2.Response), lambda reply: parse(reply.content), settings
        )

    async def call(
        self,
        send: Callable[["AsyncOpenAI"], Awaitable[Item]],
        parse: Callable[[Item], Result],
        settings: ServiceSettings | None = None,
    ) -> Result:
        """One request with rate limit, time limit and retries; `settings` replaces the service's limits.

        A ValueError of `parse` means a malformed reply, which is requested once more.

        Raises:
            RequestFailed, RequestRefused: This request failed; others may succeed.
            BackendUnavailable, BackendRejected: Every other request would fail too, or none of the last ones had an
                answer.
            BadResult: The reply was malformed twice.
        """
        from tenacity import AsyncRetrying, retry_if_exception_type

        settings = settings or self.settings
        budget, retry = Budget(settings), retry_if_exception_type(Transient)
        retrying = AsyncRetrying(retry=retry, stop=budget.stop, wait=budget.wait, reraise=True)
        try:
            return await retrying(self._attempt, send, parse, settings, budget)
        except Transient as error:
            final = error
        if final.kind == "malformed":
            raise BadResult(f"{self.where} sent an unusable reply: {final.message}")
        if final.kind in ("dead", "unreached"):
            raise BackendUnavailable(
                f"nothing answers at {self.url} ({final.message}). Fix: start the server or correct the url."
            )
        if final.kind == "busy":
            raise BackendUnavailable(
                f"{self.where} still limits the rate of requests (429) after {settings.patience:g} s. "
                "Fix: lower requests_per_minute or concurrency, or run the same command later."
            )
        self._unanswered += 1
        if self._unanswered >= max(self.settings.concurrency, UNANSWERED):
            raise BackendUnavailable(
                f"{self.where} answered none of the last {self._unanswered} requests ({final.message}). "
                "Fix: check the service and run the same command later; what has arrived is kept."
            )
        times = "once" if budget.tries == 1 else f"{budget.tries} times in a row"
        raise RequestFailed(f"{self.where}: {final.message}, {times}")

    async def _attempt(
        self,
        send: Callable[["AsyncOpenAI"], Awaitable[Item]],
        parse: Callable[[Item], Result],
        settings: ServiceSettings,
        budget: Budget,
    ) -> Result:
        while (quiet := self._quiet_until - self._loop.time()) > 0:
            await asyncio.sleep(quiet)
        if self._limiter is not None:
            await self._limiter.acquire()
        began, seconds = self._loop.time(), min(settings.timeout, budget.seconds)
        try:
            async with asyncio.timeout(seconds):
                reply = await send(next(self._next_client))
        except TimeoutError:
            raise Transient("fault", f"no answer within {seconds:.3g} s") from None
        except self._openai.APIError as error:
            failure = self._classify(error)
            if not isinstance(failure, Transient):
                self._unanswered = 0
            raise failure from None
        finally:
            budget.spent = self._loop.time() - began
        self._unanswered = 0
        try:
            return parse(reply)
        except ValueError as error:
            raise Transient("malformed", self.clean(str(error))) from None

    def _classify(self, error: "APIError") -> InocError | Transient:
        """What an SDK error means: retry, give up this request, or give up all."""
        openai = self._openai
        if isinstance(error.__cause__, self._unreached):
            return Transient("unreached", "connecting timed out")
        if isinstance(error, openai.APITimeoutError):
            return Transient("fault", f"no answer within {self.settings.timeout:g} s")
        if isinstance(error, openai.APIConnectionError):
            if isinstance(error.__cause__, self._refused):
                return Transient("dead", "connection refused")
            return Transient("fault", "the connection was dropped")
        if not isinstance(error, openai.APIStatusError):
            return Transient("malformed", self.clean(error.message))
        status, said = error.status_code, self.clean(error.message)
        wait = retry_after(error.response.headers.get("retry-after-ms"), error.response.headers.get("retry-after"))
        if status == 401:
            if self._key_name is None:
                return BackendUnavailable(f"{self.where} requires a key (401). Fix: set key_env.")
            return BackendUnavailable(
                f"{self.where} rejected the key in {self._key_name} (401): it is wrong, expired or for another "
                "service. Fix: set a valid key."
            )
        if status in (402, 403) or error.code == "insufficient_quota":
            return BackendUnavailable(f"{self.where} does not allow this account to do that ({status}): {said}")
        if status == 429:
            if wait is not None:
                self._quiet_until = max(self._quiet_until, self._loop.time() + min(wait, self.settings.patience))
            return Transient("busy", "rate limited (429)", wait)
        if status in (408, 409) or (status >= 500 and status != 501):
            return Transient("fault", f"server error {status}", None if wait is None else min(wait, 60.0))
        if status in (400, 413, 422) and error.code not in ("unsupported_parameter", "unsupported_value"):
            return RequestRefused(f"{self.where} rejected the request ({status}): {said}")
        return BackendRejected(f"{self.where} rejected the request ({status}): {said}")

    async def _bound(self, response: "Response") -> None:
        """Refuse a redirect, and cap the bytes of a reply before it is read."""
        if response.has_redirect_location:
            to = urlsplit(response.headers["location"])
            raise BackendRejected(
                f"{self.where} redirects to {self.clean(to.netloc) or 'another path'} ({response.status_code}), which "
                "would get the prompts and the key. Fix: set the url to the service's own address."
            )
        if response.headers.get("content-encoding", "identity") != "identity":
            raise Transient("malformed", "it is compressed although that was not asked for")
        response.stream = capped(response.stream, self.settings.reply_mb)

    def clean(self, text: str) -> str:
        """`text` in one short line, without anything that looks like a key."""
        if len(self._key) >= 6:
            text = text.replace(self._key, "***")
        text = " ".join(re.sub(r"\bsk-[\w*-]+", "***", text).split())
        return text if len(text) <= 300 else text[:297] + "..."


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    while True:
        error = group.exceptions[0]
        if not isinstance(error, BaseExceptionGroup):
            return error
        group = cast("BaseExceptionGroup[BaseException]", error)


def shared_service(settings: ServiceSettings) -> Service:
    """One Service per settings and process: all judges of a study share one rate limit. It is never closed.

    Args:
        settings: Address, key and limits.

    Returns:
        The client; errors are those of `Service`.
    """
    own = {field.name: getattr(settings, field.name) for field in fields(ServiceSettings)}  # not of a subclass
    return _shared(ServiceSettings(**own), settings.address())


@cache
def _shared(settings: ServiceSettings, address: str) -> Service:
    return Service(settings)
