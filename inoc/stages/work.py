"""The folder beside a store (`run.zarr` -> `run.work`) that keeps what is dear to make until it is in the store.

Sampled texts, checkpoints and judgments live here, so that a kill loses nothing that was paid for. Every file appears
whole or not at all.
"""

import hashlib
import json
import os
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path

from inoc.errors import BadInput, InocError
from inoc.values import Json


def work_folder(store: Path) -> Path:
    """The folder of a store's unfinished and bulky things."""
    return store.with_name(store.name.removesuffix(".zarr") + ".work")


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a kill leaves the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise InocError(
            f"{path} cannot be written ({error.strerror}); mend that and run the same command again."
        ) from error


def write_rows(path: Path, rows: Iterable[Mapping[str, Json]]) -> None:
    """A JSONL file, whole or not at all."""
    write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_rows(path: Path) -> tuple[Mapping[str, Json], ...]:
    """The rows of a JSONL file that `write_rows` made."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is damaged ({error}); delete it and run the same command again.") from None
    return tuple(rows)


def fingerprint(*values: object) -> str:
    """A short hash of JSON values: names the settings a file was made with."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def one_at_a_time(path: Path) -> Generator[None]:
    """Refuse a second process that would work in the same folder."""
    from inoc.store.lock import Lock

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = Lock(path)
    try:
        yield
    finally:
        lock.release()
