"""A store of schema v1 as it was written once. It must stay readable for as long as schema v1 is.

Made by `python tests/store/test_golden.py`, which packs what scenario.py writes; the archive is never replaced, a
changed format is a new schema version with a golden store of its own beside this one.
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


def test_the_golden_store_can_be_gone_on_with(golden: Path, scenario: ModuleType) -> None:
    before = scenario.contents(golden)
    scenario.write(golden)
    assert scenario.contents(golden) == before


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
