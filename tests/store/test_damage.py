"""One flipped byte in any file, any lost file: found, or without effect. Proof that the checksums find them."""

import shutil
from itertools import islice
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from inoc.errors import BrokenStore, InocError
from inoc.store import StoredArray, chunks, files, open_store, opening
from inoc.store.validate import validate

from ..tally import count
from . import damage


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody writes these stores: what is wrong is tried again at once."""
    monkeypatch.setattr(opening.time, "sleep", lambda seconds: None)


def reported(path: Path) -> list[str]:
    try:
        return validate(path)
    except InocError as error:
        return [str(error)]


def flip(file: Path, at: int, bit: int) -> bytes:
    """Flip one bit; the old content."""
    old = file.read_bytes()
    new = bytearray(old)
    new[at] ^= 1 << bit
    file.write_bytes(new)
    return old


def silent_flips(
    scenario: ModuleType, store: Path, right: dict[str, object], per_file: int, every: int = 1, enough: int = 10**6
) -> list[str]:
    """Files in which a flipped bit was neither reported nor without effect on what is read, until there are `enough`.

    A crash while validating or reading is no report: it counts as silent.
    """
    rng = np.random.default_rng(0)
    silent: list[str] = []
    for file in sorted(p for p in store.rglob("*") if p.is_file())[::every]:
        for at in sorted({int(i) for i in rng.integers(0, file.stat().st_size, per_file)}):
            old = flip(file, at, int(rng.integers(0, 7)))
            try:
                noticed = bool(reported(store)) or scenario.contents(store) == right
            except Exception:  # anything but an error of inoc
                noticed = False
            if not noticed:
                silent.append(f"{file.relative_to(store)} at {at}")
            file.write_bytes(old)
        if len(silent) >= enough:
            break
    return silent


def test_a_flipped_byte_in_every_sixth_file_is_found(scenario: ModuleType, tiny: Path) -> None:
    right = scenario.contents(tiny)
    assert silent_flips(scenario, tiny, right, per_file=1, every=6) == []
    assert reported(tiny) == []


@pytest.mark.slow  # minutes: the whole store is validated after each flip
def test_many_flipped_bytes_in_every_file_are_found(scenario: ModuleType, tiny: Path) -> None:
    assert silent_flips(scenario, tiny, scenario.contents(tiny), per_file=6) == []


def test_reading_any_flipped_chunk_fails_by_name(scenario: ModuleType, tiny: Path) -> None:
    for array in sorted(p.parent for p in tiny.rglob("c") if p.is_dir() or p.is_file()):
        where = str(array.relative_to(tiny))
        file = next(p for p in sorted((array / "c").rglob("*")) or [array / "c"] if p.is_file()) \
            if (array / "c").is_dir() else array / "c"  # fmt: skip
        old = flip(file, 0, 3)
        with pytest.raises(BrokenStore, match=f"/{where}"):
            open_store(tiny).read(where)
        file.write_bytes(old)


def test_flipped_token_logprobs_are_never_returned(tiny: Path) -> None:
    flip(tiny / "logprobs/train/prefixed/c/0/1/1", 2, 4)
    prefixed = open_store(tiny).token_logprobs().prefixed
    assert np.isfinite(prefixed[0, 0, 2:]).all()
    for key in (np.s_[0, 1], np.s_[:, :, 9:10], np.s_[0, [0, 1], 15], np.s_[0, 1, 8:], np.s_[...]):
        with pytest.raises(BrokenStore, match="/logprobs/train/prefixed"):
            prefixed[key]


def test_without_checksums_flips_go_unnoticed(
    scenario: ModuleType, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant reads without verifying; the flip test must then fail."""

    class Agrees(int):
        def __eq__(self, other: object) -> bool:
            return True

        def __ne__(self, other: object) -> bool:
            return False

        __hash__ = int.__hash__

    right = scenario.contents(tiny)
    monkeypatch.setattr(chunks, "_crc", lambda data: Agrees())
    monkeypatch.setattr(files, "node_crc", lambda document: Agrees())
    assert len(silent_flips(scenario, tiny, right, per_file=1, every=8, enough=3)) == 3


@pytest.mark.parametrize("every", [16, pytest.param(1, marks=pytest.mark.slow)])  # all files take a minute
def test_a_lost_file_is_found_or_leaves_data_pending(tiny: Path, every: int) -> None:
    before = open_store(tiny)
    right = before.token_logprobs().prefixed[...]
    had = len(before.pending()) + len(before.pending_evaluations())
    for file in sorted(p for p in tiny.rglob("*") if p.is_file())[::every]:
        content = file.read_bytes()
        file.unlink()
        if not reported(tiny):
            stored = open_store(tiny)
            lost = len(stored.pending()) + len(stored.pending_evaluations())
            assert lost > had, f"{file.relative_to(tiny)} was lost and nobody noticed"
            now = stored.token_logprobs().prefixed[...]
            assert np.array_equal(now, np.where(np.isnan(now), np.nan, right), equal_nan=True)
        file.write_bytes(content)
    assert reported(tiny) == []


def test_truncated_and_grown_chunks_are_found(tiny: Path) -> None:
    file = tiny / "logprobs/train/prefixed/c/1/0/0"
    whole = file.read_bytes()
    for content in (b"", whole[:3], whole[:-1], whole + b"\0", whole * 2):
        file.write_bytes(content)
        assert any("/logprobs/train/prefixed" in p for p in validate(tiny))


