"""Values by key, and units, as several stores hold them: what two hold must be equal bit for bit."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar, cast

import numpy as np

from inoc.errors import OtherSettings
from inoc.store.fingerprint import difference
from inoc.store.runs import RunInfo
from inoc.store.schema import PENDING, marked
from inoc.store.store import Store

V = TypeVar("V")
Key = tuple[str | int, ...]
Names = Callable[[str, Path], str]
"""What messages call a store, or the file that something of a kind (such as "run") came from."""


def _equal(one: object, two: object) -> bool:
    """Equal bit for bit, also inside tuples and mappings; arrays of texts by value."""
    if isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
        return _bits(cast(np.ndarray, one)) == _bits(cast(np.ndarray, two))
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        fields, others = cast(Mapping[str, object], one), cast(Mapping[str, object], two)
        return fields.keys() == others.keys() and all(_equal(value, others[name]) for name, value in fields.items())
    if isinstance(one, tuple) and isinstance(two, tuple):
        mine, other = cast("tuple[object, ...]", one), cast("tuple[object, ...]", two)
        return len(mine) == len(other) and all(map(_equal, mine, other))
    return one == two


def _bits(values: np.ndarray) -> tuple[str, tuple[int, ...], object]:
    """Type, shape and content, such that equal means equal bit for bit."""
    return str(values.dtype), values.shape, values.tolist() if values.dtype == object else values.tobytes()


class Rows(Generic[V]):
    """Values by key from several stores; the same key must have the same values everywhere."""

    def __init__(self, what: str, names: Names) -> None:
        self.what, self.several = what, 0
        self.values: dict[Key, V] = {}
        self._names = names
        self._from: dict[Key, Path] = {}

    def add(self, store: Store, key: Key, value: V) -> None:
        """Add a value, or compare it with the one another store holds."""
        if key not in self.values:
            self.values[key], self._from[key] = value, store.path
            return
        self.several += 1
        if not _equal(self.values[key], value):
            name = "/".join(str(part) or "default" for part in key)
            raise self._differ(name, (self._from[key], self.values[key]), (store.path, value))

    def new(self, first: Path) -> int:
        """How many values are not from this store."""
        return sum(path != first for path in self._from.values())

    def _differ(self, name: str, *found: tuple[Path, object]) -> OtherSettings:
        said = [f"{self._names(self.what, path)}{_size(value)}" for path, value in found]
        one, two = (_first(value) for _, value in found)
        lines: list[str] = []
        if isinstance(one, RunInfo) and isinstance(two, RunInfo):
            lines = difference(one.attributes, two.attributes)
        return OtherSettings(
            f"{self.what} {name}: {' and '.join(said)} hold different values{f' ({lines[0]})' if lines else ''}. "
            "Fix: delete or make again the one that is wrong; nothing chooses for you."
        )


def _first(value: object) -> object:
    """The first of several values."""
    several = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
    return several[0] if several else None


def _size(value: object) -> str:
    """How many values there are, in parentheses, where that can be said."""
    first = _first(value)
    return f" ({cast(np.ndarray, first).size} values)" if isinstance(first, np.ndarray) else ""


class Found(NamedTuple):
    """A unit as one store has it: values, and which rephrasing each example got."""

    path: Path
    values: np.ndarray
    picks: np.ndarray | None

    @property
    def known(self) -> bool:
        """Whether the store knows which rephrasings the examples got."""
        return self.picks is not None and bool((self.picks >= 0).any())


def same_unit(one: Found, two: Found) -> bool:
    """Whether two stores hold the same values, and the same rephrasings where both know them."""
    return _equal(one.values, two.values) and (not one.known or not two.known or _equal(one.picks, two.picks))


class Units:
    """The units of one group of log-probabilities of one store."""

    def __init__(self, store: Store, where: str) -> None:
        self._path = store.path
        self._arrays = {name: store.array(f"{where}/{name}") for name in ("default", "prefixed")}
        self._picks = store.array(f"{where}/rephrasing") if store.has(f"{where}/rephrasing") else None
        kinds, keys = (store.labels(f"{where}/{v}") for v in ("prefix_type", "prompt"))
        marks = {marker: store.marks(where, marker) for marker in marked(where)}
        self.done: dict[tuple[str, str], tuple[int, ...]] = {}
        if int(marks["default_crc"]) != PENDING:
            self.done["none", ""] = ()
        for f, p in np.argwhere(marks["unit_crc"] != PENDING):
            self.done[kinds[f], keys[p]] = (int(f), int(p))

    def read(self, unit: tuple[str, str]) -> Found:
        """A unit that is done."""
        cell = self.done[unit]
        values = self._arrays["prefixed" if cell else "default"][(*cell, slice(None))]
        picks = self._picks[cell[1]] if self._picks is not None and unit[0] == "mix" else None
        return Found(self._path, values, picks)
