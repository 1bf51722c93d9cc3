"""The groups, attributes and arrays of one store by their path in it, read-only; every read verifies checksums."""

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar, cast

import numpy as np
from jaxtyping import Int64

from inoc.errors import BrokenStore
from inoc.store import v1
from inoc.store.arrays import StoredArray
from inoc.store.change import Files
from inoc.store.chunks import Layout, layout_of
from inoc.store.files import ARRAYS, CRC, NODE, ORDER, node_attributes, parse_node
from inoc.store.opening import read_root, steady
from inoc.store.schema import GROUPS, NESTED, PENDING, marked, spec_of
from inoc.store.seals import CellSeal, Member, TableSeal

Marks = Int64[np.ndarray, "..."]
"""Values of a marker: a checksum for every cell that is done, else PENDING."""

R = TypeVar("R", bound="Tree")
P = ParamSpec("P")
T = TypeVar("T")


def steadily(method: Callable[Concatenate[R, P], T]) -> Callable[Concatenate[R, P], T]:
    """The method, tried again where a living writer was just changing what it reads."""

    @wraps(method)
    def read(self: R, *args: P.args, **kwargs: P.kwargs) -> T:
        return steady(self.path, lambda: method(self, *args, **kwargs))

    return read


class Tree:
    """A store as groups, attributes and arrays; a path is one inside the store, such as "runs/german/score".

    Data of a unit that is not marked done read as NaN. Every read raises BrokenStore, naming group and variable, where
    a checksum fails.

    Attributes:
        path: The store's directory.
        root: The root's attributes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._nodes: dict[str, tuple[bytes, dict[str, object]]] = {}
        self.root: Mapping[str, object] = {}
        self.files = Files(path)
        if path.exists():
            steady(path, self._open)
        else:
            self.root = read_root(path)

    def _open(self) -> None:
        self.root = read_root(self.path)
        self.files.look()
        if v1.is_v1(self.root):
            self.root = v1.root_of(self.files, self.root)
        self._check_listed("", self.root)

    def has(self, where: str) -> bool:
        """Whether the group or variable exists."""
        if where == "":
            return True
        group, _, name = where.rpartition("/")
        if not self.has(group):
            return False
        node = self.node(group)
        return name in _order(node) or name in _listed(node)

    def subgroups(self, group: str) -> tuple[str, ...]:
        """Names of the sets or runs of a group, in the order they were made (then by name)."""
        return _order(self.node(group)) if self.has(group) else ()

    def variables(self, group: str) -> tuple[str, ...]:
        """Names of the variables of a group, sorted."""
        return tuple(sorted(_listed(self.node(group))))

    def node(self, where: str) -> Mapping[str, object]:
        """Everything the zarr.json of a group or the attributes of a variable say, lists of contents included."""
        return self.root if where == "" else node_attributes(self._document(where))

    def attributes(self, where: str) -> dict[str, object]:
        """The attributes of a group, without the lists of what it contains."""
        return {name: value for name, value in self.node(where).items() if name not in (ORDER, ARRAYS)}

    def _document(self, where: str) -> dict[str, object]:
        """The verified zarr.json of a node; parsed again only where its bytes changed."""
        return steady(self.path, lambda: self._read_document(where))

    def _read_document(self, where: str) -> dict[str, object]:
        self.files.look()
        try:
            raw = self.files.read(f"{where}/{NODE}")
        except FileNotFoundError:
            raise BrokenStore(
                f"/{where}: its {NODE} is missing from {self.path}. Fix: see what `inoc validate` lists."
            ) from None
        except OSError as error:
            raise BrokenStore(f"/{where}: its {NODE} cannot be read ({error.strerror}). Fix: see its file.") from error
        known = self._nodes.get(where)
        if known is None or known[0] != raw:
            document = parse_node(raw, f"/{where}")
            if v1.is_v1(self.root) and document.get("node_type") == "group":
                document["attributes"] = v1.group_of(self.files, where, node_attributes(document))
            self._check_listed(where, node_attributes(document))
            known = self._nodes[where] = raw, document
        return known[1]

    def _check_listed(self, where: str, node: Mapping[str, object]) -> None:
        """BrokenStore where there are groups or variables that the group's list of its contents lacks."""
        group = where.partition("/")[0]
        known = {*GROUPS} if where == "" else {*GROUPS.get(group, {})}
        lost = sorted(self.files.folders(where).difference(_order(node), _listed(node)))
        anything = where in NESTED or where == "embeddings"
        for name in (name for name in lost if name in known or anything):
            raise BrokenStore(
                f"/{where}: it holds {name}, which is not in its list of contents: its {NODE} is not the latest. "
                "Fix: restore the store from a copy."
            )

    def layout(self, where: str) -> Layout:
        """Shape, chunks and type of a variable, from its metadata alone."""
        document = self._document(where)
        group, _, name = where.rpartition("/")
        if _listed(self.node(group)).get(name, (None,))[0] != _crc_in(document):
            raise BrokenStore(f"/{where}: its {NODE} is not the one that was written. Fix: restore it from a copy.")
        return layout_of(document, where)

    def shape(self, where: str) -> tuple[int, ...]:
        """The shape of a variable, from its metadata alone."""
        return self.layout(where).shape

    def array(self, where: str, marks: Marks | None = None) -> StoredArray:
        """A handle on a variable. Of one that is written cell by cell the cells that are not marked read as NaN.

        Args:
            where: The variable's path.
            marks: The values of its marker, where they are read already.
        """
        group, _, name = where.rpartition("/")
        spec, layout = spec_of(where), self.layout(where)
        if not spec.marker:
            crc = _listed(self.node(group))[name][1]
            seal = None if crc == PENDING else TableSeal(where, crc)
            return StoredArray(self.files, where, layout, None, seal, name in marked(group))
        marks = self.marks(group, spec.marker) if marks is None else marks
        members = self.members(group, spec.marker)
        own = next(member for member in members if member.where == where)
        if own.only is not None and own.only >= marks.shape[0]:
            done = np.zeros(marks.shape[1:], bool)
        else:
            done = np.asarray((marks if own.only is None else marks[own.only]) != PENDING)
        seal = None if v1.is_v1(self.root) else CellSeal(self.files, members, own, marks)
        return StoredArray(self.files, where, layout, done, seal)

    def unmarked(self, where: str) -> StoredArray:
        """A handle on the chunks that are there, whatever the markers say: for the writer, which compares."""
        group, _, name = where.rpartition("/")
        return StoredArray(self.files, where, self.layout(where), sparse=name in marked(group))

    def marks(self, group: str, marker: str) -> Marks:
        """The values of a marker."""
        return np.asarray(self.read(f"{group}/{marker}"))

    def members(self, group: str, marker: str) -> tuple[Member, ...]:
        """The variables that a marker vouches for."""
        dims = spec_of(f"{group}/{marker}").dims
        found: list[Member] = []
        for name in marked(group)[marker]:
            if not self.has(f"{group}/{name}"):
                continue
            spec, only = spec_of(f"{group}/{name}"), None
            if spec.only:
                kinds = self.labels(f"{group}/{dims[0]}")
                only = kinds.index(spec.only) if spec.only in kinds else len(kinds)
            axes = tuple(dims.index(dim) for dim in spec.dims if dim in dims)
            found.append(Member(f"{group}/{name}", self.layout(f"{group}/{name}"), axes, only))
        return tuple(found)

    def read(self, where: str) -> np.ndarray:
        """A whole variable as a NumPy array; texts come as an object array of str.

        Raises:
            BrokenStore: The variable is missing or damaged.
        """
        return self.array(where)[...]

    def labels(self, where: str) -> tuple[str, ...]:
        """A whole variable of texts."""
        return tuple(str(value) for value in self.read(where))


def _order(node: Mapping[str, object]) -> tuple[str, ...]:
    """The subgroups that a group lists."""
    return tuple(cast(list[str], node.get(ORDER) or []))


def _listed(node: Mapping[str, object]) -> dict[str, tuple[int, int]]:
    """The variables that a group lists: the checksum of each one's metadata, and the one over its chunks."""
    return {name: (crcs[0], crcs[1]) for name, crcs in cast(dict[str, list[int]], node.get(ARRAYS) or {}).items()}


def _crc_in(document: Mapping[str, object]) -> object:
    return cast(Mapping[str, object], document["attributes"])[CRC]
