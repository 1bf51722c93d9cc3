"""One writer at a time: a lock file next to the store, held by the operating system for as long as the process lives.

The lock belongs to the directory, whatever name or link it is reached by. The system lets go of it when its holder
dies, however it dies, so a stale lock is a file that nobody holds; the text inside (process id and host) is for
messages only. `filelock` locks on every system: it is small, maintained, and installed with torch anyway.
"""

import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from inoc.errors import BadInput

if TYPE_CHECKING:
    from filelock import FileLock


class Holder(NamedTuple):
    """The process that wrote its name into a lock file."""

    pid: int
    host: str


def lock_path(store: Path) -> Path:
    """`run.zarr` -> `run.zarr.lock` next to the directory itself, so that the store stays free of the host."""
    place = store.resolve()
    return place.with_name(place.name + ".lock")


def _named(path: Path) -> Holder | None:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return Holder(int(said["pid"]), str(said["host"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Lock:
    """Held from construction to `release`. `taken_over` names the dead holder of a lock that was left behind.

    Raises:
        BadInput: Another process holds it, or this one does already.
    """

    def __init__(self, store: Path) -> None:
        self.path = lock_path(store)
        self._held = _take(self.path)
        if self._held is None:
            raise _refused(store, self.path)
        self.taken_over = _named(self.path)
        with suppress(OSError):  # a system may keep others, and so this, from a file that is locked
            self.path.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}), encoding="utf-8")

    def release(self) -> None:
        """Let go and remove the file."""
        if self._held is not None:
            with suppress(OSError):  # Windows keeps a file that is open
                self.path.unlink(missing_ok=True)
            self._held.release()
            self._held = None

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def _refused(store: Path, path: Path) -> BadInput:
    other = _named(path)
    who = f"process {other.pid} on {other.host}" if other else "another process"
    return BadInput(f"{store} is being written by {who}. Fix: wait for it to end, or end it.")


def _take(path: Path) -> "FileLock | None":
    """The lock, or None where another has it."""
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=0.1, poll_interval=0.02, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        return None
    return lock


def check_free(store: Path) -> None:
    """Raise BadInput where another process writes the store: before anything is loaded that takes long."""
    path = lock_path(store)
    if path.exists():
        held = _take(path)
        if held is None:
            raise _refused(store, path)
        held.release()
