"""Fixtures of the store's tests: the scenario (a module beside this file) and a tiny store written by it."""

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("store_scenario", HERE / "scenario.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def scenario() -> ModuleType:
    """The module scenario.py: `write`, `contents`, `logprobs`, ..."""
    return _load()


@pytest.fixture
def quick_dir(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: kill tests write the same store hundreds of times."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as place:
        yield Path(place)


@pytest.fixture(scope="session")
def tiny_store(scenario: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished store of the scenario; do not write to it."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.zarr"
    scenario.write(path)
    return path


@pytest.fixture
def tiny(tiny_store: Path, tmp_path: Path) -> Path:
    """A copy of the tiny store to spoil."""
    return Path(shutil.copytree(tiny_store, tmp_path / "tiny.zarr"))
