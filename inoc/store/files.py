"""The store as files: nodes with a checksum of their own, checksummed arrays, and all-or-nothing changes of many files.

Every `zarr.json` carries `metadata_crc32` among its attributes, the CRC-32 of the rest of the document, because Zarr
checks chunks only. Changes that touch several files (a new group, a grown dimension) are staged under `.staged`,
committed by one rename to `.commit`, then moved into place; whoever opens the store after a kill finishes the moves.
"""

import json
import math
import shutil
import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import EllipsisType
from typing import Protocol, cast, runtime_checkable

import numpy as np

from inoc.atomic import flush
from inoc.errors import BrokenStore
from inoc.hashing import canonical_json
from inoc.store.schema import VariableSpec

Attributes = Mapping[str, object]
NODE = "zarr.json"
CRC = "metadata_crc32"
STAGED, COMMIT = ".staged", ".commit"
CHUNK_BYTES = 1 << 20
STRINGS_PER_CHUNK = 4096


@runtime_checkable
class WritableArray(Protocol):
    """The part of a zarr array that writing needs."""

    def __getitem__(self, key: tuple[int | slice, ...] | EllipsisType) -> object: ...
    def __setitem__(self, key: tuple[int | slice, ...] | EllipsisType, value: np.ndarray | int) -> None: ...


after_step: Callable[[str], None] | None = None
"""Called with a name after every write step; only tests set it (to kill the process there)."""


def step(name: str) -> None:
    """Mark the end of a write step."""
    if after_step is not None:
        after_step(name)


def _node_crc(document: Attributes) -> int:
    attributes = dict(cast(Attributes, document.get("attributes") or {}))
    attributes.pop(CRC, None)
    return zlib.crc32(canonical_json({**document, "attributes": attributes}).encode())


def node_bytes(document: Attributes) -> bytes:
    """The text of a zarr.json with its own checksum filled in."""
    attributes = {**cast(Attributes, document.get("attributes") or {})}
    attributes[CRC] = _node_crc(document)
    return (json.dumps({**document, "attributes": attributes}, indent=1, ensure_ascii=False) + "\n").encode()


def read_node(directory: Path, where: str) -> dict[str, object]:
    """The verified metadata of one group or array; BrokenStore, naming `where`, where they are damaged."""
    raw = (directory / NODE).read_bytes()
    try:
        document = json.loads(raw)
        stored = document["attributes"][CRC]
        right = stored == _node_crc(document)
    except (ValueError, KeyError, TypeError, AttributeError):
        right, document = False, {}
    if not right:
        raise BrokenStore(
            f"{where}: its {NODE} is damaged (checksum mismatch). Fix: restore the store from a copy or make it again."
        )
    return cast(dict[str, object], document)


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


def create_array(directory: Path, shape: tuple[int, ...], spec: VariableSpec, chunks: tuple[int, ...]) -> WritableArray:
    """A new array at `directory`: checksummed chunks, named dims; unwritten cells read as NaN, -1 or ""."""
    import zarr
    from zarr.codecs import Crc32cCodec
    from zarr.storage import LocalStore

    kind = "string" if spec.dtype == "string" else np.dtype(spec.dtype).kind
    array = zarr.create_array(  # pyright: ignore[reportUnknownMemberType]
        LocalStore(directory),
        shape=shape,
        dtype=spec.dtype,
        chunks=chunks or "auto",
        compressors=(Crc32cCodec(),),
        fill_value={"f": float("nan"), "i": -1}.get(kind, ""),
        dimension_names=spec.dims,
        attributes=dict(spec.attributes),
        config={"write_empty_chunks": True},
        overwrite=True,
    )
    path = directory / NODE
    path.write_bytes(node_bytes(json.loads(path.read_bytes())))
    return cast(WritableArray, array)


