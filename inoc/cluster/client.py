"""The part of dask's client that inoc uses, with types."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Literal, Protocol, TypeVar, cast, runtime_checkable

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@runtime_checkable
class Future(Protocol[R_co]):
    """A task under way."""

    def result(self) -> R_co: ...
    def done(self) -> bool: ...
    def cancel(self) -> object: ...
    def add_done_callback(self, fn: Callable[[Any], None]) -> None: ...


@runtime_checkable
class Client(Protocol):
    """A connection to a scheduler."""

    status: str

    def submit(
        self, func: Callable[..., R], *given: object, key: str, pure: bool, resources: Mapping[str, float] | None
    ) -> Future[R]: ...
    def run(self, function: Callable[[], R], *, on_error: Literal["ignore"]) -> Mapping[str, R]: ...
    def scheduler_info(self, n_workers: int = -1) -> Mapping[str, Any]: ...
    def wait_for_workers(self, n_workers: int, timeout: float) -> None: ...
    def subscribe_topic(self, topic: str, handler: Callable[[tuple[float, Any]], None]) -> None: ...
    def unsubscribe_topic(self, topic: str) -> None: ...
    def close(self, timeout: Literal[5]) -> object: ...


def wait_for(future: Future[Any], seconds: float) -> None:
    """Until a task is done, at most so long. Its result may then still have to be fetched, or computed again."""
    import distributed

    with suppress(TimeoutError):
        cast(Any, distributed).wait([future], timeout=seconds)
