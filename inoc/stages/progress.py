"""Who is told how a stage goes. The command line shows a bar; a library user may pass nothing."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Watcher(Protocol):
    """Told about steps of a stage."""

    def begin(self, what: str, total: int) -> None:
        """So many steps of `what` are to be done."""
        ...

    def step(self, name: str, detail: str = "") -> None:
        """One step is done; `name` says which."""
        ...

    def note(self, text: str) -> None:
        """A sentence for the user."""
        ...


class Unwatched:
    """A watcher that does nothing."""

    def begin(self, what: str, total: int) -> None: ...
    def step(self, name: str, detail: str = "") -> None: ...
    def note(self, text: str) -> None: ...
