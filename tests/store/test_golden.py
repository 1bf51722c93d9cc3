"""A store of each schema as it was written once. Each must stay readable, and be gone on with in the present schema.

An archive is made by `python tests/store/test_golden.py`, which packs what scenario.py writes as that of the present
schema, and never replaced; a changed format is a new schema version with a golden store of its own beside the others.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from inoc.errors import BadInput, BrokenStore
from inoc.store import SCHEMA_VERSION, StoreWriter, open_store
from inoc.store.upgrade import upgrade
from inoc.store.validate import validate
from tests.command_line import run_inoc

FOLDER = Path(__file__).parent / "golden"
CONTENTS = {
    1: "5a04996ffb76c13d7811f0ee00af1dccc36892272428484f96514773cdaf4a1f",
    2: "1b3b75a8bb77d6c3e4f5aefea2a3470cd8c61680ed12032539f3a98d8f406db3",
}


def unpacked(version: int, place: Path) -> Path:
    with tarfile.open(FOLDER / f"v{version}.tar.xz") as archive:
        archive.extractall(place, filter="data")
    return place / f"v{version}.zarr"


@pytest.fixture(params=CONTENTS)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return unpacked(request.param, tmp_path)


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    return unpacked(1, tmp_path)


def contents(scenario: ModuleType, path: Path) -> dict[str, object]:
    """Every value as it is read, and every attribute as it lies on the disk."""
    found = scenario.contents(path)
    for where in (where for where, content in found.items() if isinstance(content, dict)):
        attributes = json.loads((path / where / "zarr.json").read_bytes())["attributes"]
        found[where] = {name: value for name, value in attributes.items() if name != "metadata_crc32"}
    return found


def hash_of(contents: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def arrays_of(contents: dict[str, object]) -> dict[str, object]:
    """The values, without markers, whose meaning may change with the schema."""
    return {name: c for name, c in contents.items() if isinstance(c, tuple) and not name.endswith("_crc")}


def chunks(path: Path) -> dict[str, bytes]:
    """Every chunk file of a store but those of markers."""
    files = (p for p in path.rglob("*") if p.is_file() and p.name != "zarr.json" and "_crc/" not in p.as_posix())
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in files}


def test_the_golden_store_is_valid_and_unchanged(golden: Path, scenario: ModuleType) -> None:
    assert validate(golden) == []
    assert scenario.wrong_marks(golden) == []
    assert hash_of(contents(scenario, golden)) == CONTENTS[int(golden.stem[1:])]


def test_the_golden_store_is_gone_on_with_in_the_present_schema(golden: Path, scenario: ModuleType) -> None:
    before = arrays_of(scenario.contents(golden))
    upgrade(golden)
    scenario.write(golden)
    after = scenario.contents(golden)
    assert {name for name in before if before[name] != after[name]} == set()
    assert open_store(golden).schema_version == SCHEMA_VERSION
    assert validate(golden) == []
    assert scenario.wrong_marks(golden) == []


def test_an_upgrade_keeps_every_chunk_and_every_answer(v1: Path, scenario: ModuleType, tmp_path: Path) -> None:
    before, values, scores = chunks(v1), arrays_of(scenario.contents(v1)), open_store(v1).scores
    code, said, _ = run_inoc("upgrade", str(v1), "-o", str(tmp_path / "new.zarr"))
    assert (code, "schema v1 is now v2" in said) == (0, True)
    assert open_store(v1).schema_version == 1, "the source is only read"
    code, said, _ = run_inoc("upgrade", str(v1), "--json")
    assert (code, json.loads(said)["before"], json.loads(said)["notes"]) == (0, 1, [])
    for path in (v1, tmp_path / "new.zarr"):
        now = chunks(path)
        assert {name: now.get(name) for name in before} == before
        assert {name.rpartition("/c/")[0] for name in now.keys() - before.keys()} == {
            "runs/german_mix/question", "runs/german_mix/file",
        }  # fmt: skip
        found = scenario.contents(path)
        assert {name: found[name] for name in values} == values
        assert scores is not None
        assert scores.identical(open_store(path).scores)
        assert validate(path) == []
    assert scenario.tree_bytes(v1) == scenario.tree_bytes(tmp_path / "new.zarr")


def test_an_upgrade_of_the_present_schema_changes_no_byte(tiny: Path, scenario: ModuleType) -> None:
    before = scenario.tree_bytes(tiny)
    assert run_inoc("upgrade", str(tiny))[:2] == (0, f"{tiny}: schema v2 already\n")
    assert scenario.tree_bytes(tiny) == before


def test_a_store_of_an_earlier_schema_is_not_written(v1: Path, scenario: ModuleType) -> None:
    before = scenario.tree_bytes(v1)
    with pytest.raises(BadInput, match=r"schema version 1, which is read but not written. Fix: run `inoc upgrade"):
        scenario.write(v1)
    assert scenario.tree_bytes(v1) == before


def test_what_an_upgrade_refuses_changes_no_byte(v1: Path, scenario: ModuleType, tmp_path: Path) -> None:
    text = v1 / "prompts/text/c/0"
    text.write_bytes(text.read_bytes()[:-1])
    before = scenario.tree_bytes(v1)
    with pytest.raises(BrokenStore, match="/prompts/text"):
        upgrade(v1)
    code, said, error = run_inoc("upgrade", str(v1), "-o", str(tmp_path / "new.zarr"))
    assert (code, said, "/prompts/text" in error) == (2, "", True)
    assert scenario.tree_bytes(v1) == before
    assert [p.name for p in tmp_path.iterdir()] == ["v1.zarr"]


def test_an_upgrade_replaces_no_store(v1: Path, tiny: Path, scenario: ModuleType) -> None:
    before = scenario.tree_bytes(tiny)
    code, _, error = run_inoc("upgrade", str(v1), "-o", str(tiny))
    assert (code, "exists already. Fix: choose another place" in error) == (2, True)
    assert scenario.tree_bytes(tiny) == before


def test_an_upgrade_follows_no_link_and_waits_for_no_pipe(v1: Path, tmp_path: Path) -> None:
    stray = v1 / "runs/stray"
    stray.symlink_to(tmp_path)
    for options in ([], ["-o", str(tmp_path / "new.zarr")]):
        code, _, error = run_inoc("upgrade", str(v1), *options)
        assert (code, "is a link" in error) == (2, True)
    stray.unlink()
    os.mkfifo(stray)
    code, _, error = run_inoc("upgrade", str(v1), "-o", str(tmp_path / "new.zarr"))
    assert (code, "cannot be copied" in error) == (2, True)


def test_a_damaged_cell_of_an_earlier_schema_is_pending_after_it(v1: Path, scenario: ModuleType) -> None:
    a, b = (v1 / f"logprobs/train/prefixed/c/0/{p}/0" for p in (0, 1))
    b.write_bytes(a.read_bytes())
    (note,) = upgrade(v1).notes
    assert "It is pending again" in note
    with StoreWriter.open(v1, identity=scenario.IDENTITY, experiment={"name": "tiny"}, provenance={}) as writer:
        assert writer.pending() == (("train", "fixed", "flatter"),)


def test_an_upgrade_names_questions_files_and_probes(v1: Path) -> None:
    """What a store of schema v1 says of them through its experiment is read alike before and after."""
    from inoc.store.files import group_document, node_bytes
    from inoc.store.opening import read_root

    evaluation = {"instructions": {"q0": "a.jsonl", "q1": "b.jsonl"}, "leak_grid": ["sky"]}
    root = {**read_root(v1), "experiment": {"name": "tiny", "evaluation": evaluation}}
    (v1 / "zarr.json").write_bytes(node_bytes(group_document(root)))
    before = open_store(v1)
    assert before.probes == {"sky": "prompts"}
    answered = before.answered("german_mix")
    upgrade(v1)
    after = open_store(v1)
    assert (after.probes, after.answered("german_mix")) == ({"sky": "prompts"}, answered)
    assert after.labels("runs/german_mix/question") == answered[0]


@pytest.mark.parametrize("count", [8, pytest.param(0, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_an_upgrade_survives_kills(v1: Path, quick_dir: Path, count: int) -> None:
    """After it the store holds what it held, and the same command again ends with the same bytes."""
    command = [sys.executable, str(Path(__file__).with_name("scenario.py")), str(quick_dir)]
    command += ["--upgrade", str(v1), "--count", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["points"] == (count or result["steps"])
    assert result["failures"] == {}


def test_xarray_reads_the_golden_store(golden: Path) -> None:
    import xarray as xr

    tree = xr.open_datatree(golden, engine="zarr", consolidated=False)
    assert tree.attrs["schema"] == "inoc.run"
    assert tree.attrs["schema_version"] == int(golden.stem[1:])
    assert tree["/prompts/text"].values.tolist()[2] == "The sky is blue."
    if tree.attrs["schema_version"] == 2:
        assert np.isfinite(tree["/judgments/german_mix/value"].values).any()


if __name__ == "__main__":
    name = f"v{SCHEMA_VERSION}"
    store = FOLDER / f"{name}.zarr"
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "0"}
    subprocess.run(
        [sys.executable, str(Path(__file__).with_name("scenario.py")), str(store)], check=True, env=environment
    )
    with tarfile.open(FOLDER / f"{name}.tar.xz", "x:xz", preset=9) as out:
        for file in sorted(p for p in store.rglob("*") if p.is_file()):
            entry = tarfile.TarInfo(f"{name}.zarr/{file.relative_to(store)}")
            entry.size = file.stat().st_size
            with file.open("rb") as f:
                out.addfile(entry, f)
    shutil.rmtree(store)