def open_for_writing(directory: Path) -> WritableArray:
    """An existing array, writable, through zarr-python's own pipeline (its chunk writes are temp file + rename)."""
    import zarr
    from zarr.storage import LocalStore

    read_node(directory, str(directory))
    pipeline = "zarr.core.codec_pipeline.BatchedCodecPipeline"
    settings = {"codec_pipeline.path": pipeline, "array.write_empty_chunks": True}
    with zarr.config.set(settings):  # pyright: ignore[reportUnknownMemberType]
        array = zarr.open_array(LocalStore(directory), mode="r+")  # pyright: ignore[reportUnknownMemberType]
    return cast(WritableArray, array)


class Transaction:
    """Several files changed together. Stage nodes below `staged`, name what goes; nothing shows before `commit`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._new = root / STAGED / "new"
        self._gone: list[str] = []
        shutil.rmtree(root / STAGED, ignore_errors=True)
        self._new.mkdir(parents=True)

    def group(self, where: str, attributes: Attributes) -> None:
        """Put a group node, its attributes as given."""
        path = self._new / where / NODE
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(node_bytes(group_document(attributes)))

    def array(self, where: str, values: np.ndarray | Sequence[str], spec: VariableSpec) -> None:
        """Put an array with all its values; chunk files that only the array it replaces has are removed."""
        data = np.asarray(values, dtype=object if spec.dtype == "string" else spec.dtype)
        array = create_array(self._new / where, data.shape, spec, chunk_shape(data.shape, spec.dtype))
        if data.size:
            array[...] = data
        self._drop_unstaged(where)

    def empty_array(self, where: str, shape: tuple[int, ...], spec: VariableSpec, chunks: tuple[int, ...]) -> None:
        """Put an array of which no chunk is written yet."""
        create_array(self._new / where, shape, spec, chunks)

    def grow(self, where: str, shape: tuple[int, ...]) -> None:
        """Give an existing array a larger shape; its chunks stay as they are."""
        document = read_node(self.root / where, f"/{where}")
        path = self._new / where / NODE
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(node_bytes({**document, "shape": list(shape)}))

    def _drop_unstaged(self, where: str) -> None:
        old, new = self.root / where, self._new / where
        for file in sorted(old.rglob("*")) if old.is_dir() else []:
            if file.is_file() and not (new / file.relative_to(old)).exists():
                self._gone.append(str(file.relative_to(self.root)))

    def commit(self) -> None:
        """Make the change. After the one rename it will happen, by this process or by the next that opens."""
        (self.root / STAGED / "gone.json").write_text(canonical_json(self._gone))
        for path in (*(self.root / STAGED).rglob("*"), self.root / STAGED):
            flush(path)
        step("staged")
        (self.root / STAGED).rename(self.root / COMMIT)
        flush(self.root)
        step("committed")
        finish_commit(self.root)


@contextmanager
def transaction(root: Path) -> Generator[Transaction]:
    """Commit at the end of the block; on an error nothing has changed."""
    change = Transaction(root)
    try:
        yield change
    except BaseException:
        shutil.rmtree(root / STAGED, ignore_errors=True)
        raise
    change.commit()


def finish_commit(root: Path) -> None:
    """Move what a committed transaction staged into place. Doing it twice, or half and then again, is the same."""
    commit = root / COMMIT
    gone = cast(list[str], json.loads((commit / "gone.json").read_text()))
    staged = [p for p in (commit / "new").rglob("*")]
    files = [p for p in staged if p.is_file()]
    for file in sorted(files, key=lambda p: (p.name == NODE, -len(p.parts), str(p))):
        target = root / file.relative_to(commit / "new")
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
        step("moved")
    for name in gone:
        path = root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        step("removed")
    for folder in (commit / "new", *(p for p in staged if p.is_dir())):
        flush(root / folder.relative_to(commit / "new"))
    shutil.rmtree(root / STAGED, ignore_errors=True)
    commit.rename(root / STAGED)  # in one step: a half-removed commit could not be finished
    step("finished")
    shutil.rmtree(root / STAGED, ignore_errors=True)
