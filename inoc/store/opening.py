"""Opening a store for reading: its root, and reading while another process writes."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from inoc.errors import BadInput, BrokenStore
from inoc.store.change import Files
from inoc.store.files import NODE, node_attributes, parse_node
from inoc.store.lock import lock_path
from inoc.store.schema import SCHEMA, SCHEMA_VERSION

T = TypeVar("T")


def replaced_path(store: Path) -> Path:
    """Where an import puts the store it replaces, until the new one is in its place."""
    return store.with_name(f".{store.name}.replaced")


def read_root(path: Path) -> dict[str, object]:
    """The verified attributes of a store's root; see docs/store.md."""
    files = Files(path)
    if not path.exists():
        if replaced_path(path).exists():
            raise BadInput(
                f"{path}: an import was killed while it replaced this store; the old one is {replaced_path(path)}. "
                f"Fix: run the import again, or rename the old one to {path.name}."
            )
        raise BadInput(f"{path}: no such store. Fix: make one with `inoc import` or `inoc score`.")
    if not files.exists(NODE):
        raise BadInput(f"{path} is not an inoc store: it has no {NODE}. Fix: name the directory of a store.")
    content = files.read(NODE)
    try:
        raw = json.loads(content)
        attributes = dict(raw["attributes"])
    except (ValueError, KeyError, TypeError, RecursionError):
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
    return node_attributes(parse_node(content, str(path)))


def may_be_written(path: Path) -> bool:
    """Whether a process may be writing this store: its lock file is there, held or left behind by a kill."""
    return lock_path(path).exists()


def steady(path: Path, read: Callable[[], T], tries: int = 8) -> T:
    """Read something whose parts must agree; try again once, and more often where a writer may be changing it."""
    for left in reversed(range(tries)):
        try:
            return read()
        except (BrokenStore, OSError, IndexError, ValueError, KeyError) as error:
            if left and (left == tries - 1 or may_be_written(path)):
                time.sleep(0.02)
                continue
            if isinstance(error, BrokenStore):
                raise
            raise BrokenStore(
                f"{path}: its parts contradict each other ({error}). Fix: see what `inoc validate` lists."
            ) from error
    raise AssertionError("unreachable")
