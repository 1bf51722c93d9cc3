"""A store of each schema as it was written once. Each must stay readable, and be gone on with in the present schema.

An archive is made by `python tests/store/test_golden.py`, which packs what scenario.py writes, and never replaced; a
changed format is a new schema version with a golden store of its own beside the others.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

GOLDEN = Path(__file__).parent / "golden" / "v1.tar.xz"
CONTENTS = "5a04996ffb76c13d7811f0ee00af1dccc36892272428484f96514773cdaf4a1f"


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    with tarfile.open(GOLDEN) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "v1.zarr"


def hash_of(contents: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def test_the_golden_store_is_valid_and_unchanged(golden: Path, scenario: ModuleType) -> None:
    from inoc.store.validate import validate

    assert validate(golden) == []
    assert scenario.wrong_marks(golden) == []
    assert hash_of(scenario.contents(golden)) == CONTENTS


def test_the_golden_store_is_gone_on_with_in_the_present_schema(golden: Path, scenario: ModuleType) -> None:
    from inoc.store import SCHEMA_VERSION, open_store
    from inoc.store.validate import validate

    before = scenario.contents(golden)
    scenario.write(golden)
    after = scenario.contents(golden)
    arrays = {name for name, content in before.items() if isinstance(content, tuple)}
    assert {name for name in arrays if before[name] != after[name]} == {n for n in arrays if n.endswith("_crc")}
    assert open_store(golden).schema_version == SCHEMA_VERSION
    assert validate(golden) == []
    assert scenario.wrong_marks(golden) == []


def test_a_damaged_cell_of_an_earlier_schema_is_pending_after_it(golden: Path, scenario: ModuleType) -> None:
    a, b = (golden / f"logprobs/train/prefixed/c/0/{p}/0" for p in (0, 1))
    b.write_bytes(a.read_bytes())
    with scenario.StoreWriter.open(
        golden, identity=scenario.IDENTITY, experiment={"name": "tiny"}, provenance={}
    ) as writer:
        assert sum("It is pending again" in note for note in writer.notes) == 1
        assert writer.pending() == (("train", "fixed", "flatter"),)


def test_xarray_reads_the_golden_store(golden: Path) -> None:
    import xarray as xr

    tree = xr.open_datatree(golden, engine="zarr", consolidated=False)
    assert tree.attrs["schema"] == "inoc.run"
    assert tree.attrs["schema_version"] == 1
    assert tree["/prompts/text"].values.tolist()[2] == "The sky is blue."


if __name__ == "__main__":
    store = GOLDEN.with_name("v1.zarr")
    subprocess.run([sys.executable, str(Path(__file__).with_name("scenario.py")), str(store)], check=True)
    with tarfile.open(GOLDEN, "x:xz", preset=9) as out:
        for file in sorted(p for p in store.rglob("*") if p.is_file()):
            entry = tarfile.TarInfo(f"v1.zarr/{file.relative_to(store)}")
            entry.size = file.stat().st_size
            with file.open("rb") as f:
                out.addfile(entry, f)
    shutil.rmtree(store)
