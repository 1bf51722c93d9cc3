"""Progress of the later stages on stderr: a live bar on a terminal, a line per step elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY = 10.0
"""Seconds between lines where stderr is no terminal."""


class StageProgress:
    """Shows steps done and the time left. Use as a context manager."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[last]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("", total=None, last="")
        self.what, self.total, self.done, self.told, self.started = "", 0, 0, 0.0, time.monotonic()

    def __enter__(self) -> "StageProgress":
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def begin(self, what: str, total: int) -> None:
        self.what, self.total, self.done, self.started = what, total, 0, time.monotonic()
        self.bar.reset(self.task, total=max(1, total), description=what, last="")

    def step(self, name: str, detail: str = "") -> None:
        self.done += 1
        self.bar.update(self.task, completed=self.done, last=f"{name} {detail}".strip())
        now = time.monotonic()
        if not self.console.is_terminal and (now - self.told >= LINE_EVERY or self.done == self.total):
            self.told = now
            rate = self.done / max(now - self.started, 1e-9)
            left = max(0, self.total - self.done) / max(rate, 1e-9)
            self.note(f"{self.what} {self.done}/{self.total}, {left:.0f} s left: {name} {detail}".rstrip())

    def note(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
