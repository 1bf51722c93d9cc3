"""Text and JSON that somebody else wrote: bounded in size and depth, each key once; else one sentence."""

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from inoc.errors import BadInput
from inoc.values import Json

MAX_BYTES = 2 << 30
"""Bytes of a file that is read whole."""
MAX_DEPTH = 64
"""Lists and objects inside each other."""
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that a terminal or browser obeys instead of showing, but for tabs and ends of lines."""


def printable(text: str) -> str:
    """The text with every unprintable character written as its escape, such as `\\x1b`."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)


def read_bytes(path: Path, missing: str = "check the path.", limit: int = MAX_BYTES) -> bytes:
    """The content of a regular file.

    Args:
        path: The file.
        missing: The fix where there is no such file.
        limit: Bytes the file may have.

    Raises:
        BadInput: The file does not exist, is not a regular file, is too large or cannot be read.
    """
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            kind = "a directory" if stat.S_ISDIR(about.st_mode) else "not a regular file"
            raise BadInput(f"{path} is {kind}. Fix: name a file.")
        if about.st_size > limit:
            raise BadInput(f"{path} has {about.st_size:,} bytes; at most {limit:,} are read. Fix: split the file.")
        with path.open("rb") as file:
            return file.read(limit)
    except FileNotFoundError:
        raise BadInput(f"{path} does not exist. Fix: {missing}") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}). Fix: check the path and its access.") from None
    except ValueError:
        raise BadInput(f"the path {str(path)!r} has a NUL character. Fix: correct the path.") from None


def read_text(path: Path, missing: str = "check the path.", limit: int = MAX_BYTES) -> str:
    """The text of a regular file, without a byte order mark; see `read_bytes`.

    Raises:
        BadInput: As `read_bytes`, or the file is not UTF-8.
    """
    try:
        return read_bytes(path, missing, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 text (byte {error.start}). Fix: save it as UTF-8.") from None


def read_json(path: Path, missing: str = "check the path.") -> Json:
    """The one JSON value of a file.

    Args:
        path: The file.
        missing: The fix where there is no such file.

    Raises:
        BadInput: As `read_text` and `parse_json`.
    """
    return parse_json(read_text(path, missing), str(path))


def read_json_lines(path: Path, missing: str = "check the path.") -> Iterator[tuple[int, Json]]:
    """The JSON value of each line that is not blank, with the number of the line, from 1.

    Args:
        path: The file.
        missing: The fix where there is no such file.

    Raises:
        BadInput: As `read_text` and `parse_json`; names file and line.
    """
    for number, line in enumerate(read_text(path, missing).split("\n"), start=1):
        if line.strip():
            yield number, parse_json(line, f"{path}, line {number}")


def parse_json(text: str | bytes, where: str) -> Json:
    """A JSON value in which every key of an object comes once.

    Args:
        text: The JSON text.
        where: Begins every error: file, and line where it has several values.

    Raises:
        BadInput: It is not JSON, has a key twice, is nested deeper than `MAX_DEPTH`, or holds half a character.
    """
    try:
        text = text if isinstance(text, str) else text.decode("utf-8-sig")
        value = json.loads(text, object_pairs_hook=_each_key_once)
        _check_depth(value)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
        return cast(Json, value)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(error.doc.rstrip()) or "Unterminated" in error.msg
        what = "it ends in the middle (truncated?)" if cut else error.msg
        at = f"line {error.lineno}, column {error.colno}" if "\n" in error.doc.strip() else f"column {error.colno}"
        raise BadInput(f"{where}: not JSON ({what}, {at}). Fix: correct it or make the file again.") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{where}: not UTF-8 text (byte {error.start}). Fix: save it as UTF-8.") from None
    except UnicodeEncodeError:
        raise BadInput(f"{where}: holds half a character (a lone surrogate). Fix: write the whole character.") from None
    except _Twice as twice:
        raise BadInput(f"{where}: the key {str(twice)!r} comes twice. Fix: keep one of them.") from None
    except (_TooDeep, RecursionError):
        raise BadInput(f"{where}: nested deeper than {MAX_DEPTH} levels. Fix: write plain data.") from None
    except ValueError:
        raise BadInput(f"{where}: has a number of thousands of digits. Fix: correct the number.") from None


class _Twice(Exception):
    pass


class _TooDeep(Exception):
    pass


def _each_key_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        raise _Twice(next(key for key, _ in pairs if key in seen or seen.add(key)))
    return found


def _check_depth(value: object) -> None:
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        inside: list[object] = []
        for outer in level:
            if isinstance(outer, dict):
                inside += cast(dict[str, object], outer).values()
            elif isinstance(outer, list):
                inside += cast(list[object], outer)
        level = [item for item in inside if isinstance(item, dict | list)]
        if not level:
            return
    raise _TooDeep
