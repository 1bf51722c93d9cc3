"""Progress on stderr: a live bar on a terminal, a line now and then elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from inoc.store.schema import Unit

LINE_EVERY = 10.0
"""Seconds between lines where stderr is no terminal."""


class ScoreProgress:
    """Shows units, completion tokens per second and the time left. Use as a context manager."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("scoring", total=None, rate="")
        self.units = self.tokens = self.done_units = self.done = 0
        self.started = self.told = time.monotonic()

    def __enter__(self) -> "ScoreProgress":
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def begin(self, units: int, tokens: int) -> None:
        self.units, self.tokens = units, tokens
        self.started = self.told = time.monotonic()
        self.bar.update(self.task, total=max(1, tokens))

    def advance(self, tokens: int) -> None:
        self.done += tokens
        self.bar.update(self.task, completed=self.done, rate=f"{self.rate:,.0f} tokens/s")
        now = time.monotonic()
        if now - self.told >= LINE_EVERY and not self.console.is_terminal:
            self.told = now
            left = max(0, self.tokens - self.done) / max(self.rate, 1e-9)
            self.note(
                f"{self.done_units}/{self.units} units, {self.done:,} of {self.tokens:,} tokens, "
                f"{self.rate:,.0f} tokens/s, {duration(left)} left"
            )

    def unit(self, unit: Unit, error: str | None) -> None:
        self.done_units += 1
        name = f"{unit.completion_set} {unit.prefix_type} {unit.prompt}".strip()
        self.bar.update(self.task, description=f"{self.done_units}/{self.units} {name}")
        if error is not None:
            self.note(f"failed: {error}")

    def note(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    @property
    def rate(self) -> float:
        """Completion tokens per second since `begin`."""
        return self.done / max(time.monotonic() - self.started, 1e-9)


def duration(seconds: float) -> str:
    """`3723` as `1:02:03`."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
