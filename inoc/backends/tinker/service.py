"""The connection to a Tinker service: probed before the SDK is used, watched while it is waited for.

The SDK tries an unreachable or overloaded service again for minutes, or without end. So every wait here is
cut short: by a health probe that fails for `patience` seconds, or by `timeout` seconds without an answer.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import cached_property
from http.client import HTTPException
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from inoc.backends.tinker.options import Options
from inoc.errors import BackendRejected, BackendUnavailable, BadInput, BadResult, InocError

if TYPE_CHECKING:
    import tinker

T = TypeVar("T")
Item = TypeVar("Item")
PROBE_SECONDS: Final = 3.0
TICK_SECONDS: Final = 10.0
"""Seconds between two probes while nothing arrives."""


class Service:
    """One session with the service, opened when it is first needed."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._client: tinker.ServiceClient | None = None

    @cached_property
    def url(self) -> str:
        """BadInput where it is no http address or carries credentials."""
        url = self.options.url or os.environ.get("TINKER_BASE_URL")
        if not url:
            from tinker.lib.base_url import DEFAULT_BASE_URL  # pyright: ignore[reportMissingTypeStubs]

            url = DEFAULT_BASE_URL
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise BadInput(
                "the url of the Tinker service (option url or TINKER_BASE_URL) must be a plain http(s) address."
            )
        return url.rstrip("/")

    @property
    def key(self) -> str:
        """BackendUnavailable where there is none."""
        key = os.environ.get("TINKER_API_KEY", "").strip()
        if not key:
            raise BackendUnavailable(
                "the backend tinker needs a key: set the environment variable TINKER_API_KEY."
            )
        if not key.startswith(("tml-", "eyJ")):
            raise BackendUnavailable(
                "TINKER_API_KEY holds no Tinker key (they begin with 'tml-'): set it anew."
            )
        return key

    def probe(self) -> None:
        """GET /api/v1/healthz, at most three seconds; BackendUnavailable where nothing healthy answers."""
        try:
            with urlopen(Request(f"{self.url}/api/v1/healthz"), timeout=PROBE_SECONDS) as reply:
                reply.read(1000)
        except HTTPError as error:
            if error.code >= 500:
                raise BackendUnavailable(
                    f"the Tinker service at {self.url} answers {error.code}: try later."
                ) from None
            if error.code not in (401, 403, 429):
                raise BackendUnavailable(
                    f"what answers at {self.url} is no Tinker service (no /api/v1/healthz, {error.code}): "
                    "mend the url (option url or TINKER_BASE_URL)."
                ) from None
        except (OSError, HTTPException):
            raise BackendUnavailable(
                f"no Tinker service answers at {self.url} within {PROBE_SECONDS:.0f} s: check the url (option url or "
                "TINKER_BASE_URL) and the network."
            ) from None

    @property
    def client(self) -> "tinker.ServiceClient":
        """The SDK's client. Its session opens in the background of the first call."""
        if self._client is None:
            key = self._prepare()
            import tinker

            self._client = tinker.ServiceClient(base_url=self.url, api_key=key)
        return self._client

    def models(self) -> "list[tinker.types.SupportedModel]":
        """What the service offers."""
        key = self._prepare()
        import tinker

        def ask() -> "list[tinker.types.SupportedModel]":
            rest = tinker.RestClient(base_url=self.url, api_key=key)
            return rest.get_server_capabilities().result().supported_models

        return self.call(ask)

    def _prepare(self) -> str:
        """What comes before the SDK: the key, a living service, no telemetry (it would carry request headers)."""
        key = self.key
        self.probe()
        os.environ["TINKER_TELEMETRY"] = "0"
        return key

    def close(self) -> None:
        """End the session; a dead or slow service is not waited for."""
        if self._client is None:
            return
        client, self._client = self._client, None
        try:
            self.probe()
        except BackendUnavailable:
            return
        wait([_in_thread(lambda: client.close("success").result())], PROBE_SECONDS)

    def call(self, work: Callable[[], T]) -> T:
        """The result of SDK work that blocks, under the same watch as everything else."""
        return self.wait(_in_thread(work))

    def wait(self, future: Future[T]) -> T:
        """The result of one SDK future."""
        for _, result in self.map(lambda item: item, [future]):
            if isinstance(result, BadResult):
                raise result
            return result
        raise AssertionError("unreachable")

    def map(
        self, ask: Callable[[Item], Future[T]], items: Iterable[Item]
    ) -> Iterator[tuple[Item, T | BadResult]]:
        """Results as they arrive, at most `concurrency` on the way; a reply that cannot be read is a BadResult.

        When something fails, what has arrived is yielded before the error is raised.
        """
        source, waiting = iter(items), dict[Future[T], Item]()
        silent = unreachable = 0.0
        tick = min(TICK_SECONDS, self.options.patience, self.options.timeout)
        try:
            while True:
                while len(waiting) < self.options.concurrency:
                    try:
                        item = next(source)
                    except StopIteration:
                        break
                    waiting[ask(item)] = item
                if not waiting:
                    return
                began = time.monotonic()
                done = wait(waiting, tick, FIRST_COMPLETED).done
                if done:
                    silent = unreachable = 0.0
                    yield from self._finished(done, waiting)
                    continue
                silent += time.monotonic() - began
                if silent >= self.options.timeout:
                    raise BackendUnavailable(
                        f"the Tinker service at {self.url} gave no answer for {silent:.0f} s: try later, or raise the "
                        "option timeout; the same command goes on from what is done."
                    )
                try:
                    self.probe()
                    unreachable = 0.0
                except BackendUnavailable as error:
                    unreachable += time.monotonic() - began
                    if unreachable >= self.options.patience:
                        raise BackendUnavailable(
                            f"{error} It went away in the middle of work; the same command goes on from what is done."
                        ) from None
        finally:
            for future in waiting:
                future.cancel()

    def _finished(
        self, done: Iterable[Future[T]], waiting: dict[Future[T], Item]
    ) -> Iterator[tuple[Item, T | BadResult]]:
        failed: InocError | None = None
        for future in done:
            item = waiting.pop(future)
            error = future.exception()
            if error is None:
                yield item, future.result()
                continue
            explained = self.explain(error)
            if isinstance(explained, BadResult):
                yield item, explained
            else:
                failed = failed or explained
        if failed is not None:
            raise failed

    def explain(self, error: BaseException) -> InocError:
        """An SDK error as one sentence without the key."""
        import tinker

        if isinstance(error, InocError):
            return error
        cause = error.__cause__
        if isinstance(cause, tinker.APIStatusError):
            error = cause
        said = self.clean(str(error))
        where = f"the Tinker service at {self.url}"
        if isinstance(error, tinker.APIStatusError):
            status = error.status_code
            if status == 401:
                return BackendUnavailable(
                    f"{where} does not take the key in TINKER_API_KEY (wrong or expired): set a valid one."
                )
            if status == 402:
                return BackendUnavailable(f"{where} wants the account's billing settled first: {said}")
            if status == 403:
                return BackendUnavailable(f"{where} does not allow this to the key in TINKER_API_KEY: {said}")
            if status in (400, 404, 409, 410, 422):
                return BackendRejected(f"{where} refuses: {said}")
            return BackendUnavailable(f"{where} answers {status} ({said}): try later.")
        if isinstance(error, tinker.RequestFailedError):
            if error.category.value == "user":
                return BackendRejected(f"{where} refuses: {said}")
            return BackendUnavailable(f"{where} failed ({said}): try later.")
        if isinstance(error, tinker.APIConnectionError):
            return BackendUnavailable(f"the connection to {where} broke ({said}): try later.")
        if isinstance(error, (RuntimeError, ValueError, AssertionError)):
            return BadResult(f"{where} sent a reply that cannot be read: {said}")
        return BackendUnavailable(f"{where}: {type(error).__name__}: {said}")

    def clean(self, text: str) -> str:
        """One short line without the key."""
        key = os.environ.get("TINKER_API_KEY", "").strip()
        line = " ".join(text.split())
        return (line.replace(key, "***") if key else line)[:300]


def _in_thread(work: Callable[[], T]) -> Future[T]:
    """A daemon thread, so that a hanging call never holds up the end of the program."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # handed to whoever waits
            if not future.cancelled():
                future.set_exception(error)
        else:
            if not future.cancelled():
                future.set_result(result)

    threading.Thread(target=run, daemon=True).start()
    return future
