"""Decoding stored chunks without zarr: read a file, verify its CRC-32C, place its values.

Schema v1 stores numbers as plain little-endian bytes and texts as vlen-utf8, each followed by a CRC-32C, in regular
chunks: a Zarr v3 array that any Zarr library reads, and simple enough to read with NumPy alone. Measured at
48 prompts x 2 x 352 000 tokens on two cores: 28 ms against 105 ms (zarr) and 60 ms (zarrs), and no 0.25 s import.
"""

import math
import os
import struct
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import NamedTuple, cast

import google_crc32c
import numpy as np

from inoc.errors import BrokenStore
from inoc.store.files import read_node

CRC_BYTES = 4
NUMBER_CODECS = ["bytes", "crc32c"]
TEXT_CODECS = ["vlen-utf8", "crc32c"]


class Layout(NamedTuple):
    """Shape, chunks and type of an array, from its metadata. dtype is "string" for texts."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str
    dims: tuple[str, ...]

    @property
    def numpy(self) -> np.dtype:
        return np.dtype(object) if self.dtype == "string" else np.dtype(self.dtype).newbyteorder("<")

    @property
    def fill(self) -> float | int | str:
        """What an unwritten cell reads as."""
        return "" if self.dtype == "string" else float("nan") if self.dtype.startswith("float") else -1

    @property
    def chunk_bytes(self) -> int:
        return math.prod(self.chunks) * self.numpy.itemsize


def read_layout(directory: Path, where: str) -> Layout:
    """The verified layout of an array; BrokenStore where its metadata are damaged or not schema v1."""
    document = read_node(directory, f"/{where}")
    try:
        codecs = [c["name"] for c in cast(list[dict[str, str]], document["codecs"])]
        grid = cast(dict[str, dict[str, list[int]]], document["chunk_grid"])
        layout = Layout(
            tuple(cast(list[int], document["shape"])),
            tuple(grid["configuration"]["chunk_shape"]),
            cast(str, document["data_type"]),
            tuple(cast(list[str], document.get("dimension_names") or [])),
        )
        right = codecs == (TEXT_CODECS if layout.dtype == "string" else NUMBER_CODECS)
        right = right and len(layout.shape) == len(layout.chunks) == len(layout.dims) and layout.chunk_bytes > 0
    except (KeyError, TypeError):
        right, layout = False, Layout((), (), "", ())
    if not right:
        raise BrokenStore(
            f"/{where}: not an array of schema v1 (a group, or rechunked, or recompressed). "
            "Fix: restore the store from a copy."
        )
    return layout


def number_chunk(values: np.ndarray) -> bytes:
    """The bytes of a chunk of little-endian numbers."""
    body = values.tobytes()
    return body + struct.pack("<I", _crc(body))


def _crc(data: bytes | np.ndarray) -> int:
    return cast(int, google_crc32c.value(data))  # pyright: ignore[reportUnknownMemberType]


def chunk_path(directory: Path, index: Sequence[int]) -> Path:
    """The file of a chunk."""
    return directory.joinpath("c", *(str(i) for i in index))


class ChunkError(Exception):
    """A chunk file that is torn, flipped or of wrong size; the message says which."""


def read_chunk(path: Path, layout: Layout) -> np.ndarray:
    """All values of a chunk, padding included, flat; ChunkError where size or checksum are wrong."""
    data = path.read_bytes()
    body, crc = data[:-CRC_BYTES], data[-CRC_BYTES:]
    if len(crc) < CRC_BYTES or _crc(body) != struct.unpack("<I", crc)[0]:
        raise ChunkError(f"checksum mismatch in {path.name}")
    if layout.dtype == "string":
        try:
            return _texts(body, math.prod(layout.chunks), path)
        except (struct.error, UnicodeDecodeError, MemoryError) as error:
            raise ChunkError(f"{path.name} does not decode as texts") from error
    if len(body) != layout.chunk_bytes:
        raise ChunkError(f"{len(body)} bytes in {path.name}, {layout.chunk_bytes} expected")
    return np.frombuffer(body, layout.numpy)


def _texts(raw: bytes, n: int, path: Path) -> np.ndarray:
    out = np.empty(n, dtype=object)
    (count,) = struct.unpack_from("<I", raw, 0)
    if count != n:
        raise ChunkError(f"{count} texts in {path.name}, {n} expected")
    at = 4
    for i in range(n):
        (size,) = struct.unpack_from("<I", raw, at)
        out[i] = raw[at + 4 : at + 4 + size].decode()
        at += 4 + size
    return out


def read_run_of_values(path: Path, layout: Layout, start: int, out: np.ndarray, verified: set[str]) -> None:
    """Fill contiguous `out` with the values of a chunk from flat position `start` on.

    A chunk is read whole and verified the first time, its name then put into `verified`; later only what is asked for
    is read.
    """
    name = str(path)
    whole = start == 0 and out.nbytes == layout.chunk_bytes
    with path.open("rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size != layout.chunk_bytes + CRC_BYTES:
            raise ChunkError(f"wrong size of {path.name}")
        if whole or name in verified:
            file.seek(start * layout.numpy.itemsize)
            _fill(file, out)
            if whole and _crc(out) != struct.unpack("<I", file.read(CRC_BYTES))[0]:
                raise ChunkError(f"checksum mismatch in {path.name}")
        else:
            out[...] = read_chunk(path, layout)[start : start + out.size]
    verified.add(name)


def _fill(file: FileIO, out: np.ndarray) -> None:
    view = memoryview(cast(bytes, out)).cast("B")  # an array offers its buffer; its type stub does not say so
    done = 0
    while done < len(view):
        n = file.readinto(view[done:])
        if not n:
            raise ChunkError("a chunk ends early")
        done += n


Selector = int | slice | np.ndarray


class Piece(NamedTuple):
    """The part of a selection that lies in one chunk along one dim."""

    chunk: int
    inner: slice | np.ndarray
    outer: slice | np.ndarray


def pieces(selector: Selector, size: int, chunk: int) -> tuple[list[Piece], int]:
    """Split a selection along one dim by chunks; also how many it selects."""
    if isinstance(selector, slice):
        start, stop, stride = selector.indices(size)
        if stride == 1:
            found = [
                Piece(c, slice(a - c * chunk, b - c * chunk), slice(a - start, b - start))
                for c in range(start // chunk, -(-stop // chunk))
                if (a := max(start, c * chunk)) < (b := min(stop, (c + 1) * chunk))
            ]
            return found, max(0, stop - start)
        selector = np.arange(start, stop, stride)
    index = np.atleast_1d(np.asarray(selector, dtype=np.int64))
    if index.size and (index.min() < -size or index.max() >= size):
        raise IndexError(f"index {index.max() if index.max() >= size else index.min()} is out of bounds for {size}")
    index = np.where(index < 0, index + size, index)
    return [
        Piece(int(c), index[at] - int(c) * chunk, at)
        for c in np.unique(index // chunk)
        for at in (np.flatnonzero(index // chunk == c),)
    ], index.size
