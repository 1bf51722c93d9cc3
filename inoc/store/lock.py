"""One writer at a time: a lock file next to the store, held by the operating system for as long as the process lives.

The kernel lets go of the lock when its holder dies, however it dies, so a stale lock is a file that nobody holds.
The text inside (process id and host) is for messages only.
"""

import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import NamedTuple

from inoc.errors import BadInput


class Holder(NamedTuple):
    """The process that wrote its name into a lock file."""

    pid: int
    host: str


def lock_path(store: Path) -> Path:
    """`run.zarr` -> `run.zarr.lock`, so that the store itself stays free of the host."""
    return store.with_name(store.name + ".lock")


def _named(path: Path) -> Holder | None:
    try:
        said = json.loads(path.read_text())
        return Holder(int(said["pid"]), str(said["host"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_locked(store: Path) -> bool:
    """Whether a living process writes this store now."""
    try:
        fd = os.open(lock_path(store), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


class Lock:
    """Held from construction to `release`. `taken_over` names the dead holder of a lock that was left behind."""

    def __init__(self, store: Path) -> None:
        self.path = lock_path(store)
        self._fd = -1
        for attempt in range(5):
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(fd).st_ino == os.stat(self.path).st_ino:  # not a file its holder removed meanwhile
                    self._fd = fd
                    break
            except OSError:
                time.sleep(0.01 * attempt)
            os.close(fd)
        if self._fd < 0:
            other = _named(self.path)
            who = f"process {other.pid} on {other.host}" if other else "another process"
            raise BadInput(f"{store} is being written by {who}. Fix: wait for it to end, or end it.")
        self.taken_over = _named(self.path)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)

    def release(self) -> None:
        """Let go and remove the file."""
        if self._fd >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *error: object) -> None:
        self.release()
