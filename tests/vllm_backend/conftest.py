"""Tiny models and one vLLM engine after another in this process, on the CPU. Skipped where vLLM is not installed."""

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from inoc.backends.protocols import ModelSpec
from inoc.backends.vllm import VllmBackend
from inoc.testing import table_model, tiny_model
from inoc.values import Scalar

sys.path.insert(0, str(Path(__file__).parents[1]))

for name, value in {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "TORCH_COMPILE_DISABLE": "1",
    "OMP_NUM_THREADS": "1",
}.items():
    os.environ.setdefault(name, value)

BLOCK = 32
OPTIONS: dict[str, Scalar] = {
    "gpu_memory_utilization": 0.1,
    "enforce_eager": True,
    "block_size": BLOCK,
    "max_num_batched_tokens": 1024,
    "max_num_seqs": 64,
}
"""Small enough for any machine."""


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "qwen2", "qwen2", seed=7)


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A model whose next-token table is known, and the table."""
    directory = tmp_path_factory.mktemp("models") / "table"
    return directory, table_model(directory, seed=7)


class Open(Protocol):
    def __call__(self, directory: Path, **options: Scalar) -> VllmBackend: ...


@pytest.fixture(scope="session")
def open_vllm() -> Open:
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed here: make test-vllm")

    def make(directory: Path, **options: Scalar) -> VllmBackend:
        return VllmBackend.from_spec(ModelSpec(str(directory), options={**OPTIONS, **options}))

    return make


@pytest.fixture(scope="module")
def backend(open_vllm: Open, tiny: Path) -> Iterator[VllmBackend]:
    """One engine per module: two do not fit beside each other."""
    made = open_vllm(tiny)
    yield made
    made.close()
