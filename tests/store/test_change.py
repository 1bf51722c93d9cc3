"""Links are found however deep they are; a committed change is read where its files are."""

import os
from pathlib import Path

import pytest

from inoc.errors import BadInput, BrokenStore
from inoc.hashing import canonical_json
from inoc.store import change, open_store
from inoc.store.change import Change, Files, links, read_record, refuse_links
from inoc.store.lock import lock_path
from inoc.store.opening import steady


def test_links_at_any_depth(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    assert list(links(tmp_path)) == []
    refuse_links(tmp_path)
    os.symlink("/", deep / "folder")
    os.symlink(deep / "file", tmp_path / "a" / "name")
    assert {path.relative_to(tmp_path).as_posix() for path in links(tmp_path)} == {"a/b/c/folder", "a/name"}
    with pytest.raises(BadInput, match="is a link"):
        refuse_links(tmp_path)


def committed(root: Path, new: list[str], gone: list[str]) -> Path:
    """A store with a committed change of some files, each with the text "new" or "old"."""
    for name in {*new, *gone, "stays/zarr.json"}:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("old")
    for name in new:
        (root / ".commit/new" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / ".commit/new" / name).write_text("new")
    names = {"new": new, "gone": gone}
    record = {**names, "crc": change._record_crc(names)}
    (root / ".commit/record.json").write_text(canonical_json(record))
    return root


def test_a_reader_sees_the_committed_state(tmp_path: Path) -> None:
    files = Files(committed(tmp_path, ["g/zarr.json", "g/v/zarr.json"], ["old/zarr.json"]))
    assert (files.read("g/zarr.json"), files.read("stays/zarr.json")) == (b"new", b"old")
    assert (files.exists("g/zarr.json"), files.exists("old/zarr.json"), files.exists("none")) == (True, False, False)
    with pytest.raises(FileNotFoundError):
        files.read("old/zarr.json")
    assert files.paths("old/zarr.json") == ()
    assert files.folders("") == {"g", "stays"}
    assert files.folders("g") == {"v"}
    change.finish_change(tmp_path)
    files.look()
    assert (files.read("g/zarr.json"), files.folders("")) == (b"new", {"g", "stays"})
    assert not (tmp_path / "old/zarr.json").exists()
    assert not [path for path in tmp_path.iterdir() if path.name[0] == "."]


def test_a_damaged_record_leaves_the_old_state(tmp_path: Path) -> None:
    root = committed(tmp_path, ["g/zarr.json"], [])
    assert read_record(root / ".commit") == Change(frozenset({"g/zarr.json"}), frozenset())
    record = root / ".commit/record.json"
    record.write_text(record.read_text().replace("g/", "h/"))
    with pytest.raises(BrokenStore, match="the record of an interrupted change is damaged"):
        read_record(root / ".commit")
    assert Files(root).read("g/zarr.json") == b"old"


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("zarr.json", True), ("a/zarr.json", True), ("a/b/c/0/1", True), ("a/c/0", True),
        ("c/0", False), ("a/other.json", False), ("../zarr.json", False), ("a/../zarr.json", False),
        ("/a/zarr.json", False), ("a//zarr.json", False), ("a/.b/zarr.json", False), ("a\\zarr.json", False),
        ("C:/zarr.json", False), ("a\0/zarr.json", False),
    ],
)  # fmt: skip
def test_what_a_record_may_name(tmp_path: Path, name: str, right: bool) -> None:
    (tmp_path / ".commit").mkdir()
    names = {"new": [name], "gone": []}
    (tmp_path / ".commit/record.json").write_text(canonical_json({**names, "crc": change._record_crc(names)}))
    if right:
        assert read_record(tmp_path / ".commit").new == {name}
    else:
        with pytest.raises(BrokenStore):
            read_record(tmp_path / ".commit")


def exchanged(store: Path, where: str, other: str) -> None:
    """A sound chunk in the place of another."""
    (store / where).write_bytes((store / other).read_bytes())


def test_a_sound_chunk_of_another_time_or_place_is_not_returned(tiny: Path) -> None:
    """Its own checksum agrees; what says which chunks belong together does not."""
    exchanged(tiny, "prompts/family/c/0", "prompts/group/c/0")
    exchanged(tiny, "logprobs/train/prefixed/c/0/1/0", "logprobs/train/prefixed/c/0/0/0")
    store = open_store(tiny)
    with pytest.raises(BrokenStore, match="/prompts/family is damaged: its chunks differ from their CRC marker"):
        store.read("prompts/family")
    prefixed = store.token_logprobs().prefixed
    assert prefixed[0, 0].shape == (16,)
    with pytest.raises(BrokenStore, match=r"the chunks of 0/1 differ from their CRC marker"):
        prefixed[0, 1, :2]


def test_a_chunk_that_changes_after_it_was_read_is_not_returned(tiny: Path) -> None:
    prefixed = open_store(tiny).token_logprobs().prefixed
    right = prefixed[0, 1].copy()
    exchanged(tiny, "logprobs/train/prefixed/c/0/1/0", "logprobs/train/prefixed/c/0/0/0")
    with pytest.raises(BrokenStore, match="chunk 0/1/0 differs from its CRC marker"):
        prefixed[0, 1]
    assert right.shape == (16,)


def test_reading_is_tried_again_more_often_beside_a_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def torn() -> None:
        calls.append(1)
        raise KeyError("half")

    monkeypatch.setattr("inoc.store.opening.time.sleep", lambda seconds: None)
    for tries, store in ((2, tmp_path / "alone.zarr"), (8, tmp_path / "written.zarr")):
        if tries == 8:
            lock_path(store).touch()
        calls.clear()
        with pytest.raises(BrokenStore, match="its parts contradict each other"):
            steady(store, torn)
        assert len(calls) == tries
    assert steady(tmp_path, lambda: 7) == 7
