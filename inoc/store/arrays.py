"""Arrays of a store: slices like NumPy, every chunk's checksum verified, units that are not done read as NaN."""

from collections.abc import Sequence
from itertools import product
from types import EllipsisType
from typing import NamedTuple, cast

import numpy as np
from jaxtyping import Bool, Float64, Int64

from inoc.errors import BrokenStore
from inoc.store.change import Files
from inoc.store.chunks import ChunkError, Layout, Piece, Selector, chunk_name, pieces, read_chunk, read_run_of_values
from inoc.store.seals import Seal, trailer

Index = int | np.integer | slice | EllipsisType | Sequence[int] | np.ndarray
Key = Index | tuple[Index, ...]


class StoredArray:
    """One array of a store as a handle: `shape`, `dtype`, `chunks`, `dims`; slicing reads and returns NumPy arrays.

    Lists and arrays select along their own dim (orthogonal indexing). May be read from several threads. A chunk is
    read whole and verified the first time a handle needs it, by its own checksum and by the seal that says which
    checksums belong together; where the handle needs a part of it again, only that part is read.

    Args:
        files: The files of the store.
        where: The variable's path in the store, such as "logprobs/train/prefixed".
        layout: Its shape, chunks and type.
        done: Over the leading dims, which cells have data that count; the others read as NaN. All, where None.
        seal: What the checksums of its chunks must agree with; None where nothing is recorded.
        sparse: Whether a chunk that is not there is one that was never written.

    Raises:
        BrokenStore: When sliced: a chunk is missing, torn, fails its checksum or is not the one that was written;
            names the variable and the chunk.
    """

    def __init__(
        self,
        files: Files,
        where: str,
        layout: Layout,
        done: Bool[np.ndarray, "..."] | None = None,
        seal: Seal | None = None,
        sparse: bool = False,
    ) -> None:
        self.where = where
        self._files, self._layout, self._done, self._seal, self._sparse = files, layout, done, seal, sparse
        self._verified: dict[tuple[int, ...], bytes] = {}
        self._sealed: dict[tuple[int, ...], dict[tuple[int, ...], bytes]] = {}
        self.shape = self._layout.shape
        self.chunks = self._layout.chunks
        self.dims = self._layout.dims
        self.dtype = self._layout.numpy
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Key) -> np.ndarray:
        selectors = _full_key(key, self.ndim)
        split = [pieces(s, n, c) for s, n, c in zip(selectors, self.shape, self.chunks, strict=True)]
        try:
            out = np.empty([n for _, n in split], self.dtype)
        except (MemoryError, ValueError):
            raise self._broken(f"it is larger than memory {self.shape}") from None
        seen: dict[tuple[int, ...], bytes] = {}
        for parts in product(*(found for found, _ in split)):
            self._place(parts, out, seen)
        self._check_seal(seen)
        self._verified |= seen
        return np.asarray(out[tuple(0 if isinstance(s, int) else slice(None) for s in selectors)])

    def _place(self, parts: tuple[Piece, ...], out: np.ndarray, seen: dict[tuple[int, ...], bytes]) -> None:
        """Read one chunk's share of a selection into `out`; note its checksum."""
        index = tuple(p.chunk for p in parts)
        target: tuple[slice | np.ndarray, ...] = tuple(p.outer for p in parts)
        basic = all(isinstance(p.inner, slice) for p in parts)
        at = target if basic else _crossed(target, out.shape)
        if self._done is not None and not self._done[index[: self._done.ndim]]:
            out[at] = self._layout.fill
            return
        paths = self._files.paths(chunk_name(self.where, index))
        try:
            if parts and basic and self._is_row(parts) and out[at].flags.c_contiguous:
                start = cast(slice, parts[-1].inner).start
                crc = read_run_of_values(paths, self._layout, start, out[at].reshape(-1), index in self._verified)
            else:
                flat, crc = read_chunk(paths, self._layout)
                values, inner = flat.reshape(self.chunks), tuple(p.inner for p in parts)
                out[at] = values[inner if basic else _crossed(inner, self.chunks)]
        except FileNotFoundError:
            if not self._sparse:
                raise self._broken(f"chunk {_name(index)} is missing") from None
            out[at], crc = self._layout.fill, trailer(self._files, self.where, index)
        except ChunkError as error:
            raise self._broken(str(error)) from error
        except OSError as error:
            raise self._broken(f"chunk {_name(index)} cannot be read ({error.strerror})") from error
        if crc is not None:
            seen[index] = crc

    def _check_seal(self, seen: dict[tuple[int, ...], bytes]) -> None:
        """Compare the checksums of the chunks just read, and of those that belong to them, with the seal."""
        seal = self._seal
        if seal is None:
            return
        for index, crc in seen.items():
            cell = index[: seal.lead]
            known = self._sealed.get(cell)
            if known is None:
                try:
                    known = {
                        i: seen[i] if i in seen else trailer(self._files, self.where, i)
                        for i in self._layout.indices(cell)
                    }
                    right = seal.agrees(cell, b"".join(known.values()))
                except ChunkError as error:
                    raise self._broken(str(error)) from error
                if not right:
                    what = f"the chunks of {_name(cell)}" if seal.lead else "its chunks"
                    raise self._broken(f"{what} differ from their CRC marker")
                self._sealed[cell] = known
            if known[index] != crc:
                raise self._broken(f"chunk {_name(index)} differs from its CRC marker")

    def _is_row(self, parts: tuple[Piece, ...]) -> bool:
        """Whether the chunk is one row of numbers, so that its share of a selection is one run of bytes."""
        return self.dtype != object and all(c == 1 for c in self.chunks[: len(parts) - 1])

    def _broken(self, what: str) -> BrokenStore:
        return BrokenStore(f"/{self.where} is damaged: {what}. Fix: see what `inoc validate` lists.")

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype=dtype)

    def __repr__(self) -> str:
        return f"<StoredArray /{self.where} {self.shape} {self.dtype} chunks {self.chunks}>"


