"""Calls of a backend: one after the other, or several at once where the backend is a pool."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final, TypeVar

from inoc.backends.protocols import Backend, Parallel

T = TypeVar("T")
R = TypeVar("R")
LOOK_EVERY: Final = 5.0
"""Seconds after which workers that joined meanwhile get something to do."""


def side_by_side(
    backend: Backend, work: Callable[[T], R], items: Iterable[T], in_order: bool = False
) -> Generator[tuple[T, Future[R]]]:
    """Do `work`, which is a call of the backend, for every item, and give each item with its outcome, which is known.

    Items are taken one by one, when there is room, and results given, in the caller's thread: only `work` runs in
    others. A backend that is not a pool gets its next call when the caller asks for the next result. `in_order`:
    results in the order of the items, not as they come.
    """
    if not isinstance(backend, Parallel):
        for item in items:
            yield item, _done(work, item)
        return
    coming, waiting = iter(items), dict[Future[R], T]()
    threads = ThreadPoolExecutor(max_workers=4096)  # they wait for workers; made as they are needed
    try:
        more = True
        while more or waiting:
            while more and len(waiting) < 2 * max(1, backend.workers):  # one is under way, one waits
                try:
                    item = next(coming)
                except StopIteration:
                    more = False
                else:
                    waiting[threads.submit(work, item)] = item
            wait(list(waiting)[: 1 if in_order else None], LOOK_EVERY, FIRST_COMPLETED)
            for future in list(waiting):
                if future.done():
                    yield waiting.pop(future), future
                elif in_order:
                    break
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _done(work: Callable[[T], R], item: T) -> Future[R]:
    """The outcome of work that is done here."""
    future: Future[R] = Future()
    try:
        future.set_result(work(item))
    except Exception as error:
        future.set_exception(error)
    return future
