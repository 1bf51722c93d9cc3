"""Files of the work folder: what is costly to make is kept there, whole or not at all, until it is in the store."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

from inoc.atomic import write_atomic
from inoc.errors import BadInput, InocError
from inoc.hashing import content_hash
from inoc.reading import read_json_lines
from inoc.store.lock import Lock
from inoc.values import Json


def write_whole(path: Path, text: str) -> None:
    """Write a file atomically; a full disk is an InocError."""
    try:
        write_atomic(path, text)
    except OSError as error:
        raise InocError(
            f"{path} cannot be written ({error.strerror}). Fix: make room or access, then run the same command again."
        ) from error


def write_rows(path: Path, rows: Iterable[Mapping[str, Json]]) -> None:
    """A JSONL file, whole or not at all."""
    write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_rows(path: Path) -> tuple[Mapping[str, Json], ...]:
    """The rows of a JSONL file that `write_rows` made."""
    try:
        return tuple(cast("Mapping[str, Json]", row) for _, row in read_json_lines(path))
    except BadInput as error:
        raise BadInput(f"{path} is damaged: {error} Fix: delete it and run the same command again.") from None


def keep_rows(path: Path, asked: str, rows: Sequence[Mapping[str, Json]]) -> None:
    """Keep the answers to what was asked (a hash of it), with a hash of their own."""
    write_rows(path, [{"asked": asked, "n": len(rows), "content": content_hash(rows)}, *rows])


def kept_rows(path: Path, asked: str, n: int | None = None) -> tuple[Mapping[str, Json], ...] | None:
    """The `n` answers (None: any number) to what was asked that `keep_rows` wrote; None where the file holds none to
    this very question.

    Raises:
        BadInput: The file is damaged.
    """
    if not path.exists():
        return None
    head, *rows = read_rows(path) or ({},)
    if head.get("content") is not None and (head.get("asked") != asked or n not in (None, head.get("n"))):
        return None
    if head.get("content") != content_hash(rows):
        raise BadInput(f"{path} is damaged: it differs from its own hash. Fix: delete it to sample again.")
    return tuple(rows)


def one_at_a_time(path: Path) -> Lock:
    """Refuse a second process that would work in the same folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return Lock(path)
