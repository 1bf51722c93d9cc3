"""The public suites on the local backend: three model styles, two of them slow, and the model whose table is known."""

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from click.testing import CliRunner

from inoc.backends.local import LocalBackend
from inoc.cli.doctor import doctor
from inoc.testing import (
    AdapterConformance,
    ProberConformance,
    SamplerConformance,
    ScorerConformance,
    TrainerConformance,
)


# what a style changes is compared with naive loops in test_score.py and test_train.py
@pytest.fixture(
    scope="module", params=["qwen2", *(pytest.param(s, marks=pytest.mark.slow) for s in ("llama", "gemma"))]
)
def style(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def backend(local, models: dict[str, Path], style: str) -> LocalBackend:
    return local(models[style], rows=7)


class TestScoring(ScorerConformance):
    tolerance: ClassVar[float] = 1e-5


class TestSampling(SamplerConformance):
    tolerance: ClassVar[float] = 1e-5
    draws: ClassVar[int] = 400


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_thousands_of_draws(backend: LocalBackend, temperature: float) -> None:
    SamplerConformance().test_distribution(backend, temperature)


class TestKnownTable(ScorerConformance):
    tolerance: ClassVar[float] = 1e-5

    @pytest.fixture
    def backend(self, local, known: tuple[Path, np.ndarray]) -> LocalBackend:
        return local(known[0])

    @pytest.fixture
    def table(self, known: tuple[Path, np.ndarray]) -> np.ndarray:
        return known[1]


class TestTraining(TrainerConformance):
    tolerance: ClassVar[float] = 2e-5

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, local, models: dict[str, Path]) -> LocalBackend:
        return local(models["llama"])


class TestAdapters(AdapterConformance):
    tolerance: ClassVar[float] = 1e-5

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, local, models: dict[str, Path]) -> LocalBackend:
        return local(models["llama"])


class TestProbing(ProberConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, local, models: dict[str, Path]) -> LocalBackend:
        return local(models["llama"], batch_tokens=60)


@pytest.mark.slow
def test_the_doctor_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six updates of the testbed's model, in a folder that is gone afterwards."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    done = CliRunner().invoke(doctor, ["--train", "--json", "--completions", "4"])
    assert done.exit_code == 0, done.output
    training = json.loads(done.stdout)["training"]
    assert len(training["losses"]) == 6
    assert training["difference"] < 1e-4
    assert training["losses"][0] != training["losses"][-1]
    assert training["fault"] is None
    assert not list(tmp_path.glob("inoc-doctor*"))
