"""Reading foreign JSON and JSONL with errors that say where: file, key, index, line."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Float64

from inoc.errors import BadInput
from inoc.reading import read_json, read_json_lines
from inoc.store.schema import LOWEST

Numbers = Float64[np.ndarray, " n"]


_NUMBERS = {int, float, type(None)}


def _kind(value: object) -> str:
    names = {"dict": "an object", "list": "a list", "str": "text", "NoneType": "null", "bool": "true/false"}
    return names.get(type(value).__name__, "a number")


@dataclass(frozen=True)
class Node:
    """A JSON value and where it is from: file, line and keys."""

    value: object
    where: str
    below: str = "."
    """What separates `where` from a key."""

    def _needed(self, what: str) -> BadInput:
        return BadInput(f"{self.where}: {what} is needed, not {_kind(self.value)}.")

    @property
    def fields(self) -> dict[str, object]:
        """The value as an object."""
        if isinstance(value := self.value, dict):
            return cast(dict[str, object], value)
        raise self._needed("a JSON object")

    def __contains__(self, key: str) -> bool:
        return key in self.fields

    def __getitem__(self, key: str) -> "Node":
        """The value of a key that must be there."""
        if key not in self.fields:
            raise BadInput(f"{self.where}: no key {key!r}. Fix: add it.")
        return self.get(key)

    def get(self, key: str, default: object = None) -> "Node":
        """The value of a key, or the default."""
        return Node(self.fields.get(key, default), f"{self.where}{self.below}{key}")

    def items(self) -> list[tuple[str, "Node"]]:
        """Keys and values of an object."""
        return [(key, self.get(key)) for key in self.fields]

    @property
    def _list(self) -> list[object]:
        if isinstance(value := self.value, list):
            return cast(list[object], value)
        raise self._needed("a list")

    def rows(self) -> list["Node"]:
        """The members of a list."""
        return [Node(item, f"{self.where}[{i}]") for i, item in enumerate(self._list)]

    def text(self) -> str:
        """The value as text."""
        if not isinstance(self.value, str):
            raise self._needed("text")
        return self.value

    def integer(self) -> int:
        """The value as a whole number, which may be written as text."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | str):
            raise self._needed("a whole number")
        try:
            number = int(self.value)
        except ValueError:
            raise BadInput(f"{self.where}: a whole number is needed, not {self.value!r}.") from None
        if abs(number) >= 1 << 63:
            raise BadInput(f"{self.where} is beyond 64 bits. Fix: correct the number.")
        return number

    def number(self) -> float:
        """The value as a number; null is NaN."""
        return float(Node([self.value], self.where).numbers()[0])

    def numbers(self, low: float = -np.inf, high: float = np.inf) -> Numbers:
        """A list of numbers; null and NaN are missing data (NaN). Infinite ones and those outside [low, high] are
        refused, named by index."""
        items = self._list
        if not set(map(type, items)) <= _NUMBERS:
            i = next(i for i, item in enumerate(items) if type(item) not in _NUMBERS)
            raise BadInput(
                f"{self.where}: index {i} is {_kind(items[i])}, not a number. Fix: write null for missing data."
            )
        try:
            out = np.array([np.nan if item is None else item for item in items], dtype=np.float64)
        except OverflowError:
            raise BadInput(f"{self.where} has a number beyond 1e308. Fix: write null for missing data.") from None
        bad = np.flatnonzero(np.isinf(out) | (out < low) | (out > high))
        if bad.size:
            i = int(bad[0])
            outside = f"above {high:g}" if out[i] > high else f"below {low:g}"
            why = "infinite" if np.isinf(out[i]) else outside
            raise BadInput(f"{self.where}: index {i} is {out[i]:g}, which is {why}. Fix: write null for missing data.")
        return out

    def logprobs(self) -> Numbers:
        """A list of log-probabilities: numbers from `LOWEST` to 0, null for missing."""
        return self.numbers(LOWEST, 0.0)


def load_json(path: Path) -> Node:
    """One JSON object."""
    node = Node(read_json(path), str(path), ": ")
    _ = node.fields
    return node


def load_jsonl(path: Path) -> Iterator[Node]:
    """One JSON object for each line that is not blank."""
    for number, value in read_json_lines(path):
        yield Node(value, f"{path}, line {number}", ": ")
