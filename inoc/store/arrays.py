"""Reading arrays: slices like NumPy, every chunk's checksum verified, units that are not done read as NaN."""

import os
from collections.abc import Sequence
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from inoc.errors import BrokenStore
from inoc.store.files import read_node

if TYPE_CHECKING:
    import zarr

Index = int | np.integer | slice | EllipsisType | Sequence[int] | np.ndarray
Key = Index | tuple[Index, ...]


def _open(directory: Path) -> "zarr.Array":
    import zarr
    from zarr.storage import LocalStore

    return zarr.open_array(LocalStore(directory, read_only=True), mode="r")


class StoredArray:
    """One array of a store as a handle: `shape`, `dtype`, `chunks`, and slicing that returns NumPy arrays.

    `done`, over the leading dims, marks the cells whose data count; the others read as NaN.

    Raises (when sliced):
        BrokenStore: a chunk fails its checksum or cannot be decoded; names the variable.
    """

    def __init__(self, root: Path, where: str, done: Bool[np.ndarray, "..."] | None = None) -> None:
        self.where = where
        read_node(root / where, f"/{where}")
        self._array = _open(root / where)
        self._done = done
        self.shape: tuple[int, ...] = self._array.shape
        self.chunks: tuple[int, ...] = self._array.chunks
        self.dtype: np.dtype = self._array.dtype
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Key) -> np.ndarray:
        full = _full_key(key, self.ndim)
        listed = any(isinstance(k, np.ndarray) for k in full)
        try:
            values = (
                self._array.get_orthogonal_selection(full)
                if listed
                else self._array.get_basic_selection(full)
            )
        except (IndexError, MemoryError):
            raise
        except Exception as error:  # codecs and pipelines raise what they like: ValueError, RuntimeError, ...
            raise BrokenStore(
                f"/{self.where}: a stored chunk is damaged ({str(error).splitlines()[0] if str(error) else error!r}); "
                "`inoc validate` lists what is broken."
            ) from error
        out = np.asarray(values)
        if self._done is not None and not self._done.all():
            out = np.array(out)
            out[~_leading(self._done, full)] = np.nan
        return out

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype=dtype)

    def __repr__(self) -> str:
        return f"<StoredArray /{self.where} {self.shape} {self.dtype} chunks {self.chunks}>"


def _full_key(key: Key, ndim: int) -> tuple[int | slice | np.ndarray, ...]:
    given = key if isinstance(key, tuple) else (key,)
    if any(k is Ellipsis for k in given):
        at = next(i for i, k in enumerate(given) if k is Ellipsis)
        given = (*given[:at], *(slice(None) for _ in range(ndim - len(given) + 1)), *given[at + 1 :])
    given = (*given, *(slice(None) for _ in range(ndim - len(given))))
    full: list[int | slice | np.ndarray] = []
    for k in given:
        if isinstance(k, slice):
            full.append(k)
        elif isinstance(k, int | np.integer):
            full.append(int(k))
        else:
            picked = np.asarray(k)
            full.append(np.flatnonzero(picked) if picked.dtype == bool else picked.astype(np.int64))
    return tuple(full)


def _leading(
    done: Bool[np.ndarray, "..."], key: tuple[int | slice | np.ndarray, ...]
) -> Bool[np.ndarray, "..."]:
    kept = done
    axis = 0
    for k in key[: done.ndim]:
        kept = kept[(slice(None),) * axis + (k,)]
        axis += 0 if isinstance(k, int) else 1
    return np.asarray(kept)


def read_all(root: Path, where: str) -> np.ndarray:
    """A whole array; strings come as an object array of str."""
    values = StoredArray(root, where)[...]
    return values if values.dtype.kind in "fiub" else values.astype(object)


def has_chunks(root: Path, where: str, prefix: tuple[int, ...], n: int) -> bool:
    """Whether all `n` chunk files along the last dim exist below the chunk index `prefix`."""
    directory = root.joinpath(where, "c", *(str(i) for i in prefix))
    try:
        names = {entry.name for entry in os.scandir(directory)}
    except OSError:
        return n == 0
    return all(str(i) in names for i in range(n))


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
