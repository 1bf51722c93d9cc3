"""Run a command; kill it and everything it started when it ends, when told to, or when whoever asked for it dies.

A job of the worker has a process group of its own and would outlive the worker. Linux only, as the worker is.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from types import FrameType

import psutil

SET_PARENT_DEATH_SIGNAL, SET_CHILD_SUBREAPER = 1, 36


def die_with_parent(sent: signal.Signals = signal.SIGKILL) -> None:
    """Of the calling process; for `subprocess` as its `preexec_fn`."""
    ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, int(sent))


def end_all() -> None:
    """Kill whatever was started and wait until it is gone."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def end(_signal: int, _frame: FrameType | None) -> None:
    end_all()
    os._exit(137)


if __name__ == "__main__":
    parent = os.getppid()
    die_with_parent(signal.SIGTERM)
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, end)
    if os.getppid() != parent:
        sys.exit(137)
    child = subprocess.Popen(sys.argv[1:])
    print(child.pid, flush=True)
    code = child.wait()
    end_all()
    sys.exit(code)