def _name(index: Sequence[int]) -> str:
    return "/".join(str(i) for i in index) or "0"


def _crossed(selectors: tuple[slice | np.ndarray, ...], shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Selectors as index arrays that select orthogonally."""
    return tuple(np.ix_(*(np.arange(n)[s] for s, n in zip(selectors, shape, strict=True))))


def _full_key(key: Key, ndim: int) -> tuple[Selector, ...]:
    """One selector per dim; Ellipsis and missing dims filled in."""
    given = key if isinstance(key, tuple) else (key,)
    dots = [i for i, k in enumerate(given) if k is Ellipsis]
    if dots:
        gap = (slice(None),) * (ndim - len(given) + 1)
        given = (*given[: dots[0]], *gap, *given[dots[0] + 1 :])
    if len(given) > ndim:
        raise IndexError(f"{len(given)} indices for {ndim} dims")
    full: list[Selector] = []
    for k in (*given, *(slice(None) for _ in range(ndim - len(given)))):
        if isinstance(k, slice):
            full.append(k)
        elif isinstance(k, int | np.integer):
            full.append(int(k))
        else:
            picked = np.asarray(k)
            full.append(np.flatnonzero(picked) if picked.dtype == bool else picked.astype(np.int64))
    return tuple(full)


class Axes(NamedTuple):
    """Labels and markers of the log-probabilities of a set."""

    prefix_types: tuple[str, ...]
    prompts: tuple[str, ...]
    example_ids: tuple[str, ...]
    done: Bool[np.ndarray, "prefix_type prompt"]
    default_done: bool


class TokenArrays(NamedTuple):
    """Token-level log-probabilities of one completion set, in nats; NaN where missing or not done."""

    default: StoredArray
    """[token]"""
    prefixed: StoredArray
    """[prefix_type, prompt, token]"""
    row_size: Int64[np.ndarray, " example"]
    prefix_types: tuple[str, ...]
    prompts: tuple[str, ...]
    example_ids: tuple[str, ...]
    done: Bool[np.ndarray, "prefix_type prompt"]
    default_done: bool


class ExampleArrays(NamedTuple):
    """Mean log-probability per completion token of each example, in nats; NaN where missing or not done."""

    default: Float64[np.ndarray, " example"]
    prefixed: Float64[np.ndarray, "prefix_type prompt example"]
    prefix_types: tuple[str, ...]
    prompts: tuple[str, ...]
    example_ids: tuple[str, ...]
    done: Bool[np.ndarray, "prefix_type prompt"]
    default_done: bool
