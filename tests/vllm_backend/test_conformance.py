"""The public suites on vLLM in this process, and the model whose table is known."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from inoc.backends.vllm import VllmBackend
from inoc.testing import SamplerConformance, ScorerConformance


class TestScoring(ScorerConformance):
    tolerance: ClassVar[float] = 2e-5


class TestSampling(SamplerConformance):
    tolerance: ClassVar[float] = 2e-5


class TestKnownTable(ScorerConformance):
    tolerance: ClassVar[float] = 2e-5

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, open_vllm, known: tuple[Path, np.ndarray]) -> Iterator[VllmBackend]:
        made = open_vllm(known[0])
        yield made
        made.close()

    @pytest.fixture
    def table(self, known: tuple[Path, np.ndarray]) -> np.ndarray:
        return known[1]
