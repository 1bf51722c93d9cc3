"""Reading foreign JSON and JSONL with errors that say where: file, key, index, line."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Float64

from inoc.errors import BadInput

Json = Mapping[str, object]


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
        raise BadInput(f"{path}: no such file.") from None
    except IsADirectoryError:
        raise BadInput(f"{path} is a directory; name a file.") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 text (byte {error.start}).") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}).") from None


def _parse(text: str, where: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_no_duplicates)
    except json.JSONDecodeError as error:
        end = error.pos >= len(text.rstrip())
        what = (
            "ends in the middle (truncated?)"
            if end or "Unterminated" in error.msg
            else f"is not JSON: {error.msg}"
        )
        raise BadInput(f"{where} {what} at line {error.lineno}, column {error.colno}.") from None
    except BadInput as error:
        raise BadInput(f"{where}: {error}; keys must be unique.") from None
    except RecursionError:
        raise BadInput(f"{where} is nested too deeply to be data.") from None


def load_json(path: Path) -> Json:
    """One JSON object; duplicate keys, truncation and wrong types raise BadInput with the position."""
    value = _parse(_text(path), str(path))
    return as_object(value, str(path))


def load_jsonl(path: Path) -> Iterator[tuple[str, Json]]:
    """("file:line", object) for each line that is not blank."""
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            where = f"{path}:{number}"
            yield where, as_object(_parse(line, where), where)


def as_object(value: object, where: str) -> Json:
    if not isinstance(value, dict):
        raise BadInput(f"{where}: a JSON object is needed, not {_kind(value)}.")
    return cast(Json, value)


def as_list(value: object, where: str) -> list[object]:
    if not isinstance(value, list):
        raise BadInput(f"{where}: a list is needed, not {_kind(value)}.")
    return cast(list[object], value)


def as_text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise BadInput(f"{where}: text is needed, not {_kind(value)}.")
    return value


def as_int(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise BadInput(f"{where}: a whole number is needed, not {_kind(value)}.")
    try:
        return int(value)
    except ValueError:
        raise BadInput(f"{where}: a whole number is needed, not {value!r}.") from None


def _kind(value: object) -> str:
    names = {"dict": "an object", "list": "a list", "str": "text", "NoneType": "null", "bool": "true/false"}
    return names.get(type(value).__name__, "a number")


def numbers(
    value: object, where: str, *, low: float = -np.inf, high: float = np.inf
) -> Float64[np.ndarray, " n"]:
    """A list of numbers; null and NaN are missing data (NaN). Infinite ones and those outside [low, high] are refused,
    named by index."""
    items = as_list(value, where)
    if not set(map(type, items)) <= {int, float, type(None)}:
        i = next(i for i, item in enumerate(items) if type(item) not in (int, float, type(None)))
        raise BadInput(f"{where}: index {i} is {_kind(items[i])}, not a number.")
    out = np.array([np.nan if x is None else x for x in items], dtype=np.float64)
    bad = np.flatnonzero(np.isinf(out) | (out < low) | (out > high))
    if bad.size:
        i = int(bad[0])
        why = (
            "infinite"
            if np.isinf(out[i])
            else f"outside {low:g} to {high:g}"
            if low > -np.inf
            else f"above {high:g}"
        )
        raise BadInput(f"{where}: index {i} is {out[i]:g}, which is {why}; null marks missing data.")
    return out


def logprobs(value: object, where: str) -> Float64[np.ndarray, " n"]:
    """A list of log-probabilities: numbers at most 0, null for missing."""
    return numbers(value, where, high=0.0)


def number_or_nan(value: object, where: str) -> float:
    """One number; null is NaN."""
    return float(numbers([value], where)[0])
