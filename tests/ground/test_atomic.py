"""A file is whole or absent, and on the disk before its name is."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inoc import atomic
from inoc.atomic import flush, without_flushing, write_atomic, write_folder
from inoc.errors import BadInput


@pytest.fixture(autouse=True)
def quick_disk() -> None:
    """Here the disk is waited for."""


@given(st.binary() | st.text(st.characters(codec="utf-8")), st.binary() | st.none())
def test_what_is_written_is_read(content, before):
    with tempfile.TemporaryDirectory() as folder, without_flushing():
        path = Path(folder) / "made" / "file"
        if before is not None:
            write_atomic(path, before)
        write_atomic(path, content)
        assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
        assert os.listdir(path.parent) == ["file"]


def test_file_then_name_then_directory(tmp_path, monkeypatch):
    """The content is flushed before the rename, and the directory after it."""
    path = tmp_path / "file"
    events: list[object] = []
    monkeypatch.setattr(atomic, "flush", lambda place: events.append((place.name, path.exists())))
    write_atomic(path, b"new")
    assert events == [("file.partial", False), (tmp_path.name, True)]


def test_a_folder_is_flushed_before_its_name_and_its_name_after(tmp_path, monkeypatch):
    target = tmp_path / "step-1"
    events: list[tuple[str, bool]] = []
    monkeypatch.setattr(atomic, "flush", lambda place: events.append((place.name, target.exists())))

    def fill(folder: Path) -> None:
        for name in ("a", "b"):
            (folder / name).write_text(name)

    (tmp_path / ".writing-step-1").mkdir()
    (tmp_path / ".writing-step-1" / "left by a kill").write_text("x")
    write_folder(target, fill)
    assert sorted(events[:2]) == [("a", False), ("b", False)]
    assert events[2:] == [(".writing-step-1", False), (tmp_path.name, True)]
    assert sorted(os.listdir(target)) == ["a", "b"]
    write_folder(target, lambda folder: (folder / "c").touch())
    assert os.listdir(target) == ["c"], "an old folder is replaced"
    assert os.listdir(tmp_path) == ["step-1"]


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    write_atomic(path, "old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, step, fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_kill_between_the_steps_leaves_the_old_content_or_the_new(tmp_path, monkeypatch):
    """A kill is not an OSError: nothing cleans up after it, and the next write still works."""
    path = tmp_path / "file"
    for step in range(3):
        write_atomic(path, "old")
        left = iter([*[None] * step, KeyboardInterrupt])

        def tick(left=left) -> None:
            if next(left, None) is not None:
                raise KeyboardInterrupt

        monkeypatch.setattr(atomic, "flush", lambda _, tick=tick: tick())
        if step < 2:
            with pytest.raises(KeyboardInterrupt):
                write_atomic(path, "new")
        else:
            write_atomic(path, "new")
        monkeypatch.undo()
        assert path.read_text() == ("old" if step == 0 else "new")
    write_atomic(path, "again")
    assert os.listdir(tmp_path) == ["file"]


@pytest.fixture
def synced(monkeypatch):
    """What was given to fsync."""
    handles: list[int] = []
    monkeypatch.setattr(os, "fsync", handles.append)
    return handles


def test_flushing_waits_for_files_and_directories(tmp_path, synced):
    write_atomic(tmp_path / "file", b"")
    assert len(synced) == 2
    flush(tmp_path)
    assert len(synced) == 3


def test_without_flushing(tmp_path, synced):
    with without_flushing():
        write_atomic(tmp_path / "a", b"")
        with without_flushing():
            write_atomic(tmp_path / "b", b"")
        write_atomic(tmp_path / "c", b"")
    assert synced == []
    with pytest.raises(ZeroDivisionError), without_flushing():
        _ = 1 / 0
    write_atomic(tmp_path / "d", b"")
    assert len(synced) == 2


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no list of open files")
def test_nothing_stays_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        write_atomic(tmp_path / "file", "x")
    assert len(os.listdir("/proc/self/fd")) == before


def test_only_a_file_is_replaced(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    for name in ("file", "new"):
        assert atomic.replaceable(tmp_path / name) == tmp_path / name
    for name, kind in (("folder", "a directory"), ("link", "a link"), ("pipe", "not a regular file")):
        with pytest.raises(BadInput, match=f"{name} is {kind} and is not replaced"):
            atomic.write_file(tmp_path / name, "x")
    with pytest.raises(BadInput, match="none does not exist"):
        atomic.write_file(tmp_path / "none" / "x", "x")
    atomic.write_file(tmp_path / "file", "x")
    assert (tmp_path / "file").read_text() == "x"
