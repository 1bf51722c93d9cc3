"""Putting a whole new store in place: it is written beside, on the disk before it gets its name, and an old one stays
until then."""

import shutil
from collections.abc import Callable
from pathlib import Path

from inoc.atomic import flush, without_flushing
from inoc.store.lock import Lock
from inoc.store.opening import replaced_path
from inoc.store.writer import disk_errors


def put_in_place(store: Path, fill: Callable[[Path], None]) -> None:
    """Make a store, or replace one, so that its name is that of the old one or of the new one, whole.

    `fill` writes the new store into the directory it is given; where it makes none, all stays as it is. Between the two
    renames of a replacement a kill leaves the old one as `replaced_path`; the next call takes it back first.
    """
    store = store.resolve()
    with disk_errors(store):
        store.parent.mkdir(parents=True, exist_ok=True)
        lock = Lock(store)
    part, old = store.with_name(f".{store.name}.new"), replaced_path(store)
    with lock, disk_errors(store):
        if old.exists() and not store.exists():
            old.rename(store)
        shutil.rmtree(part, ignore_errors=True)
        try:
            with without_flushing():
                fill(part)
            if not part.exists():
                shutil.rmtree(old, ignore_errors=True)
                return
            for path in (*part.rglob("*"), part):
                flush(path)
            shutil.rmtree(old, ignore_errors=True)
            there = store.exists()
            if there:
                store.rename(old)
            try:
                part.rename(store)
            except OSError:
                if there:
                    old.rename(store)
                raise
            flush(store.parent)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(part, ignore_errors=True)
