"""A power cut at write steps: of a file only what was flushed is left, of a folder perhaps only the names that were."""

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from inoc import atomic
from inoc.errors import InocError
from inoc.store import files

VIEWS: dict[str, Callable[[str], bool]] = {
    "no name is on the disk before its folder is flushed": lambda folder: True,
    "all names are, contents are not": lambda folder: False,
}
"""What a disk may have written by itself: is this folder left as it was when it was flushed?"""


class Disk:
    """Notes by fsync what would be left. Files and folders are told apart by inode, which memory never gives again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.contents: dict[int, bytes] = {}
        self.names: dict[int, dict[str, int]] = {}
        self.folders = {folder.stat().st_ino}

    def fsync(self, handle: int) -> None:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            found = [(entry.name, entry.inode(), entry.is_dir()) for entry in os.scandir(handle)]
            self.names[status.st_ino] = {name: inode for name, inode, _ in found}
            self.folders |= {inode for _, inode, is_folder in found if is_folder}
        else:
            self.contents[status.st_ino] = os.pread(handle, status.st_size, 0)

    def left(self, target: Path, flushed_only: Callable[[str], bool]) -> Path:
        """Write to `target` what a power cut now would leave of the store `run.zarr`."""
        now = {self.folder.stat().st_ino: self.folder} | {
            path.stat().st_ino: path for path in self.folder.rglob("*") if path.is_dir()
        }

        def names(inode: int, where: str) -> dict[str, int]:
            if flushed_only(where) or inode not in now:
                return self.names.get(inode, {})
            return {path.name: path.stat().st_ino for path in now[inode].iterdir()}

        def fill(inode: int, place: Path, where: str) -> None:
            place.mkdir(exist_ok=True)
            for name, child in names(inode, where).items():
                if child in self.folders or child in now:
                    fill(child, place / name, f"{where}/{name}".removeprefix("./"))
                else:
                    (place / name).write_bytes(self.contents.get(child, b""))

        stored = names(self.folder.stat().st_ino, "").get("run.zarr")
        target.mkdir()
        if stored is not None:
            fill(stored, target, ".")
        return target


@pytest.fixture
def disk(quick_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    (quick_dir / "disk").mkdir()
    made = Disk(quick_dir / "disk")
    monkeypatch.setattr(atomic, "_flushing", True)  # the other tests do not wait for the disk
    monkeypatch.setattr(os, "fsync", made.fsync)
    return made


def cuts(
    scenario: ModuleType, disk: Disk, place: Path, every: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[int, list[str], list[str]]:
    """The number of steps, and what was wrong after a power cut at one step in `every`: a damaged store where names
    are flushed, one that the same run again does not heal; and what was lost after the last step."""
    scenario.write(place / "right.zarr")
    right, wrong, count = scenario.tree_bytes(place / "right.zarr"), [], 0

    def kept(path: Path) -> dict[str, object] | None:
        try:
            return scenario.contents(path)
        except InocError:
            return None

    def heals(copy: Path) -> bool:
        try:
            scenario.write(copy)
        except InocError:
            return False
        return scenario.tree_bytes(copy) == right

    def cut(name: str) -> None:
        nonlocal count
        count += 1
        if count % every:
            return
        monkeypatch.setattr(files, "after_step", None)
        for said, flushed_only in VIEWS.items():
            copy = disk.left(place / "left.zarr", flushed_only)
            with atomic.without_flushing():
                faults = scenario.wrong_marks(copy)
                if (faults or count % (5 * every) == 0) and not heals(copy):
                    faults.append("another store after the same run again")
                elif not flushed_only("."):
                    faults = []  # a chunk without content is damage that its unit's next writing heals
            wrong.extend(f"step {count}, {name}; {said}: {fault}" for fault in faults)
            shutil.rmtree(copy)
        monkeypatch.setattr(files, "after_step", cut)

    monkeypatch.setattr(files, "after_step", cut)
    scenario.write(disk.folder / "run.zarr")
    monkeypatch.setattr(files, "after_step", None)
    lost: list[str] = []
    for number, (said, flushed_only) in enumerate(VIEWS.items()):
        if kept(disk.left(place / f"end-{number}.zarr", flushed_only)) != kept(place / "right.zarr"):
            lost.append(f"at the end; {said}: something is lost")
    return count, wrong, lost


@pytest.mark.parametrize("every", [80, pytest.param(1, marks=pytest.mark.slow)])
def test_a_power_cut_loses_nothing_that_is_marked(
    every: int, scenario: ModuleType, disk: Disk, quick_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, wrong, lost = cuts(scenario, disk, quick_dir, every, monkeypatch)
    assert steps > 100
    assert wrong + lost == []


def test_without_flushing_the_power_cut_is_seen(
    scenario: ModuleType, disk: Disk, quick_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant flushes files and no folders; names are then lost."""
    fsync = disk.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: None if stat.S_ISDIR(os.fstat(handle).st_mode) else fsync(handle))
    _, wrong, lost = cuts(scenario, disk, quick_dir, 50, monkeypatch)
    assert wrong + lost
