"""Files that are checked before they are used: folders of weights by their manifest, records by a hash of their own.

A checkpoint, a fully trained model and a state to resume from are folders whose `manifest.json` lists every other file
with its SHA-256. The hash of the manifest itself (`Checkpoint.content`) is in the record of the run, so that the folder
of another run is noticed too. Against damage and mixups, not against somebody who rewrites record and folder alike.
"""

import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inoc.atomic import write_atomic
from inoc.backends.protocols import Checkpoint
from inoc.errors import BadInput
from inoc.hashing import bytes_hash, canonical_json, file_hash
from inoc.reading import read_json

log = logging.getLogger("inoc.backends")

MANIFEST: Final = "manifest.json"
RESTORE: Final = "restore the folder from a copy, or delete the run's folder and train the run again"
DIGEST: Final = re.compile(r"[0-9a-f]{64}")

Manifest = Mapping[str, object]
State = tuple[tuple[str, int, int, int], ...]
"""Name, bytes, time of change and inode of every file of a folder: where they are the same, so is the content."""


class _Manifest(BaseModel):
    """What every manifest has; the other fields say what was trained."""

    model_config = ConfigDict(extra="allow", strict=True)

    files: dict[str, str] = Field(min_length=1)


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a JSON file, complete or not at all."""
    write_atomic(path, json.dumps(content, indent=1, sort_keys=True) + "\n")


def sealed(fields: Mapping[str, object]) -> str:
    """The text of a record: a JSON object with a hash of its own, which `read_sealed` compares.

    Args:
        fields: JSON values; numbers are finite.
    """
    plain = cast(Mapping[str, object], json.loads(canonical_json(fields)))
    return json.dumps({**plain, "sha256": _own_hash(plain)}, indent=1, sort_keys=True) + "\n"


def read_sealed(path: Path) -> Mapping[str, object]:
    """The fields of a record; BadInput for a file that differs from its hash, or has none."""
    content = read_object(path)
    fields = {name: value for name, value in content.items() if name != "sha256"}
    try:
        whole = content.get("sha256") == _own_hash(fields)
    except ValueError:  # NaN, which no record holds
        whole = False
    if not whole:
        raise BadInput(f"'{path}' is damaged: it differs from its own hash. Fix: restore it from a copy.")
    return fields


def seal(folder: Path, about: Mapping[str, object]) -> str:
    """Write the manifest of a folder whose other files are complete; `about` says what was trained. Returns its hash,
    for `Checkpoint.content`. Folders in the folder are refused by `verify`."""
    files = {name: file_hash(folder / name) for name, *_ in _state(folder) if name != MANIFEST}
    write_json(folder / MANIFEST, {**about, "files": files})
    return file_hash(folder / MANIFEST)


def verify(folder: Path, content: str | None = None) -> Manifest | None:
    """Compare every file of a folder with its manifest.

    Args:
        folder: A checkpoint, model or state; hidden files in it are not read by anything and not compared.
        content: The hash of the manifest, where it is known.

    Returns:
        The manifest; None for a folder that has none, an adapter of another tool. One without `files` is of an earlier
        version and verifies nothing. Both only where `content` is not known.

    Raises:
        BadInput: The folder or a file is missing, differs, is too many, or is a link.
    """
    if folder.is_symlink() or not folder.is_dir():
        why = "is a link" if folder.is_symlink() else "is missing"
        raise BadInput(f"the folder of weights '{folder}' {why}. Fix: {RESTORE}.")
    path = folder / MANIFEST
    there = [name for name, *_ in _state(folder) if name != MANIFEST]
    if not path.exists() and content is None:
        return None
    try:
        plain = read_object(path)
        if content is None and "files" not in plain:
            return plain
        manifest = _Manifest.model_validate(plain)
    except ValidationError as error:
        raise BadInput(
            f"'{path}' does not list the hashes of the files ({error.errors()[0]['msg']}). Fix: {RESTORE}."
        ) from None
    if content is not None and file_hash(path) != content:
        raise BadInput(f"'{folder}' does not hold the weights that its run recorded. Fix: {RESTORE}.")
    for name, digest in manifest.files.items():
        if not _plain(name) or not DIGEST.fullmatch(digest):
            raise BadInput(f"'{path}' names {name!r}, which is not a file of its folder. Fix: {RESTORE}.")
        if name not in there:
            raise BadInput(f"'{folder}' lacks {name}. Fix: {RESTORE}.")
    for name in there:
        if name not in manifest.files:
            raise BadInput(f"'{folder}' has a file that its manifest does not list: {name!r}. Fix: remove it.")
        if file_hash(folder / name) != manifest.files[name]:
            raise BadInput(f"'{folder / name}' is damaged: it differs from its hash. Fix: {RESTORE}.")
    return cast(Manifest, manifest.model_dump())


class Verifier:
    """Verifies checkpoints when they are loaded, each once as long as its files are untouched, and says so."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str | None], tuple[State, Manifest | None]] = {}

    def check(self, checkpoint: Checkpoint) -> Manifest | None:
        """What `verify` returns for a checkpoint's folder; one warning where that has no hashes to compare.

        Raises:
            BadInput: As in `verify`.
        """
        folder = Path(str(checkpoint.location))
        key = str(folder), checkpoint.content
        if key in self._seen and folder.is_dir() and self._seen[key][0] == _state(folder):
            return self._seen[key][1]
        manifest = verify(folder, checkpoint.content)
        if manifest is None or "files" not in manifest:
            log.warning("'%s' has no hashes of its files: its weights are used as they are, not verified", folder)
        else:
            log.info("'%s': %d files are as they were written", folder, len(cast(dict[str, str], manifest["files"])))
        self._seen[key] = _state(folder), manifest
        return manifest


def _state(folder: Path) -> State:
    """The files of a folder, hidden ones left out; BadInput for a link or a folder among them."""
    found: list[tuple[str, int, int, int]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_symlink() or not entry.is_file():
                what = "a link" if entry.is_symlink() else "not a file"
                raise BadInput(f"'{entry.path}' is {what}; weights are read from files only. Fix: {RESTORE}.")
            stat = entry.stat()
            found.append((entry.name, stat.st_size, stat.st_mtime_ns, stat.st_ino))
    return tuple(sorted(found))


def _own_hash(fields: Mapping[str, object]) -> str:
    return bytes_hash(canonical_json(fields).encode())


def _plain(name: str) -> bool:
    """Whether a name is that of a file in the folder itself."""
    return bool(name) and name[0] != "." and name != MANIFEST and not re.search(r"[/\\:\x00]", name)


def read_object(path: Path) -> dict[str, object]:
    """A JSON object; BadInput for anything else."""
    content = read_json(path, f"{RESTORE}.")
    if not isinstance(content, dict):
        raise BadInput(f"'{path}' is not a JSON object. Fix: {RESTORE}.")
    return cast(dict[str, object], content)
