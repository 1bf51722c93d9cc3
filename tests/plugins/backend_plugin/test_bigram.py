"""The tests of the plugin: inoc's conformance suites on its backend."""

from pathlib import Path

import pytest
from inoc_bigram import BigramBackend

from inoc.backends.protocols import ModelSpec
from inoc.testing import SamplerConformance, ScorerConformance


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> BigramBackend:
    path: Path = tmp_path_factory.mktemp("bigram") / "text.txt"
    path.write_text("the quick brown fox jumps over the lazy dog. " * 20)
    return BigramBackend.from_spec(ModelSpec(str(path)))


class TestScoring(ScorerConformance):
    tolerance = 1e-6

    @pytest.fixture
    def table(self, backend: BigramBackend):
        return backend.table


class TestSampling(SamplerConformance):
    tolerance = 1e-6
