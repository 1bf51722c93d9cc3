"""Making a change of several files: what is staged shows all at once, with the lists of contents that go with it."""

import shutil
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np

from inoc.store.change import STAGED, Files, commit_change
from inoc.store.chunks import cell_chunks, chunk_name, layout_of
from inoc.store.files import (
    ARRAYS,
    CRC,
    NODE,
    ORDER,
    Attributes,
    array_document,
    chunk_shape,
    group_document,
    node_attributes,
    node_bytes,
    read_node,
)
from inoc.store.schema import PENDING, VariableSpec, marked, spec_of
from inoc.store.seals import table_crc, trailers


class Transaction:
    """Several files changed together. Stage nodes, then `commit`; before it nothing shows."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._new = root / STAGED / "new"
        self._gone: list[str] = []
        self._groups: dict[str, Attributes] = {}
        self._arrays: list[str] = []
        self._kept: list[str] = []
        shutil.rmtree(root / STAGED, ignore_errors=True)
        self._new.mkdir(parents=True)

    def group(self, where: str, attributes: Attributes) -> None:
        """Put a group with these attributes, "" is the root; the lists of contents are kept with what is staged."""
        self._groups[where] = attributes

    def array(self, where: str, values: np.ndarray | Sequence[str], spec: VariableSpec) -> None:
        """Put an array with all its values; chunk files that only the array it replaces has are removed."""
        data = np.asarray(values, dtype=object if spec.dtype == "string" else spec.dtype)
        self.empty_array(where, data.shape, spec, chunk_shape(data.shape, spec.dtype))
        write_chunks(self._new, where, data)
        self._drop_unstaged(where)

    def keep(self, where: str) -> None:
        """List an array that is there and not listed yet."""
        self._kept.append(where)

    def cells(self, where: str, values: np.ndarray, spec: VariableSpec) -> None:
        """Put an array with all its values, a chunk for every cell."""
        self.empty_array(where, values.shape, spec, (1,) * values.ndim)
        write_chunks(self._new, where, values)

    def empty_array(self, where: str, shape: tuple[int, ...], spec: VariableSpec, chunks: tuple[int, ...]) -> None:
        """Put an array of which no chunk is written yet."""
        self._write(where, array_document(shape, spec, chunks))
        self._arrays.append(where)

    def grow(self, where: str, shape: tuple[int, ...]) -> None:
        """Give an existing array a larger shape; its chunks stay as they are."""
        document = read_node(self.root / where, f"/{where}")
        self._write(where, {**document, "shape": list(shape)})
        self._arrays.append(where)

    def _write(self, where: str, document: Attributes) -> None:
        path = self._new / where / NODE
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(node_bytes(document))

    def _drop_unstaged(self, where: str) -> None:
        old, new = self.root / where, self._new / where
        for file in sorted(old.rglob("*")) if old.is_dir() else []:
            if file.is_file() and not (new / file.relative_to(old)).exists():
                self._gone.append(file.relative_to(self.root).as_posix())

    def _stage_groups(self) -> None:
        """The nodes of the groups that change, the root included where a group is new or something is to be done."""
        nodes = {where: dict(attributes) for where, attributes in self._groups.items()}
        opened = False
        for where in (*self._arrays, *self._kept):
            group, _, name = where.rpartition("/")
            node = nodes.setdefault(group, self._stored(group))
            listed = dict(cast(Attributes, node.setdefault(ARRAYS, self._stored(group).get(ARRAYS) or {})))
            listed[name] = list(content_crcs(Files(self.root if where in self._kept else self._new), where))
            node[ARRAYS] = dict(sorted(listed.items()))
            opened |= name in marked(group)
        for where in [where for where in nodes if where]:
            self._list_in_parent(nodes, where)
        if opened:
            root = nodes.setdefault("", self._stored(""))
            root["complete"] = False
        for where, node in nodes.items():
            stored = self._stored(where)
            kept = {key: stored[key] for key in (ORDER, ARRAYS) if key in stored}
            document = {**kept, **node}
            if document != stored:
                self._write(where, group_document(document))

    def _list_in_parent(self, nodes: dict[str, dict[str, object]], where: str) -> None:
        parent, _, name = where.rpartition("/")
        node = nodes.get(parent) or self._stored(parent)
        order = cast(list[str], node.get(ORDER) or self._stored(parent).get(ORDER) or [])
        if name not in order:
            nodes[parent] = {**node, ORDER: [*order, name]}
            if parent:
                self._list_in_parent(nodes, parent)

    def _stored(self, where: str) -> dict[str, object]:
        """The attributes of a group as it is now; none where it is new."""
        directory = self.root / where
        return node_attributes(read_node(directory, f"/{where}")) if (directory / NODE).is_file() else {}

    def commit(self) -> None:
        """Make the change."""
        self._stage_groups()
        commit_change(self.root, self._gone)


def write_chunks(root: Path, where: str, values: np.ndarray) -> None:
    """Write all chunks of a staged variable; nobody sees them before the change is committed."""
    for index, content in cell_chunks(layout_of(read_node(root / where, f"/{where}"), where), (), values):
        path = root / chunk_name(where, index)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def content_crcs(files: Files, where: str, settled: bool = False) -> tuple[int, int]:
    """What a group lists of a variable: the checksum of its metadata, and the one over its chunks.

    The second is PENDING for a variable that is written cell by cell, whose marker vouches for it, and for a marker,
    unless its writer is done with it (`settled`).
    """
    document = read_node(files.root / where, f"/{where}")
    crc = cast(int, cast(Attributes, document["attributes"])[CRC])
    group, _, name = where.rpartition("/")
    if spec_of(where).marker or (name in marked(group) and not settled):
        return crc, PENDING
    return crc, table_crc(where, trailers(files, where, layout_of(document, where)))


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


def settled(root: Path, group: str, markers: Iterable[str]) -> Mapping[str, list[int]]:
    """What a group lists of its markers once their writer is done with them."""
    return {name: list(content_crcs(Files(root), f"{group}/{name}", settled=True)) for name in markers}
