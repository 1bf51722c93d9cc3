"""Cells with a marker: data are written and flushed first, then a checksum of their chunks. Marked implies right."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from inoc.atomic import flush, write_atomic
from inoc.errors import BrokenStore, InocError
from inoc.store import v1
from inoc.store.chunks import ChunkError, cell_chunks, chunk_name, number_chunk
from inoc.store.files import ARRAYS, NODE, group_document, node_bytes, step
from inoc.store.reader import Reader
from inoc.store.schema import NESTED, PENDING, marked
from inoc.store.seals import Cell, cell_crc, members_of
from inoc.store.staging import settled


class Part(NamedTuple):
    """What a cell holds in one variable. `step` names the write step."""

    variable: str
    key: tuple[int | slice, ...]
    values: np.ndarray
    step: str

    @property
    def lead(self) -> tuple[int, ...]:
        """The leading indices of its chunks."""
        return tuple(i for i in self.key if isinstance(i, int))


def put_marked(store: Reader, group: str, marker: str, cell: Cell, parts: Sequence[Part]) -> None:
    """Write the parts of a cell, then its marker; nothing where both are there already.

    Raises:
        InocError: What was written reads back differently; the cell stays pending.
    """
    stored = int(store.unmarked(f"{group}/{marker}")[cell])
    if stored != PENDING and _marker(store, group, marker, cell) == stored and _hold(store, group, parts):
        return
    _unsettle(store, group, marker)
    if stored != PENDING:
        _mark(store.path / group / marker, cell, PENDING)
        step("unmarked")
    for part in parts:
        _put(store, f"{group}/{part.variable}", part)
        step(part.step)
    for part in parts:
        _flush_chunks(store.path / group / part.variable, part.lead)
    if not _hold(store, group, parts):
        raise InocError(f"/{group}: what was written to {list(cell)} reads back differently. Fix: check the disk.")
    _mark(store.path / group / marker, cell, _marker(store, group, marker, cell))
    step("marker")


def _put(store: Reader, where: str, part: Part) -> None:
    """Write the chunks of a part, each beside its place and then renamed; nothing is flushed yet."""
    for index, content in cell_chunks(store.layout(where), part.lead, part.values):
        path = store.path / chunk_name(where, index)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.partial")
        beside.write_bytes(content)
        beside.replace(path)


def _mark(variable: Path, cell: Cell, value: int) -> None:
    """Write a marker, flushed before it gets its name: after a power cut an empty one would read as damage."""
    write_atomic(variable.joinpath("c", *map(str, cell)), number_chunk(np.array(value, "<i8")))
    _flush_chunks(variable, cell)


def _marker(store: Reader, group: str, marker: str, cell: Cell) -> int:
    """The marker that the chunks on the disk ask for."""
    return cell_crc(store.files, store.members(group, marker), cell)


def _hold(store: Reader, group: str, parts: Sequence[Part]) -> bool:
    """Whether the disk holds these values."""
    for part in parts:
        try:
            stored = store.unmarked(f"{group}/{part.variable}")[part.key]
        except BrokenStore:
            return False
        if not np.array_equal(stored, part.values, equal_nan=part.values.dtype.kind == "f"):
            return False
    return True


def _flush_chunks(variable: Path, index: Sequence[int]) -> None:
    """Flush the chunks under a leading index, and every directory that names them."""
    place = variable.joinpath("c", *map(str, index))
    for path in (*place.rglob("*"), place, *place.parents):
        if path.exists():
            flush(path)
        if path == variable:
            return


def _unsettle(store: Reader, group: str, marker: str) -> None:
    """From now on until the writer closes the store a marker of the group may change."""
    listed = cast(dict[str, list[int]], store.node(group)[ARRAYS])
    if listed[marker][1] != PENDING:
        if store.complete:
            write_atomic(store.path / NODE, node_bytes(group_document({**store.root, "complete": False})))
            step("root")
        _list(store, group, {marker: [listed[marker][0], PENDING]})


def settle(store: Reader) -> None:
    """Record the markers that changed, so that a lost one is told from one that was never written."""
    for kind in store.subgroups(""):
        for group in (f"{kind}/{name}" for name in store.subgroups(kind)) if kind in NESTED else (kind,):
            listed = cast(dict[str, list[int]], store.node(group)[ARRAYS])
            changed = [name for name in marked(group) if listed[name][1] == PENDING]
            for name in changed:
                _flush_chunks(store.path / group / name, ())
            if changed:
                _list(store, group, dict(settled(store.path, group, changed)))


def _list(store: Reader, group: str, changed: dict[str, list[int]]) -> None:
    """Change what a group lists of some variables."""
    node = store.node(group)
    listed = {**cast(dict[str, list[int]], node[ARRAYS]), **changed}
    write_atomic(store.path / group / NODE, node_bytes(group_document({**node, ARRAYS: dict(sorted(listed.items()))})))
    step("listed")


class CellValues(NamedTuple):
    """A cell of a marker as a check sees it: its values by variable where it is done and sound, or what is wrong."""

    cell: Cell
    values: dict[str, np.ndarray]
    wrong: BrokenStore | None = None


def read_cells(store: Reader, group: str, marker: str) -> Iterator[CellValues]:
    """Every cell of a marker that is marked done, read with every check there is, one at a time."""
    marks = store.unmarked(f"{group}/{marker}")
    members = store.members(group, marker)
    handles = {member.where: store.unmarked(member.where) for member in members}
    for cell in np.ndindex(*marks.shape):
        try:
            mark = int(marks[cell])
            if mark == PENDING:
                continue
            present = members_of(members, cell)
            values = {m.where.rpartition("/")[2]: handles[m.where][m.lead(cell)] for m in present}
            of_values = v1.is_v1(store.root)
            found = v1.values_crc(values.values()) if of_values else cell_crc(store.files, present, cell)
            if found != mark:
                raise BrokenStore(f"/{present[0].where}: the data of cell {list(cell)} differ from their CRC marker.")
            yield CellValues(cell, values)
        except ChunkError as error:
            yield CellValues(cell, {}, BrokenStore(f"/{members[0].where}: cell {list(cell)}: {error}."))
        except BrokenStore as error:
            yield CellValues(cell, {}, error)


def forget(store: Reader, group: str, marker: str, cells: Sequence[Cell]) -> None:
    """Make cells pending again whose data or marker are damaged."""
    _unsettle(store, group, marker)
    place = store.path / group / marker
    for cell in cells:
        _mark(place, cell, PENDING)  # the marker may itself be what is damaged