def test_two_swapped_units_are_found(tiny: Path) -> None:
    """Both chunks are sound; only the marker knows that they are in each other's place."""
    a, b = tiny / "logprobs/train/prefixed/c/0/0/0", tiny / "logprobs/train/prefixed/c/0/1/0"
    one, two = a.read_bytes(), b.read_bytes()
    a.write_bytes(two)
    b.write_bytes(one)
    assert sum("differ from their CRC marker" in p for p in validate(tiny)) == 2


def test_half_written_stores_are_one_sentence(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(InocError, match="no such store"):
        open_store(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InocError, match="not an inoc store"):
        open_store(tmp_path / "folder")
    (tiny / "zarr.json").write_text('{"attributes": {}, "node_type": "group", "zarr_format": 3}')
    with pytest.raises(InocError, match="not an inoc store"):
        open_store(tiny)
    (tiny / "zarr.json").write_text('{"attri')
    with pytest.raises(BrokenStore, match="damaged"):
        open_store(tiny)


def test_a_newer_schema_is_refused_by_version(tiny: Path) -> None:
    stored = open_store(tiny)
    (tiny / "zarr.json").write_bytes(
        files.node_bytes(files.group_document({**stored.root, "schema_version": 3, "surprise": 1}))
    )
    with pytest.raises(BrokenStore, match="schema version 3; this inoc reads up to 2"):
        open_store(tiny)


def test_verify_makes_damaged_units_pending_again(scenario: ModuleType, tiny: Path) -> None:
    right = scenario.tree_bytes(tiny)
    flip(tiny / "logprobs/train/prefixed/c/0/1/0", 1, 1)
    flip(tiny / "logprobs/train/default_crc/c", 1, 1)
    with scenario.StoreWriter.open(
        tiny, identity=scenario.IDENTITY, experiment={"name": "tiny"}, provenance={"inoc": "0"}
    ) as writer:
        broken = writer.verify()
        assert set(broken) == {("train", "none", ""), ("train", "fixed", "flatter")}
        assert set(broken) <= set(writer.pending())
    scenario.write(tiny)
    assert scenario.tree_bytes(tiny) == right


@pytest.fixture(scope="module")
def grown(scenario: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A finished store, and how it was before it grew by a prompt, a step and losses."""
    place = tmp_path_factory.mktemp("grown")
    put, calls = scenario.StoreWriter.put_prompts, 0

    def put_prompts(self: object, prompts: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            shutil.copytree(place / "now.zarr", place / "earlier.zarr")
        put(self, prompts)

    scenario.StoreWriter.put_prompts = put_prompts
    try:
        scenario.write(place / "now.zarr")
    finally:
        scenario.StoreWriter.put_prompts = put
    return place / "now.zarr", place / "earlier.zarr"


def changed_silently(grown: tuple[Path, Path], n: int, seed: int, *kinds: str, enough: int = 10**6) -> list[str]:
    """Damages, of all kinds or of those named, after which the answers differ though nothing was said, until there are
    `enough`; anything but an error of inoc counts, too."""
    store, earlier = grown
    right, files_now = damage.answers(store), damage.snapshot(store)
    silent: list[str] = []
    drawn = (one for one in damage.damages(store, earlier, seed) if not kinds or one.kind in kinds)
    for one in islice(drawn, n):
        one.do()
        try:
            if damage.answers(store) != right:
                silent.append(f"{one.kind} of {one.file}")
        except InocError:
            pass
        except Exception as error:
            silent.append(f"{one.kind} of {one.file}: {error!r}")
        damage.restore(store, files_now)
        if len(silent) >= enough:
            break
    if not kinds:
        count("damage of a store, what is read", not silent, n)
    return silent


def test_no_damage_changes_an_answer_silently(grown: tuple[Path, Path]) -> None:
    assert changed_silently(grown, 30, seed=0) == []


@pytest.mark.slow
def test_no_damage_of_twelve_hundred_changes_an_answer_silently(grown: tuple[Path, Path]) -> None:
    assert changed_silently(grown, 1200, seed=1) == []


def test_without_seals_old_and_exchanged_chunks_go_unnoticed(
    grown: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant checks each chunk alone; what is sound but not the latest must then pass."""
    monkeypatch.setattr(StoredArray, "_check_seal", lambda self, seen: None)
    assert len(changed_silently(grown, 30, 2, "stale", "swap", enough=3)) == 3


def test_a_lost_marker_is_told_from_one_never_written(tiny: Path) -> None:
    for marker in ("logprobs/train/unit_crc/c/0/1", "runs/german_mix/unit_crc/c/1/0", "logprobs/train/default_crc/c"):
        content = (tiny / marker).read_bytes()
        (tiny / marker).unlink()
        with pytest.raises(BrokenStore, match="differ from their CRC marker"):
            damage.answers(tiny)
        (tiny / marker).write_bytes(content)


def test_copies_are_sound(scenario: ModuleType, tiny: Path, tmp_path: Path) -> None:
    moved = Path(shutil.move(tiny, tmp_path / "elsewhere"))
    assert validate(moved) == []
