"""One command line in this process: how it ends, what it says, and what it changed on the disk."""

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path

SECONDS = 60
"""A command on such small files that takes longer hangs."""


@dataclass(frozen=True)
class Attempt:
    """How a command ended."""

    code: int
    said: str
    log: str
    """The traceback of an error nobody foresaw; "" where there was none."""
    out: str = ""


def attempt(arguments: Sequence[str], logs: Path) -> Attempt:
    """Run a command line as the entry point does.

    The run-time checker of the tests asks every property of a protocol, and one of a damaged store raises: such a
    command is run again in a process without the checker.

    Args:
        arguments: Of the command line.
        logs: A folder for the files of unforeseen errors.
    """
    from inoc.cli import main

    before = set(logs.iterdir())
    out, err = TextIOWrapper(BytesIO(), encoding="utf-8"), TextIOWrapper(BytesIO(), encoding="utf-8")
    code: object = None
    with redirect_stdout(out), redirect_stderr(err), _temporary(logs), _limited():
        try:
            main(list(arguments))
        except SystemExit as end:
            code = end.code
    out.flush()
    err.flush()
    said = err.buffer.getvalue().decode("utf-8", "replace")  # type: ignore[attr-defined]
    log = _new_logs(logs, before)
    if "frame.protocols.StoreLike" in log:
        return _unchecked(arguments, logs)
    shown = out.buffer.getvalue().decode("utf-8", "replace")  # type: ignore[attr-defined]
    return Attempt(code if isinstance(code, int) else -1, said, log, shown)


def _unchecked(arguments: Sequence[str], logs: Path) -> Attempt:
    before = set(logs.iterdir())
    command = [sys.executable, "-m", "inoc", *arguments]
    environment = {**os.environ, "TMPDIR": str(logs)}
    done = subprocess.run(command, capture_output=True, env=environment, timeout=SECONDS, check=False)
    said, out = (text.decode("utf-8", "replace") for text in (done.stderr, done.stdout))
    return Attempt(done.returncode, said, _new_logs(logs, before), out)


def _new_logs(logs: Path, before: set[Path]) -> str:
    return "\n".join(path.read_text() for path in set(logs.iterdir()) - before if path.name.endswith(".log"))


def state(folder: Path) -> Mapping[str, str]:
    """Every file, folder and link below a folder, with the hash of its content."""
    found: dict[str, str] = {}
    for root, folders, files in os.walk(folder):
        for name in folders:
            found[os.path.join(root, name)] = "folder"
        for name in files:
            path = Path(root, name)
            link = str(path.readlink()) if path.is_symlink() else ""
            content = b"" if link or not path.is_file() else path.read_bytes()
            found[str(path)] = f"{path.lstat().st_mode} {link} {hashlib.sha256(content).hexdigest()}"
    return found


@contextmanager
def _temporary(logs: Path) -> Iterator[None]:
    before, tempfile.tempdir = tempfile.tempdir, str(logs)
    arguments = sys.argv
    try:
        yield
    finally:
        tempfile.tempdir, sys.argv = before, arguments


@contextmanager
def _limited() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"longer than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
