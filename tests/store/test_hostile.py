"""Stores made to do harm, and interrupted ones: readers touch nothing, writers touch nothing outside, locks hold."""

import json
import os
import subprocess
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import pytest

from inoc.errors import BadInput, BrokenStore, InocError
from inoc.hashing import canonical_json
from inoc.store import StoreWriter, change, lock, open_store
from inoc.store.lock import Lock, check_free, lock_path
from inoc.store.validate import validate

from ..tally import count
from .damage import answers


def everything(folder: Path) -> dict[str, bytes | str]:
    """Every file and link below a folder."""
    return {
        str(p.relative_to(folder)): os.readlink(p) if p.is_symlink() else p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_symlink() or p.is_file()
    }


def record(new: list[str], gone: list[str]) -> str:
    """A commit record whose checksum is right."""
    names = {"new": new, "gone": gone}
    return json.dumps({**names, "crc": zlib.crc32(canonical_json(names).encode())})


def committed(store: Path, new: dict[str, bytes], gone: list[str], listed: list[str] | None = None) -> None:
    """A committed change that is not moved yet."""
    for name, content in new.items():
        path = store / ".commit/new" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (store / ".commit").mkdir(exist_ok=True)
    (store / ".commit/record.json").write_text(record(sorted(new) if listed is None else listed, gone))


def outside_names(store: Path, victim: Path) -> list[list[str]]:
    up = os.path.relpath(victim, store)
    return [
        [f"{up}/c/0"],
        [f"{victim}/c/0"],
        ["prompts/../../victim/c/0"],
        ["prompts\\..\\c\\0"],
        [".hidden/c/0"],
        ["c"],
    ]


def attempts(scenario: ModuleType, store: Path) -> None:
    """Read, validate and write the store; whatever is wrong is one sentence of inoc."""
    for attempt in (lambda: answers(store), lambda: validate(store), lambda: scenario.write(store)):
        with suppress(InocError):
            attempt()


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder of somebody else's beside the store."""
    folder = tmp_path / "victim"
    (folder / "c").mkdir(parents=True)
    (folder / "c/0").write_text("precious")
    (folder / "zarr.json").write_text("precious")
    return folder


def test_a_record_never_reaches_outside(scenario: ModuleType, tiny: Path, victim: Path) -> None:
    before = everything(victim)
    for names in outside_names(tiny, victim):
        for new, gone in (([], names), (names, [])):
            committed(tiny, {"prompts/text/c/0": b"evil"}, gone, listed=new)
            with pytest.raises(BrokenStore, match="record of an interrupted change is damaged"):
                scenario.write(tiny)
            assert everything(victim) == before
    attempts(scenario, tiny)
    assert everything(victim) == before
    count("hostile store, 0 bytes outside", True, 2 * len(outside_names(tiny, victim)))


def test_old_records_name_nothing_that_is_deleted(scenario: ModuleType, tiny: Path, victim: Path) -> None:
    """The record of earlier versions, a bare list of names."""
    (tiny / ".commit/new").mkdir(parents=True)
    (tiny / ".commit/gone.json").write_text(json.dumps(["../victim", str(victim)]))
    attempts(scenario, tiny)
    assert everything(victim)


@pytest.mark.parametrize(
    "where", ["runs", "prompts/text", "prompts/text/c", ".commit", ".staged", "logprobs/train/prefixed"]
)
def test_nothing_is_written_through_a_link(scenario: ModuleType, tiny: Path, victim: Path, where: str) -> None:
    if (tiny / where).exists():
        (tiny / where).rename(tiny / "old.bak")
    (tiny / where).symlink_to(victim, target_is_directory=True)
    if where not in (".commit", ".staged"):
        committed(tiny, {f"{where}/c/0": b"evil", f"{where}/zarr.json": b"evil"}, [f"{where}/zarr.json"])
    before = everything(victim)
    with pytest.raises(BadInput, match=r"is a link; .* Fix: "):
        scenario.write(tiny)
    attempts(scenario, tiny)
    assert everything(victim) == before
    count("hostile store, 0 bytes outside", True)
    with suppress(BrokenStore):  # something else may be wrong as well
        assert any("is a link" in problem for problem in validate(tiny))


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"new": [], "gone": [], "crc": 1}', "[" * 9999])
def test_a_damaged_record_is_one_sentence_and_the_store_stays_readable(
    scenario: ModuleType, tiny: Path, content: str
) -> None:
    right = answers(tiny)
    committed(tiny, {"prompts/text/c/0": b"evil"}, [])
    (tiny / ".commit/record.json").write_text(content)
    before = everything(tiny)
    assert answers(tiny) == right
    assert any("record of an interrupted change is damaged" in problem for problem in validate(tiny))
    with pytest.raises(BrokenStore, match=r"delete .*commit and write again"):
        scenario.write(tiny)
    assert everything(tiny) == before


