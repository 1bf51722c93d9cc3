"""Changes of many files that happen whole or not at all, and how a reader sees one that a kill interrupted.

A change is staged in `.staged`, committed by one rename to `.commit`, then moved into place. `.commit/record.json`
names the files, with a checksum. A reader that meets a commit reads the files where they are, staged or moved, and
touches nothing; the next writer, which holds the lock, moves the rest.
"""

import json
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple, cast

from inoc.atomic import flush
from inoc.errors import BadInput, BrokenStore
from inoc.hashing import canonical_json
from inoc.store.files import NODE, read_bytes, step

STAGED, COMMIT, RECORD = ".staged", ".commit", "record.json"


class Change(NamedTuple):
    """The files of a store that a committed change puts, and those it removes; paths inside the store."""

    new: frozenset[str]
    gone: frozenset[str]


class Files:
    """The files of a store as a reader sees them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._change: Change | None = None
        self.look()

    def look(self) -> None:
        """See whether a change is committed now. One with a damaged record is left out: the old state counts."""
        self._change = None
        if os.path.exists(self.root / COMMIT):
            try:
                self._change = read_record(self.root / COMMIT)
            except (BrokenStore, OSError):
                return

    def paths(self, name: str) -> tuple[Path, ...]:
        """Where to look for a file, the first that exists counts; none for a file that is removed."""
        if self._change is None:
            return (self.root / name,)
        if name in self._change.gone:
            return ()
        staged = (self.root / COMMIT / "new" / name,) if name in self._change.new else ()
        return (*staged, self.root / name)

    def read(self, name: str) -> bytes:
        """The content of a file; FileNotFoundError where there is none."""
        for path in self.paths(name):
            try:
                return read_bytes(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
        raise FileNotFoundError(2, "No such file", str(self.root / name))

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return any(path.is_file() for path in self.paths(name))

    def folders(self, where: str) -> set[str]:
        """The nodes (folders with a zarr.json) directly inside a node."""
        places = [self.root / where]
        if self._change is not None:
            places.append(self.root / COMMIT / "new" / where)
        found: set[str] = set()
        for place in places:
            if place.is_dir():
                with os.scandir(place) as entries:
                    found |= {e.name for e in entries if e.name[0] != "." and e.name not in (NODE, "c")}
        prefix = f"{where}/" if where else ""
        return {name for name in found if self.exists(f"{prefix}{name}/{NODE}")}


def _plain(name: object) -> bool:
    """Whether a record may name it: a zarr.json or a chunk inside the store, and nothing else."""
    if not isinstance(name, str) or "\\" in name or "\0" in name:
        return False
    parts = PurePosixPath(name).parts
    usual = "/".join(parts) == name and not any(part[0] in "./" or ":" in part for part in parts)
    return usual and (parts[-1] == NODE or "c" in parts[1:])


def read_record(commit: Path) -> Change:
    """The record of a committed change; BrokenStore where it is damaged or names what is not a file of a store."""
    try:
        said = json.loads(read_bytes(commit / RECORD))
        names = {kind: cast(list[str], said[kind]) for kind in ("new", "gone")}
        right = said["crc"] == _record_crc(names) and all(_plain(name) for found in names.values() for name in found)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        right, names = False, {}
    if not right:
        raise BrokenStore(
            f"{commit}: the record of an interrupted change is damaged, so that the change cannot be finished; reading "
            f"goes on without it. Fix: run `inoc validate`; if only this is wrong, delete {commit} and write again."
        )
    return Change(frozenset(names["new"]), frozenset(names["gone"]))


def _record_crc(names: dict[str, list[str]]) -> int:
    return zlib.crc32(canonical_json(names).encode("utf-8", "surrogatepass"))


def commit_change(root: Path, gone: list[str]) -> None:
    """Commit what is staged. After the one rename it will happen, by this process or by the next writer."""
    staged = root / STAGED
    new = [p.relative_to(staged / "new").as_posix() for p in sorted((staged / "new").rglob("*")) if p.is_file()]
    names = {"new": new, "gone": sorted(gone)}
    (staged / RECORD).write_text(canonical_json({**names, "crc": _record_crc(names)}), encoding="utf-8")
    for path in (*staged.rglob("*"), staged):
        flush(path)
    step("staged")
    staged.rename(root / COMMIT)
    flush(root)
    step("committed")
    finish_change(root)


def finish_change(root: Path) -> None:
    """Move a committed change into place. Doing it twice, or half and then again, is the same.

    Only for the process that holds the lock, after `refuse_links`.
    """
    commit = root / COMMIT
    change = read_record(commit)
    for name in sorted(change.new, key=lambda n: (n.rsplit("/", 1)[-1] == NODE, -n.count("/"), n)):
        staged, target = commit / "new" / name, root / name
        if staged.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            staged.replace(target)
            step("moved")
    for name in sorted(change.gone):
        (root / name).unlink(missing_ok=True)
        step("removed")
    for folder in dict.fromkeys(parent for name in sorted(change.new) for parent in Path(name).parents):
        flush(root / folder)
    shutil.rmtree(root / STAGED, ignore_errors=True)
    commit.rename(root / STAGED)  # in one step: a half-removed commit could not be finished
    step("finished")
    shutil.rmtree(root / STAGED, ignore_errors=True)


def _is_link(entry: os.DirEntry[str]) -> bool:
    """Whether an entry leads elsewhere: a symbolic link, or on Windows a junction."""
    return entry.is_symlink() or (
        os.name == "nt" and bool(getattr(entry.stat(follow_symlinks=False), "st_reparse_tag", 0))
    )


def links(root: Path) -> Iterator[Path]:
    """Links inside a store."""
    waiting = [root]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if _is_link(entry):
                    yield Path(entry.path)
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))


def refuse_links(root: Path) -> None:
    """Raise BadInput where a store holds a link: what is written there would land elsewhere."""
    for path in links(root):
        raise BadInput(
            f"{path} is a link; a store that is written holds its own files only. Fix: put the files themselves there."
        )


def finish_interrupted(root: Path) -> None:
    """Finish the change that a kill interrupted, if there is one; nothing is touched where a store holds a link."""
    refuse_links(root)
    if (root / COMMIT).exists():
        finish_change(root)


def clear_staged(root: Path) -> None:
    """Forget what a killed writer staged and did not commit, and its unfinished temporary files."""
    shutil.rmtree(root / STAGED, ignore_errors=True)
    for folder, _, names in os.walk(root):
        for name in names:
            if name.endswith(".partial"):
                Path(folder, name).unlink(missing_ok=True)
