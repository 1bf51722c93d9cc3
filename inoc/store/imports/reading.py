"""Reading foreign JSON and JSONL with errors that say where: file, key, index, line."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Float64

from inoc.errors import BadInput

Numbers = Float64[np.ndarray, " n"]


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    out: dict[str, object] = {}
    for key, value in pairs:
        if key in out:
            raise BadInput(f"key {key!r} comes twice")
        out[key] = value
    return out


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file. Fix: check the path.") from None
    except IsADirectoryError:
        raise BadInput(f"{path} is a directory. Fix: name a file.") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 text (byte {error.start}). Fix: save it as UTF-8.") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}).") from None


def _parse(text: str, where: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_no_duplicates)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) or "Unterminated" in error.msg
        what = "ends in the middle (truncated?)" if cut else f"is not JSON: {error.msg}"
        raise BadInput(f"{where} {what} at line {error.lineno}, column {error.colno}.") from None
    except BadInput as error:
        raise BadInput(f"{where}: {error}. Fix: keep one of them.") from None
    except RecursionError:
        raise BadInput(f"{where} is nested too deeply to be data.") from None


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
            return int(self.value)
        except ValueError:
            raise BadInput(f"{self.where}: a whole number is needed, not {self.value!r}.") from None

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
        out = np.array([np.nan if item is None else item for item in items], dtype=np.float64)
        bad = np.flatnonzero(np.isinf(out) | (out < low) | (out > high))
        if bad.size:
            i = int(bad[0])
            outside = f"outside {low:g} to {high:g}" if low > -np.inf else f"above {high:g}"
            why = "infinite" if np.isinf(out[i]) else outside
            raise BadInput(f"{self.where}: index {i} is {out[i]:g}, which is {why}. Fix: write null for missing data.")
        return out

    def logprobs(self) -> Numbers:
        """A list of log-probabilities: numbers at most 0, null for missing."""
        return self.numbers(high=0.0)


def load_json(path: Path) -> Node:
    """One JSON object; duplicate keys, truncation and wrong types raise BadInput with the position."""
    node = Node(_parse(_text(path), str(path)), str(path), ": ")
    _ = node.fields
    return node


def load_jsonl(path: Path) -> Iterator[Node]:
    """One JSON object for each line that is not blank."""
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            where = f"{path}:{number}"
            yield Node(_parse(line, where), where, ": ")