def interrupted(scenario: ModuleType, tmp_path: Path, after: str, n: int = 0) -> Path:
    """A store whose writer was killed at the n-th step of a name while it grew by a prompt."""
    path = tmp_path / "killed.zarr"

    def work() -> None:
        grown, left = 0, n

        def stop(name: str) -> None:
            nonlocal grown, left
            grown += name == "committed"
            if grown > 12 and name == after:
                if left == 0:
                    os._exit(9)
                left -= 1

        change.step = stop
        scenario.write(path)

    pid = scenario.forked(work)
    assert os.waitpid(pid, 0)[1] != 0
    return path


@pytest.mark.parametrize(("after", "n"), [("staged", 0), ("committed", 0), ("moved", 3)])
def test_a_reader_of_an_interrupted_store_touches_no_byte(
    scenario: ModuleType, tmp_path: Path, after: str, n: int
) -> None:
    path = interrupted(scenario, tmp_path, after, n)
    before = everything(path)
    seen = answers(path)
    assert validate(path) == []
    assert everything(path) == before
    assert (path / (".staged" if after == "staged" else ".commit")).exists()
    writer = StoreWriter.open(path, identity=scenario.IDENTITY, experiment={"name": "tiny"}, provenance={})
    writer.__exit__(ValueError, None, None)  # recovery alone
    assert not (path / ".commit").exists()
    assert answers(path) == seen
    scenario.write(path)
    assert scenario.wrong_marks(path) == []


def test_pipes_and_devices_are_refused_at_once(tiny: Path) -> None:
    for name, where in (("prompts/text/c/0", "/prompts/text"), ("prompts/text/zarr.json", "/prompts/text")):
        old = (tiny / name).read_bytes()
        (tiny / name).unlink()
        os.mkfifo(tiny / name)
        with pytest.raises(BrokenStore, match=where):
            open_store(tiny).read("prompts/text")
        (tiny / name).unlink()
        (tiny / name).write_bytes(old)


# the lock


HOLD = (
    "import sys; from inoc.store import StoreWriter\n"
    "w = StoreWriter.open(sys.argv[1], identity={'model': 'tiny', 'template': {'hash': 'abc', 'system': None}},"
    " experiment={'name': 'tiny'}, provenance={})\n"
    "print('ready', flush=True); sys.stdin.read()"
)


def ways(tmp_path: Path, tiny: Path) -> list[Path]:
    """Other names of the same store."""
    (tmp_path / "link.zarr").symlink_to(tiny)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/parent").symlink_to(tmp_path)
    (tmp_path / "deep/chain.zarr").symlink_to("../link.zarr")
    os.chdir(tmp_path)
    return [
        tmp_path / "link.zarr",
        tmp_path / "deep/parent" / tiny.name,
        tmp_path / "deep/chain.zarr",
        tmp_path / "deep" / ".." / tiny.name,
        Path(tiny.name),
        Path("deep/parent/link.zarr"),
    ]


def both_admitted(tmp_path: Path, tiny: Path) -> int:
    """Through how many other names a second writer gets in while one writes."""
    here, count = Path.cwd(), 0
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tiny)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        for path in ways(tmp_path, tiny):
            with suppress(BadInput):
                Lock(path).release()
                count += 1
    finally:
        os.chdir(here)
        other.kill()
        other.communicate()
    return count


def test_a_second_writer_is_refused_by_whatever_name_it_comes(tmp_path: Path, tiny: Path) -> None:
    assert both_admitted(tmp_path, tiny) == 0
    count("second writer by another name", True, 6)


def test_a_lock_by_name_is_caught(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant locks the name instead of the directory."""
    monkeypatch.setattr(lock, "lock_path", lambda store: store.with_name(store.name + ".lock"))
    assert both_admitted(tmp_path, tiny) >= 3


def test_a_held_lock_is_seen_without_taking_it(tiny: Path) -> None:
    check_free(tiny)
    assert not lock_path(tiny).exists()
    with Lock(tiny):
        for attempt in (check_free, Lock):
            with pytest.raises(BadInput, match="being written by process"):
                attempt(tiny)
    check_free(tiny)


def test_the_package_needs_no_fcntl(tmp_path: Path) -> None:
    """As on Windows: importing and writing a store do without the module (filelock brings its own for each system)."""
    code = (
        "import sys; sys.modules['fcntl'] = None\n"
        "import inoc, inoc.cli, inoc.store.writer, inoc.stages.work, inoc.store.imports\n"
        "inoc.open_store\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env={**os.environ})
