"""Tiny models, written once per test session."""

from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from inoc.backends.local import LocalBackend
from inoc.backends.protocols import ModelSpec
from inoc.testing import table_model, tiny_model
from inoc.values import Scalar

STYLES = ("qwen2", "llama", "gemma")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {style: tiny_model(root / style, style, seed=7) for style in STYLES}


@pytest.fixture(scope="session", params=STYLES)
def style(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A model whose next-token table is known, and the table."""
    directory = tmp_path_factory.mktemp("models") / "table"
    return directory, table_model(directory, seed=7)


class Local(Protocol):
    def __call__(self, directory: Path, **options: Scalar) -> LocalBackend: ...


@pytest.fixture(scope="session")
def local() -> Local:
    """A local backend on the CPU."""

    def make(directory: Path, **options: Scalar) -> LocalBackend:
        return LocalBackend.from_spec(ModelSpec(str(directory), options={"device": "cpu", **options}))

    return make
