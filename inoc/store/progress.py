"""Who is told how long work on a store goes on; the command line shows a bar."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Told how an import, a merge or a validation goes."""

    def begin(self, what: str, total: int) -> None:
        """`total` steps of `what` begin."""
        ...

    def step(self, name: str) -> None:
        """The step of that name is done."""
        ...


class Unwatched:
    """A progress that nobody sees."""

    def begin(self, what: str, total: int) -> None: ...
    def step(self, name: str) -> None: ...


UNWATCHED = Unwatched()
