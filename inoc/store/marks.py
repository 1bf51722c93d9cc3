"""Cells with a marker: their data are written and flushed first, then the CRC-32 of the data. Marked implies right."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from inoc.atomic import flush, write_atomic
from inoc.errors import BrokenStore
from inoc.store.chunks import number_chunk
from inoc.store.files import open_for_writing, step
from inoc.store.reader import Reader
from inoc.store.schema import PENDING

Cell = tuple[int, ...]
"""Indices of a marker: (prefix type, prompt), (step, condition), or () for the default of a set."""
DONE = np.ones((), dtype=bool)


class Part(NamedTuple):
    """What a cell holds in one variable. `step` names the write step."""

    variable: str
    key: tuple[int | slice, ...]
    values: np.ndarray
    step: str


def crc_of(*parts: np.ndarray | str) -> int:
    """CRC-32 (as in zlib) over the bytes of arrays and texts, one after another."""
    crc = 0
    for part in parts:
        crc = zlib.crc32(part.encode() if isinstance(part, str) else np.ascontiguousarray(part).tobytes(), crc)
    return crc


def put_marked(store: Reader, group: str, marker: str, cell: Cell, crc: int, parts: Sequence[Part]) -> None:
    """Write the parts of a cell, then its marker; nothing where both are there already."""
    marks = open_for_writing(store.path / group / marker)
    stored = int(cast(int, marks[cell]))
    if stored == crc and all(_holds(store, group, part) for part in parts):
        return
    if stored != PENDING:
        _mark(store.path / group / marker, cell, PENDING)
        step("unmarked")
    for part in parts:
        open_for_writing(store.path / group / part.variable)[part.key] = part.values
        step(part.step)
    for part in parts:
        _flush_chunks(store.path / group / part.variable, [i for i in part.key if isinstance(i, int)])
    _mark(store.path / group / marker, cell, crc)
    step("marker")


def _mark(variable: Path, cell: Cell, value: int) -> None:
    """Write a marker, flushed before it gets its name: after a power cut an empty one would read as damage."""
    write_atomic(variable.joinpath("c", *map(str, cell)), number_chunk(np.array(value, "<i8")))
    _flush_chunks(variable, cell)


def _holds(store: Reader, group: str, part: Part) -> bool:
    try:
        stored = store.array(f"{group}/{part.variable}", DONE)[part.key]
    except BrokenStore:
        return False
    return np.array_equal(stored, part.values, equal_nan=part.values.dtype.kind == "f")


def _flush_chunks(variable: Path, index: Sequence[int]) -> None:
    """Flush the chunks under a leading index, and every directory that names them."""
    place = variable.joinpath("c", *map(str, index))
    for path in (*place.rglob("*"), place, *place.parents):
        if path.exists():
            flush(path)
        if path == variable:
            return


def read_marked(store: Reader, group: str, marker: str, cell: Cell) -> int | None:
    """The marker of a cell; None where it is pending."""
    stored = int(store.array(f"{group}/{marker}")[cell])
    return None if stored == PENDING else stored
