"""When a request is retried: the kinds of failure, how often each may happen, and how long to wait."""

import re
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING, Literal

from inoc.errors import BackendRejected, BackendUnavailable
from inoc.services.settings import ServiceSettings

if TYPE_CHECKING:
    from tenacity import RetryCallState


class RequestFailed(BackendUnavailable):
    """One request got no usable answer after all attempts (timeouts, server errors, dropped connections)."""


class RequestRefused(BackendRejected):
    """The service rejected this one request permanently (HTTP 400, 413, 422); others may succeed."""


class Transient(Exception):
    """A failure that may pass, of one of five kinds; `wait` is what the service asked for, in seconds."""

    def __init__(
        self, kind: Literal["fault", "busy", "unreached", "dead", "malformed"], message: str, wait: float | None = None
    ) -> None:
        super().__init__(message)
        self.kind, self.message, self.wait = kind, message, wait


class Budget:
    """The attempts one request has left, by kind of failure: tenacity's stop and wait rules.

    Server faults may use all attempts, a refused connection three (a few seconds), a malformed reply two (each is
    paid for). `patience` limits the wait for a service that is busy or takes no connections, which a client at its own
    limits meets too; a single attempt waits for neither connection. All else ends with `deadline`.

    Attributes:
        seconds: What is left of `deadline`.
        spent: Seconds of the last attempt.
        tries: Attempts so far.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        from tenacity import wait_random_exponential

        more = settings.attempts - 1
        self._more = more > 0
        self.seconds, self.spent, self.tries = settings.deadline, 0.0, 0
        self._left = {"fault": more, "unreached": 0, "dead": min(2, more), "malformed": min(1, more)}
        self._patience = settings.patience
        self._wait = wait_random_exponential(multiplier=settings.backoff, max=8.0, min=settings.backoff / 2)

    def stop(self, state: "RetryCallState") -> bool:
        error, self.tries = _error_of(state), state.attempt_number
        if error.kind == "busy" or (error.kind == "unreached" and self._more):
            return (state.seconds_since_start or 0.0) + (error.wait or 0.0) > self._patience
        self._left[error.kind] -= 1
        self.seconds -= self.spent
        return self._left[error.kind] < 0 or self.seconds <= 0

    def wait(self, state: "RetryCallState") -> float:
        error = _error_of(state)
        return self._wait(state) if error.wait is None else error.wait


def _error_of(state: "RetryCallState") -> Transient:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, Transient)
    return error


def retry_after(milliseconds: str | None, seconds: str | None) -> float | None:
    """Seconds of `retry-after-ms` or `retry-after` (seconds or an HTTP date); None if absent or unreadable."""
    try:
        if milliseconds is not None:
            wait = float(milliseconds) / 1000.0
        elif seconds is None:
            return None
        elif re.fullmatch(r"[\d.]+", seconds):
            wait = float(seconds)
        else:
            wait = max(0.0, parsedate_to_datetime(seconds).timestamp() - time())
    except ValueError:
        return None
    return wait if 0.0 <= wait < float("inf") else None
