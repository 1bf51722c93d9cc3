"""Files that are whole or absent: written beside, flushed, renamed, and the directory flushed."""

import os
import shutil
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from inoc.errors import BadInput

_flushing = True


def write_atomic(path: Path, content: bytes | str) -> None:
    """Replace a file so that a kill or a power cut leaves the old content or the new, never a part.

    Args:
        path: The file to write; missing parent directories are made.
        content: Bytes, or text that is written as UTF-8.

    Raises:
        OSError: The file cannot be written; the old one is unchanged.
    """
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.partial")
    try:
        part.write_bytes(data)
        flush(part)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    flush(path.parent)


def replaceable(path: Path) -> Path:
    """The path, where writing it replaces nothing but a regular file.

    Raises:
        BadInput: A directory, link, device or pipe is there.
    """
    try:
        mode = path.lstat().st_mode
    except OSError:
        return path  # nothing is there, or writing says why it cannot be
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "a link" if stat.S_ISLNK(mode) else "not a regular file"
        raise BadInput(f"{path} is {kind} and is not replaced. Fix: name another file.")
    return path


def write_file(path: Path, content: bytes | str) -> None:
    """Write a file that a user named, whole or not at all; it replaces nothing but a regular file.

    Raises:
        BadInput: Its folder does not exist, something else is there, or it cannot be written.
    """
    replaceable(path)
    if not path.parent.is_dir():
        raise BadInput(f"{path.parent} does not exist. Fix: make the directory, or write {path.name} elsewhere.")
    try:
        write_atomic(path, content)
    except OSError as error:
        raise BadInput(f"{path} cannot be written ({error.strerror}). Fix: write it elsewhere.") from error


def write_folder(target: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder so that it exists only once it is complete and on the disk; an old one is replaced.

    Args:
        target: The folder; its parent must exist.
        fill: Writes the files into the folder it is given, without subfolders.
    """
    part = target.with_name(f".writing-{target.name}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    fill(part)
    for path in (*part.iterdir(), part):
        flush(path)
    if target.exists():
        shutil.rmtree(target)
    part.rename(target)
    flush(target.parent)


def flush(path: Path) -> None:
    """Wait until the disk holds a file's content, or a directory's list of names."""
    if not _flushing or (os.name == "nt" and path.is_dir()):  # Windows cannot open a directory
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def without_flushing() -> Generator[None]:
    """Do not wait for the disk: for a directory that only counts once it is renamed into place."""
    global _flushing
    before, _flushing = _flushing, False
    try:
        yield
    finally:
        _flushing = before
