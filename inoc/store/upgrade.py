"""Bringing a store of schema v1 to the present one: one change that happens whole or not at all."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inoc.errors import BadInput
from inoc.store import v1
from inoc.store.change import clear_staged, finish_interrupted, refuse_links
from inoc.store.files import ORDER, read_bytes
from inoc.store.lock import Lock
from inoc.store.marks import read_cells
from inoc.store.placing import put_in_place
from inoc.store.reader import Reader
from inoc.store.schema import GROUPS, NESTED, PENDING, SCHEMA_VERSION, marked, spec_of
from inoc.store.seals import cell_crc
from inoc.store.staging import Transaction, transaction
from inoc.store.tables import stage_columns
from inoc.store.writer import StoreWriter, disk_errors


@dataclass
class UpgradeSummary:
    """What an upgrade did: the store, the schema it came from and has now, and a sentence for each damaged cell, which
    is pending from now on."""

    store: str
    source: str
    before: int
    after: int
    notes: list[str] = field(default_factory=list[str])


def upgrade(source: Path, target: Path | None = None) -> UpgradeSummary:
    """Rewrite a store in the present schema, at `target` or else in its place. What it holds stays bit for bit; one of
    the present schema stays as it is.

    Raises:
        BadInput: There is no store, another process writes it, or the target exists.
        BrokenStore: A table of the store is damaged; nothing is changed.
    """
    before, notes = Reader(source).schema_version, list[str]()
    if target is None:
        with disk_errors(source), Lock(source.resolve()):
            notes += _rewrite(source.resolve())
        _settle(source)
        return UpgradeSummary(str(source), str(source), before, SCHEMA_VERSION, notes)
    if target.exists():
        raise BadInput(f"{target} exists already. Fix: choose another place with -o.")

    def fill(place: Path) -> None:
        _copy(source, place)
        notes.extend(_rewrite(place))
        _settle(place)

    put_in_place(target, fill)
    return UpgradeSummary(str(target), str(source), before, SCHEMA_VERSION, notes)


def _copy(source: Path, place: Path) -> None:
    """Copy a store of regular files."""
    refuse_links(source)
    try:
        shutil.copytree(source, place, copy_function=lambda old, new: Path(new).write_bytes(read_bytes(Path(old))))
    except shutil.Error as error:
        name, _, why = error.args[0][0]
        raise BadInput(f"{name} cannot be copied ({why}). Fix: see what `inoc validate {source}` lists.") from error


def _rewrite(path: Path) -> list[str]:
    """Rewrite a store whose lock is held; a sentence for each damaged cell."""
    finish_interrupted(path)
    clear_staged(path)
    store, notes = Reader(path), list[str]()
    if not v1.is_v1(store.root):
        return notes
    kinds = [kind for kind in GROUPS if store.has(kind)]
    with transaction(path) as change:
        now = {"identity": dict(store.identity), "schema_version": SCHEMA_VERSION, ORDER: kinds}
        change.group("", {**store.root, **now})
        for kind in kinds:
            if kind in NESTED:
                change.group(kind, store.node(kind))
            for group in [f"{kind}/{name}" for name in store.subgroups(kind)] if kind in NESTED else [kind]:
                notes += _group(store, change, group)
    return notes


def _settle(path: Path) -> None:
    """Close the store as its writer does, which records its markers and whether it is complete."""
    store = Reader(path)
    StoreWriter.open(path, identity=store.identity, experiment=store.experiment, provenance={}).close()


def _group(store: Reader, change: Transaction, group: str) -> list[str]:
    """Stage the lists of contents of a group and its markers; its other files stay as they are."""
    change.group(group, store.attributes(group))
    for name in store.variables(group):
        if name not in marked(group):
            if not spec_of(f"{group}/{name}").marker:
                store.read(f"{group}/{name}")  # what is damaged must not be listed as right
            change.keep(f"{group}/{name}")
    if group.startswith("runs/") and not store.has(f"{group}/question"):
        questions, files = store.answered(group.partition("/")[2])
        stage_columns(change, group, {"question": questions, "file": files})
    return [note for marker in marked(group) for note in _remark(store, change, group, marker)]


def _remark(store: Reader, change: Transaction, group: str, marker: str) -> list[str]:
    """Put the markers of the present schema; those of damaged cells are pending and named."""
    where, members, notes = f"{group}/{marker}", store.members(group, marker), list[str]()
    marks = np.full(store.shape(where), PENDING, np.int64)
    for read in read_cells(store, group, marker):
        if read.wrong is None:
            marks[read.cell] = cell_crc(store.files, members, read.cell)
        else:
            notes.append(f"{read.wrong} It is pending again.")
    change.cells(where, marks, spec_of(where))
    return notes
