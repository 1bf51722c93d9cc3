"""Who is told how a stage goes. The command line shows a bar; a library user may pass nothing."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


@runtime_checkable
class Watcher(Protocol):
    """Told what a stage does, step by step."""

    def begin(self, what: str, total: int, tokens: int = 0) -> None:
        """A stage starts: `total` steps of `what`, and their tokens where the time left is measured by tokens."""
        ...

    def advance(self, tokens: int) -> None:
        """That many more tokens of the current step are done."""
        ...

    def step(self, name: str, detail: str = "") -> None:
        """The step of that name is done, or failed: `detail` says how."""
        ...

    def note(self, text: str) -> None:
        """A sentence for the user."""
        ...

    def measure(self, name: str, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a run (or a prompt) at a step: losses, mean scores."""
        ...


class Unwatched:
    """A watcher that does nothing."""

    def begin(self, what: str, total: int, tokens: int = 0) -> None: ...
    def advance(self, tokens: int) -> None: ...
    def step(self, name: str, detail: str = "") -> None: ...
    def note(self, text: str) -> None: ...
    def measure(self, name: str, step: int, values: Mapping[str, float]) -> None: ...


UNWATCHED = Unwatched()
