"""The connection to a Tinker service: probed before the SDK is used, and during every wait.

The SDK retries an unreachable or overloaded service for minutes, or forever. Therefore every wait here ends early: when
health probes have failed for `patience` seconds, or after `timeout` seconds without an answer.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeVar

from inoc.backends.remote import PROBE_SECONDS, Remote, one_line
from inoc.backends.tinker.options import Options
from inoc.errors import BackendRejected, BackendUnavailable, BadResult, InocError
from inoc.services.keys import check_key

if TYPE_CHECKING:
    import tinker

T = TypeVar("T")
Item = TypeVar("Item")
REMOTE: Final = Remote("Tinker service", "the option url or TINKER_BASE_URL", "TINKER_API_KEY")
TICK_SECONDS: Final = 10.0
"""Seconds between two probes while nothing arrives."""


class Service:
    """One session with the service, opened on first use."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._client: tinker.ServiceClient | None = None

    @cached_property
    def url(self) -> str:
        """The address of the service; BadInput unless it is http(s) without credentials."""
        url = self.options.url or os.environ.get("TINKER_BASE_URL")
        if not url:
            from tinker.lib.base_url import DEFAULT_BASE_URL  # pyright: ignore[reportMissingTypeStubs]

            url = DEFAULT_BASE_URL
        return REMOTE.url(url)

    @property
    def key(self) -> str:
        """The key; BadInput where it is not bound to the service's host, BackendUnavailable where it is missing."""
        check_key(REMOTE.key_variable, self.url)
        key = REMOTE.key()
        if not key.startswith(("tml-", "eyJ")):
            raise BackendUnavailable(
                "TINKER_API_KEY is not a Tinker key, which begins with 'tml-'. Fix: set it to a valid key."
            )
        return key

    def probe(self) -> None:
        """Ask for /api/v1/healthz; BackendUnavailable unless something healthy answers."""
        REMOTE.probe(f"{self.url}/api/v1/healthz", {})

    @property
    def client(self) -> "tinker.ServiceClient":
        """The SDK's client. Its session opens in the background of the first call."""
        if self._client is None:
            key = self._prepare()
            import tinker

            self._client = tinker.ServiceClient(base_url=self.url, api_key=key)
        return self._client

    def rest(self) -> "tinker.RestClient":
        """The SDK's client without a session; to be made inside `call`."""
        import tinker

        return tinker.RestClient(base_url=self.url, api_key=self.key)

    def models(self) -> "list[tinker.types.SupportedModel]":
        """What the service offers."""
        self._prepare()
        return self.call(lambda: self.rest().get_server_capabilities().result().supported_models)

    def _prepare(self) -> str:
        """Before the SDK is used: a key, a live service, no telemetry (it would contain request headers)."""
        key = self.key
        self.probe()
        os.environ["TINKER_TELEMETRY"] = "0"
        return key

    def close(self) -> None:
        """End the session without waiting for a dead or slow service."""
        if self._client is None:
            return
        client, self._client = self._client, None
        try:
            self.probe()
        except BackendUnavailable:
            return
        wait([_in_thread(lambda: client.close("success").result())], PROBE_SECONDS)

    def call(self, work: Callable[[], T]) -> T:
        """The result of SDK work that blocks, with the same limits as everything else."""
        return self.wait(_in_thread(work))

    def wait(self, future: Future[T]) -> T:
        """The result of one SDK future."""
        ((_, result),) = self.map(lambda item: item, [future])
        if isinstance(result, BadResult):
            raise result
        return result

    def map(self, ask: Callable[[Item], Future[T]], items: Iterable[Item]) -> Iterator[tuple[Item, T | BadResult]]:
        """Results as they arrive, at most `concurrency` in flight; an unreadable reply is a BadResult.

        What has arrived is yielded before an error is raised.
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
                        f"the Tinker service at {self.url} gave no answer for {silent:.0f} s. Fix: run the same "
                        "command later, which resumes, or raise the option timeout."
                    )
                try:
                    self.probe()
                    unreachable = 0.0
                except BackendUnavailable as error:
                    unreachable += time.monotonic() - began
                    if unreachable >= self.options.patience:
                        raise BackendUnavailable(
                            f"{error} It disappeared during work; the same command resumes."
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
        where, later = f"the Tinker service at {self.url}", "Fix: try again later."
        if isinstance(error, tinker.APIStatusError):
            status = error.status_code
            if status == 401:
                return BackendUnavailable(
                    f"{where} rejects the key in TINKER_API_KEY (wrong or expired). Fix: set a valid key."
                )
            if status == 402:
                return BackendUnavailable(f"{where} requires payment: {said}. Fix: settle the account's billing.")
            if status == 403:
                return BackendUnavailable(f"{where} does not allow this with the key in TINKER_API_KEY: {said}")
            if status in (400, 404, 409, 410, 422):
                return BackendRejected(f"{where} rejects the request: {said}")
            return BackendUnavailable(f"{where} answers {status} ({said}). {later}")
        if isinstance(error, tinker.RequestFailedError):
            if error.category.value == "user":
                return BackendRejected(f"{where} rejects the request: {said}")
            return BackendUnavailable(f"{where} failed ({said}). {later}")
        if isinstance(error, tinker.APIConnectionError):
            return BackendUnavailable(f"the connection to {where} broke ({said}). {later}")
        if isinstance(error, (RuntimeError, ValueError, AssertionError)):
            return BadResult(f"{where} sent a reply that cannot be read: {said}")
        return BackendUnavailable(f"{where}: {type(error).__name__}: {said}")

    def clean(self, text: str) -> str:
        """One short line without the key."""
        return one_line(text, ("TINKER_API_KEY",))


def _in_thread(work: Callable[[], T]) -> Future[T]:
    """Run in a daemon thread, so that a call that hangs never delays the end of the program."""
    future: Future[T] = Future()

    def run() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(work())
        except BaseException as error:  # for the thread that waits
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
