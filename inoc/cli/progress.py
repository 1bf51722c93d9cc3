"""Progress of a stage on stderr: a live bar on a terminal, a line now and then elsewhere."""

import sys
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from inoc.cli.options import counted
from inoc.reading import printable
from inoc.stages.progress import UNWATCHED, Watcher

if TYPE_CHECKING:
    from inoc.backends.protocols import Parallel

LINE_EVERY = 10.0
"""Seconds between lines where stderr is not a terminal."""


class StageProgress:
    """Shows steps done, the rate and the time left, measured by tokens where the stage counts them, with the workers of
    a pool; `others` are told everything, too. `brief`: where stderr is not a terminal, work that is soon done has no
    last line."""

    def __init__(self, pool: "Parallel | None" = None, others: Watcher = UNWATCHED, *, brief: bool = False) -> None:
        self.pool, self.others, self.brief = pool, others, brief
        self._turn = threading.RLock()
        self.console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[last]}"),
            console=self.console,
            disable=not self.console.is_terminal,
            redirect_stdout=sys.stdout.isatty(),  # what is piped goes where it is piped to
        )
        self.task = self.bar.add_task("", total=None, rate="", last="")
        self._start("", 0, 0)

    def __enter__(self) -> "StageProgress":
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def begin(self, what: str, total: int, tokens: int = 0) -> None:
        self.others.begin(what, total, tokens)
        self._start(what, total, tokens)

    def _start(self, what: str, total: int, tokens: int) -> None:
        self.what, self.total, self.tokens = what, total, tokens
        self.steps = self.tokens_done = 0
        self.started = self.told = time.monotonic()
        self.bar.reset(self.task, total=max(1, tokens or total), description=what, rate="", last="")

    def advance(self, tokens: int) -> None:
        with self._turn:
            self.others.advance(tokens)
            self.tokens_done += tokens
            self.bar.update(self.task, completed=self.tokens_done, rate=f"{self.rate:,.0f} tokens/s")
            self._line("")

    def step(self, name: str, detail: str = "") -> None:
        with self._turn:
            self.others.step(name, detail)
            self.steps += 1
            last = f"{name} {detail}".strip()
            done = self.tokens_done if self.tokens else self.steps
            said = f"{self.what} {self.steps}/{self.total}{self._crowd()}"
            self.bar.update(self.task, completed=done, description=said, last=last)
            self._line(f": {last}", self.steps == self.total and not self.tokens and not self.brief)

    def measure(self, name: str, step: int, values: Mapping[str, float]) -> None:
        with self._turn:
            self.others.measure(name, step, values)  # the step's own line shows them

    def note(self, text: str) -> None:
        with self._turn:
            self.others.note(text)
        self._say(text)

    def _say(self, text: str) -> None:
        self.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    @property
    def rate(self) -> float:
        """Tokens per second since `begin`."""
        return self.tokens_done / max(time.monotonic() - self.started, 1e-9)

    def _crowd(self) -> str:
        return "" if self.pool is None else f" on {counted(self.pool.workers, 'worker')}"

    def _line(self, last: str, now: bool = False) -> None:
        """Where stderr is not a terminal, one line every `LINE_EVERY` seconds."""
        clock = time.monotonic()
        if self.console.is_terminal or (clock - self.told < LINE_EVERY and not now):
            return
        self.told = clock
        done, total = (self.tokens_done, self.tokens) if self.tokens else (self.steps, self.total)
        left = max(0, total - done) * (clock - self.started) / max(done, 1)
        counts = f"{self.tokens_done:,} of {self.tokens:,} tokens, {self.rate:,.0f} tokens/s, " if self.tokens else ""
        self._say(f"{self.what} {self.steps}/{self.total}{self._crowd()}, {counts}{duration(left)} left{last}")


def duration(seconds: float) -> str:
    """`3723` as `1:02:03`."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
