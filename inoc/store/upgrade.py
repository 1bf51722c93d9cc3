"""Stores of earlier schemas: readable as they are, and brought to the present one before they are written."""

from pathlib import Path

import numpy as np

from inoc.store.marks import read_cells
from inoc.store.reader import Reader
from inoc.store.schema import GROUPS, NESTED, PENDING, SCHEMA_VERSION, marked, spec_of
from inoc.store.seals import cell_crc
from inoc.store.staging import Transaction, transaction


def upgrade(path: Path) -> list[str]:
    """Bring a store of schema v1 to v2, all at once: lists of contents, and markers over the checksums of chunks.

    Args:
        path: The store, whose lock is held.

    Returns:
        A sentence for the user, and one for each damaged cell, which is pending from now on; none for a store of the
        present schema.
    """
    store = Reader(path)
    notes: list[str] = []
    if store.schema_version == SCHEMA_VERSION:
        return notes
    kinds = [kind for kind in GROUPS if store.has(kind)]
    with transaction(path) as change:
        for kind in kinds:
            if kind in NESTED:
                change.group(kind, {**store.attributes(kind), "order": list(store.subgroups(kind))})
            for group in [f"{kind}/{name}" for name in store.subgroups(kind)] if kind in NESTED else [kind]:
                change.group(group, store.attributes(group))
                for name in store.variables(group):
                    if name not in marked(group):
                        change.keep(f"{group}/{name}")
                for marker in marked(group):
                    notes += _remark(store, change, group, marker)
        change.group("", {**store.root, "schema_version": SCHEMA_VERSION, "complete": False, "order": kinds})
    return [f"{path}: brought from schema v1 to v{SCHEMA_VERSION}; older versions of inoc cannot read it.", *notes]


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
