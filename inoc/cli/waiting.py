"""A line on the terminal while a command works and says nothing: what works, and for how long."""

import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial

QUIET = 2.0
"""Seconds without output after which the line is shown."""
EVERY = 1.0
"""Seconds between two looks."""
SERVERS = ("view",)
"""Commands that wait for others."""
ERASE = "\r\x1b[K"
Write = Callable[[str], int]


@contextmanager
def announced(arguments: Sequence[str]) -> Generator[None]:
    """Show the line on stderr, where that is a terminal, until the command ends; output takes its place."""
    name = next((word for word in arguments if not word.startswith("-")), "")
    if not sys.stderr.isatty() or name in SERVERS:
        yield
        return
    streams = (sys.stdout, sys.stderr)
    line, done = _Line(f"inoc {name}", sys.stderr.write, sys.stderr.flush), threading.Event()
    for stream in streams:
        stream.write = partial(line.give_way, stream.write)
    teller = threading.Thread(target=line.follow, args=(done,), daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
        line.erase()
        for stream in streams:
            del stream.write


class _Line:
    """The line, and whose turn it is to write to the terminal."""

    def __init__(self, name: str, write: Write, flush: Callable[[], None]) -> None:
        self.name, self._write, self._flush = name, write, flush
        self._begun = self._heard = time.monotonic()
        self._turn, self._shown = threading.RLock(), False

    def give_way(self, write: Write, text: str) -> int:
        """Write what the command says, over the line."""
        with self._turn:
            self.erase()
            self._heard = time.monotonic()
            return write(text)

    def erase(self) -> None:
        """Take the line away."""
        with self._turn:
            if self._shown:
                self._write(ERASE)
                self._flush()
            self._shown = False

    def follow(self, done: threading.Event) -> None:
        """Show the line whenever the command has said nothing for a while, until it is done."""
        while not done.wait(EVERY):
            with self._turn:
                now = time.monotonic()
                if now - self._heard < QUIET:
                    continue
                whole = int(now - self._begun)
                self._write(f"{ERASE}{self.name}: working, {whole // 60}:{whole % 60:02d}")
                self._flush()
                self._shown = True
