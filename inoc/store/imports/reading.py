"""Reading foreign JSON and JSONL with errors that say where: file, key, index, line."""

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import orjson
from jaxtyping import Float64

from inoc.errors import BadInput
from inoc.reading import parse_json, read_bytes, read_json, read_json_lines
from inoc.store.schema import LOWEST
from inoc.values import Json

Numbers = Float64[np.ndarray, " n"]


_NUMBERS = {int, float, type(None)}
_PIECE = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|\[([-+.,\s0-9eEnul]+)\]', re.DOTALL)
"""A JSON string, or a list of numbers and nulls."""


def _kind(value: object) -> str:
    names = {"dict": "an object", "list": "a list", "ndarray": "a list", "str": "text", "NoneType": "null",
             "bool": "true/false"}  # fmt: skip
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
        if isinstance(value := self.value, np.ndarray):
            return value.tolist()
        if isinstance(value, list):
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
        out = self._array()
        bad = np.flatnonzero(np.isinf(out) | (out < low) | (out > high))
        if bad.size:
            i = int(bad[0])
            outside = f"above {high:g}" if out[i] > high else f"below {low:g}"
            why = "infinite" if np.isinf(out[i]) else outside
            raise BadInput(f"{self.where}: index {i} is {out[i]:g}, which is {why}. Fix: write null for missing data.")
        return out

    def _array(self) -> Numbers:
        if isinstance(value := self.value, np.ndarray):
            return cast(Numbers, value).astype(np.float64, copy=False)
        items = self._list
        if not set(map(type, items)) <= _NUMBERS:
            i = next(i for i, item in enumerate(items) if type(item) not in _NUMBERS)
            raise BadInput(
                f"{self.where}: index {i} is {_kind(items[i])}, not a number. Fix: write null for missing data."
            )
        try:
            return np.array(items, dtype=np.float64)
        except OverflowError:
            raise BadInput(f"{self.where} has a number beyond 1e308. Fix: write null for missing data.") from None

    def plain(self) -> object:
        """The value as JSON has it: lists instead of arrays, null for what is missing."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.items()}
        if isinstance(self.value, list | np.ndarray):
            return [node.plain() for node in self.rows()]
        return None if self.value != self.value else self.value

    def logprobs(self) -> Numbers:
        """A list of log-probabilities: numbers from `LOWEST` to 0, null for missing."""
        return self.numbers(LOWEST, 0.0)

    def logprob_lists(self) -> tuple[Numbers, list[int]]:
        """The log-probabilities of a list of lists, one list after the other, and the length of each."""
        parts = self._list
        if not all(isinstance(part, np.ndarray) for part in parts):
            parts = [row.logprobs() for row in self.rows()]
        arrays = cast(list[np.ndarray], parts)
        values = np.concatenate([np.zeros(0), *arrays])
        if np.any((values < LOWEST) | (values > 0)):
            for row in self.rows():
                row.logprobs()  # says where
        return values, [len(part) for part in arrays]


def head(path: Path, size: int = 1 << 16) -> str:
    """The first bytes of a regular file as text, for a look at its format; "" for anything else."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return ""
        with path.open("rb") as file:
            return file.read(size).decode("utf-8-sig", "replace")
    except (OSError, ValueError):
        return ""


def load_json(path: Path) -> Node:
    """One JSON object."""
    node = Node(read_json(path), str(path), ": ")
    _ = node.fields
    return node


def load_number_json(path: Path) -> Node:
    """One JSON object of mostly numbers: its lists of numbers are arrays, eight bytes for each number."""
    node = Node(_packed(read_bytes(path), str(path)), str(path), ": ")
    _ = node.fields
    return node


def _packed(content: bytes, where: str) -> object:
    """A JSON value with arrays: the lists of numbers are cut out, and the rest is read like any other JSON, with the
    index of its array where each list was. Lists without a fraction stay lists: whole numbers may be large."""
    arrays: list[np.ndarray | list[Json]] = []
    rest: list[bytes] = []
    end = 0
    try:
        for piece in _PIECE.finditer(content):
            if piece[0][:1] == b"[":
                rest += [content[end : piece.start()], b"[%d]" % len(arrays)]
                values = orjson.loads(piece[0])
                arrays.append(np.array(values, np.float64) if b"." in piece[0] else values)
                end = piece.end()
        return _put_back(parse_json(b"".join([*rest, content[end:]]), where), arrays)
    except (ValueError, OverflowError, BadInput):
        return parse_json(content, where)  # says what is wrong, and where


def _put_back(value: Json, arrays: list[np.ndarray | list[Json]]) -> object:
    """The value with each list of one index, which stood for an array, as that array."""
    if isinstance(value, dict):
        return {key: _put_back(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        if len(value) == 1 and type(value[0]) is int:
            return arrays[value[0]]
        return [_put_back(item, arrays) for item in value]
    return value


def load_jsonl(path: Path) -> Iterator[Node]:
    """One JSON object for each line that is not blank."""
    for number, value in read_json_lines(path):
        yield Node(value, f"{path}, line {number}", ": ")
