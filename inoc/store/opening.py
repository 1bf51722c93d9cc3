"""Opening a store: its root, changes that a kill interrupted, and reading while another process writes."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from inoc.errors import BadInput, BrokenStore
from inoc.store.files import COMMIT, NODE, STAGED, finish_commit, node_attributes, read_node
from inoc.store.lock import is_locked
from inoc.store.schema import SCHEMA, SCHEMA_VERSION

T = TypeVar("T")


def read_root(path: Path) -> dict[str, object]:
    """The verified attributes of a store's root; see docs/store.md."""
    if not path.exists():
        raise BadInput(f"{path}: no such store. Fix: make one with `inoc import` or `inoc score`.")
    if not (path / NODE).is_file():
        raise BadInput(f"{path} is not an inoc store: it has no {NODE}. Fix: name the directory of a store.")
    try:
        raw = json.loads((path / NODE).read_bytes())
        attributes = dict(raw["attributes"])
    except (ValueError, KeyError, TypeError):
        raw, attributes = {}, {}
    if attributes.get("schema", SCHEMA) != SCHEMA or (raw and "schema" not in attributes):
        raise BadInput(
            f"{path} is a Zarr directory and not an inoc store (its attributes do not name the schema {SCHEMA!r}). "
            "Fix: name the directory of a store."
        )
    version = attributes.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise BrokenStore(
            f"{path} has schema version {version}; this inoc reads up to {SCHEMA_VERSION}. Fix: upgrade inoc."
        )
    return node_attributes(read_node(path, str(path)))


def settle(path: Path) -> None:
    """Finish a committed change that a killed writer left half-moved; wait for a living writer to do it."""
    deadline = time.monotonic() + 5.0
    while (path / COMMIT).exists():
        if not is_locked(path):
            try:
                finish_commit(path)
            except FileNotFoundError:
                pass  # another reader finishes it, too
            except OSError as error:
                raise BrokenStore(
                    f"{path}: a writer was killed in the middle of a change, which cannot be finished here "
                    f"({error.strerror}). Fix: open the store once where it can be written."
                ) from error
        if time.monotonic() > deadline:
            raise BrokenStore(f"{path}: another process has been changing it for more than 5 s. Fix: try again.")
        time.sleep(0.01)


def steady(path: Path, read: Callable[[], T], tries: int = 8) -> T:
    """Read something whose parts must agree; try again where a living writer may be changing it."""
    for left in reversed(range(tries)):
        busy = is_locked(path)
        try:
            return read()
        except (BrokenStore, OSError, IndexError, ValueError, KeyError) as error:
            if left and (busy or is_locked(path)):
                time.sleep(0.02)
                continue
            if isinstance(error, BrokenStore):
                raise
            raise BrokenStore(
                f"{path}: its parts contradict each other ({error}). Fix: see what `inoc validate` lists."
            ) from error
    raise AssertionError("unreachable")


def clear_staged(path: Path) -> None:
    """Forget what a killed writer staged and did not commit, and its unfinished temporary files."""
    shutil.rmtree(path / STAGED, ignore_errors=True)
    for file in path.rglob("*.partial"):
        file.unlink(missing_ok=True)
