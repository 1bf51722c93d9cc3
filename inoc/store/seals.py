"""Which checksums belong together: a chunk that is sound but old, or another's, is told by what was recorded of it.

A chunk ends with 4 bytes of checksum. Of a variable that is written whole the group's zarr.json records one checksum
over those of its chunks. Of a variable that is written cell by cell the marker of the cell does: it is a checksum over
those of all chunks of the cell, variable by variable. Comparing reads 4 bytes of each chunk.
"""

import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from inoc.store.change import Files
from inoc.store.chunks import Layout, chunk_name, read_trailer

Cell = tuple[int, ...]
"""Indices of a marker: (prefix type, prompt), (step, condition), or () for the default of a set."""


def trailer(files: Files, where: str, index: Sequence[int]) -> bytes:
    """The checksum that a chunk carries."""
    return read_trailer(files.paths(chunk_name(where, index)))


def trailers(files: Files, where: str, layout: Layout, lead: Sequence[int] = ()) -> bytes:
    """The checksums of the chunks whose indices begin with `lead`, one after another."""
    return b"".join(trailer(files, where, index) for index in layout.indices(lead))


def table_crc(where: str, found: bytes) -> int:
    """What a group records of a variable that is written whole; with its name, so that equal ones are told apart."""
    return zlib.crc32(found, zlib.crc32(where.encode()))


class TableSeal(NamedTuple):
    """The seal of a variable that is written whole."""

    where: str
    crc: int
    lead: int = 0

    def agrees(self, cell: Cell, found: bytes) -> bool:
        """Whether these are the checksums of all chunks."""
        return table_crc(self.where, found) == self.crc


class Member(NamedTuple):
    """A variable that a marker vouches for: `axes` are the marker's dims that lead it, `only` is the one index along
    the first that it belongs to (None: all)."""

    where: str
    layout: Layout
    axes: tuple[int, ...]
    only: int | None

    def lead(self, cell: Cell) -> Cell:
        """Its leading indices in a cell of the marker."""
        return tuple(cell[axis] for axis in self.axes)

    def cell(self, lead: Cell, ndim: int) -> Cell:
        """The marker's cell that its leading indices lie in."""
        found = [self.only or 0] * ndim
        for axis, i in zip(self.axes, lead, strict=True):
            found[axis] = i
        return tuple(found)


def members_of(members: Iterable[Member], cell: Cell) -> list[Member]:
    """The variables that hold something of a cell."""
    return [member for member in members if member.only is None or member.only == cell[0]]


def cell_crc(files: Files, members: Sequence[Member], cell: Cell) -> int:
    """The marker of a cell from the chunks that are there: data written whole have the marker that is stored."""
    found = (trailers(files, m.where, m.layout, m.lead(cell)) for m in members_of(members, cell))
    return zlib.crc32(b"".join(found))


class CellSeal(NamedTuple):
    """The seal of a variable that is written cell by cell: the marker, over all variables of a cell."""

    files: Files
    members: Sequence[Member]
    own: Member
    marks: Int64[np.ndarray, "..."]

    @property
    def lead(self) -> int:
        """The number of leading dims that tell cells apart."""
        return len(self.own.axes)

    def agrees(self, cell: Cell, found: bytes) -> bool:
        """Whether these are the checksums of the variable's chunks in the cell."""
        at, crc = self.own.cell(cell, self.marks.ndim), 0
        for member in members_of(self.members, at):
            mine = member is self.own
            crc = zlib.crc32(found if mine else trailers(self.files, member.where, member.layout, member.lead(at)), crc)
        return crc == int(self.marks[at])


Seal = TableSeal | CellSeal
"""What the checksums of a variable's chunks must agree with."""
