"""The nodes of a store as files: `zarr.json` with a checksum of its own, and arrays with checksummed chunks.

Every `zarr.json` carries `metadata_crc32` among its attributes, the CRC-32 of the rest of the document, because Zarr
checks chunks only. That of a group lists what the group contains: its subgroups in `order`, its variables in `arrays`.
"""

import json
import math
import os
import stat
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from inoc.errors import BrokenStore
from inoc.hashing import canonical_json
from inoc.store.schema import VariableSpec

Attributes = Mapping[str, object]
NODE = "zarr.json"
CRC, ORDER, ARRAYS = "metadata_crc32", "order", "arrays"
CHUNK_BYTES = 1 << 20
STRINGS_PER_CHUNK = 4096
_TEXT: Attributes = {"name": "vlen-utf8", "configuration": {}}
_LITTLE_ENDIAN: Attributes = {"name": "bytes", "configuration": {"endian": "little"}}
NODE_BYTES = 1 << 28
"""No zarr.json is larger."""


after_step: Callable[[str], None] | None = None
"""Called with a name after every write step; only tests set it (to kill the process there)."""


def step(name: str) -> None:
    """Mark the end of a write step."""
    if after_step is not None:
        after_step(name)


def open_regular(path: str, flags: int) -> int:
    """An opener for `open` that does not wait for what is not a file (a pipe would be waited for)."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_bytes(path: Path) -> bytes:
    """A whole file; OSError where it is not a regular one."""
    with open(path, "rb", buffering=0, opener=open_regular) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(22, "not a regular file", str(path))
        return file.readall()


def node_crc(document: Attributes) -> int:
    """The checksum that a zarr.json carries."""
    attributes = dict(cast(Attributes, document.get("attributes") or {}))
    attributes.pop(CRC, None)
    return zlib.crc32(canonical_json({**document, "attributes": attributes}).encode())


def node_bytes(document: Attributes) -> bytes:
    """The text of a zarr.json with its own checksum filled in."""
    attributes = {**cast(Attributes, document.get("attributes") or {})}
    attributes[CRC] = node_crc(document)
    return (json.dumps({**document, "attributes": attributes}, indent=1, ensure_ascii=False) + "\n").encode()


def parse_node(raw: bytes, where: str) -> dict[str, object]:
    """The verified metadata in a zarr.json; BrokenStore, naming `where`, where they are damaged."""
    try:
        document = json.loads(raw if len(raw) <= NODE_BYTES else b"")
        right = document["attributes"][CRC] == node_crc(document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        right, document = False, {}
    if not right:
        raise BrokenStore(
            f"{where}: its {NODE} is damaged (checksum mismatch). Fix: restore the store from a copy or make it again."
        )
    return cast(dict[str, object], document)


def read_node(directory: Path, where: str) -> dict[str, object]:
    """The verified metadata of one group or array; BrokenStore, naming `where`, where they are damaged."""
    return parse_node(read_bytes(directory / NODE), where)


def node_attributes(document: Attributes) -> dict[str, object]:
    """The attributes of a node without the checksum."""
    return {k: v for k, v in cast(Attributes, document.get("attributes") or {}).items() if k != CRC}


def group_document(attributes: Attributes) -> dict[str, object]:
    """The zarr.json of a group."""
    return {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}


def chunk_shape(shape: Sequence[int], dtype: str, lead: int = 0, last: int | None = None) -> tuple[int, ...]:
    """Chunks of one index along the first `lead` dims; the others whole, the last one up to `last` or about 1 MiB."""
    if len(shape) == lead:
        return (1,) * lead
    whole = [max(1, n) for n in shape[lead:-1]]
    if last is None:
        size = STRINGS_PER_CHUNK if dtype == "string" else CHUNK_BYTES // np.dtype(dtype).itemsize
        last = size // math.prod(whole)
    return (*(1,) * lead, *whole, max(1, min(shape[-1], last)))


def array_document(shape: Sequence[int], spec: VariableSpec, chunks: Sequence[int]) -> dict[str, object]:
    """The zarr.json of an array: checksummed chunks, named dims; unwritten cells read as NaN, -1 or ""."""
    text = spec.dtype == "string"
    kind = "" if text else np.dtype(spec.dtype).kind
    return {
        "shape": list(shape),
        "data_type": spec.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": {"f": "NaN", "i": -1}.get(kind, ""),
        "codecs": [_TEXT if text else _LITTLE_ENDIAN, {"name": "crc32c"}],
        "attributes": dict(spec.attributes),
        **({"dimension_names": list(spec.dims)} if shape else {}),
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }
