"""Folders of weights against their manifest, and records against their own hash: no damage passes."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inoc.backends.manifest import MANIFEST, Verifier, read_sealed, seal, sealed, verify
from inoc.backends.protocols import AdapterSettings, Checkpoint
from inoc.errors import BadInput

WEIGHTS = random.Random(0).randbytes(4000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint's folder with two files and its manifest."""
    return make(tmp_path / "step-00002", WEIGHTS)


def make(folder: Path, weights: bytes) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"r": 8}')
    (folder / "adapter_model.safetensors").write_bytes(weights)
    seal(folder, {"step": 2, "base": {"weights": "w"}})
    return folder


def rewrite(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_a_whole_folder_passes_and_keeps_what_was_trained(folder: Path) -> None:
    found = verify(folder)
    assert found is not None
    assert found["step"] == 2
    assert verify(folder, seal(folder, {"step": 2})) is not None


def test_every_kind_of_damage_is_refused(folder: Path, tmp_path: Path) -> None:
    """One damage at a time, each on a whole folder; the sentence names the file and what to do."""
    weights = folder / "adapter_model.safetensors"

    def flip() -> None:
        data = bytearray(WEIGHTS)
        data[1003] ^= 0x40  # an exponent bit of the float32 at 1000
        weights.write_bytes(data)

    damages: dict[str, tuple[Callable[[], object], str]] = {
        "an exponent bit": (flip, r"adapter_model.safetensors' is damaged"),
        "zeroed tensors": (lambda: weights.write_bytes(bytes(len(WEIGHTS))), r"is damaged"),
        "cut short": (lambda: weights.write_bytes(WEIGHTS[:-1]), r"is damaged"),
        "empty": (lambda: weights.write_bytes(b""), r"is damaged"),
        "a missing file": (weights.unlink, r"lacks adapter_model.safetensors"),
        "an extra file": (lambda: (folder / "chat_template.jinja").touch(), r"does not list: 'chat_template.jinja'"),
        "a folder": ((folder / "more").mkdir, r"more' is not a file"),
        "a link": (lambda: (weights.unlink(), weights.symlink_to("/etc/hostname")), r"is a link"),
    }
    for name, (damage, says) in damages.items():
        copy = tmp_path / "kept"
        folder.rename(copy)
        make(folder, WEIGHTS)
        damage()
        with pytest.raises(BadInput, match=rf"{says}.*Fix: ") as refused:
            verify(folder)
        assert "\n" not in str(refused.value), name
        shutil.rmtree(folder)
        copy.rename(folder)
        verify(folder)


@pytest.mark.parametrize("name", ["../victim", "/etc/hostname", "a/b", "..", ".hidden", MANIFEST, "C:x", "a\\b", ""])
def test_a_hostile_manifest_names_only_files_of_its_folder(folder: Path, name: str) -> None:
    def add(manifest: dict[str, object]) -> None:
        manifest["files"][name] = "0" * 64  # type: ignore[index]

    rewrite(folder, add)
    with pytest.raises(BadInput, match="not a file of its folder"):
        verify(folder)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"files": {}}', '{"files": ["a"]}', '{"files": {"a": 1}}', "[" * 100_000, "\x00", "\udcff"]
)
def test_a_manifest_that_cannot_be_read_is_one_sentence(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text, errors="surrogateescape")
    with pytest.raises(BadInput, match="Fix: ") as refused:
        verify(folder, "0" * 64)
    assert len(str(refused.value)) < 500


def test_a_folder_of_another_run_or_behind_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    content = seal(folder, {"job": "a"})
    other = make(tmp_path / "other", WEIGHTS)
    seal(other, {"job": "b"})
    verify(other)
    with pytest.raises(BadInput, match="not hold the weights that its run recorded"):
        verify(other, content)
    (other / MANIFEST).unlink()
    with pytest.raises(BadInput, match="does not exist"):
        verify(other, content)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(BadInput, match="is a link"):
        verify(tmp_path / "link", content)
    with pytest.raises(BadInput, match="is missing"):
        verify(tmp_path / "nowhere", content)


def test_what_loads_says_so_once_and_looks_again_after_a_change(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "inoc.backends")
    verifier, checkpoint = Verifier(), Checkpoint(2, str(folder), AdapterSettings())
    for _ in range(3):
        verifier.check(checkpoint)
    assert [record.getMessage() for record in caplog.records] == [f"'{folder}': 2 files are as they were written"]
    (folder / "adapter_model.safetensors").write_bytes(WEIGHTS[::-1])
    with pytest.raises(BadInput, match="is damaged"):
        verifier.check(checkpoint)


def test_an_adapter_of_another_tool_is_used_with_one_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / MANIFEST).unlink()
    verifier, checkpoint = Verifier(), Checkpoint(2, str(folder), AdapterSettings())
    for _ in range(3):
        assert verifier.check(checkpoint) is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None)
@given(
    fields=st.dictionaries(st.text().filter(lambda key: key != "sha256"), json_values, max_size=4),
    seed=st.integers(0, 2**32),
)
def test_a_record_keeps_its_fields_and_no_changed_byte_passes(
    tmp_path_factory: pytest.TempPathFactory, fields: dict[str, object], seed: int
) -> None:
    """A flipped bit is refused, or is in the white space between the same values."""
    path = tmp_path_factory.mktemp("record") / "record.json"
    try:
        text = sealed(fields).encode()
    except UnicodeEncodeError:  # a lone surrogate is no text
        return
    path.write_bytes(text)
    assert read_sealed(path) == json.loads(json.dumps(fields))
    draw = random.Random(seed)
    for _ in range(5):
        damaged = bytearray(text)
        damaged[draw.randrange(len(text))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            assert read_sealed(path) == json.loads(json.dumps(fields))
        except BadInput:
            continue


def test_a_record_without_its_hash_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text('{"state": "a"}')
    with pytest.raises(BadInput, match="differs from its own hash"):
        read_sealed(path)
