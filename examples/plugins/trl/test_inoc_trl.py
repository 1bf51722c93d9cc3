"""inoc's suites on the plugin; losses against the local backend's from the same checkpoint."""

import pytest
from inoc_trl import TrlBackend

from inoc.backends.local import LocalBackend
from inoc.backends.protocols import ModelSpec
from inoc.testing import AdapterConformance, TrainerConformance, tiny_model


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return ModelSpec(str(tiny_model(tmp_path_factory.mktemp("models") / "tiny", "llama")), options={"device": "cpu"})


@pytest.fixture(scope="module")
def backend(spec: ModelSpec) -> TrlBackend:
    return TrlBackend.from_spec(spec)


class TestTraining(TrainerConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def reference(cls, spec: ModelSpec) -> LocalBackend:
        return LocalBackend.from_spec(spec)


class TestAdapters(AdapterConformance):
    pass
