"""The public suites against a real completions server, in the dialects that servers speak."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from servers.adapters import write_adapter
from servers.completions_server import CompletionsServer

from inoc.backends.openai_server import OpenAIServerBackend
from inoc.backends.protocols import AdapterSettings, Checkpoint, ModelSpec
from inoc.testing import AdapterConformance, SamplerConformance, ScorerConformance, table_model


def open_backend(server: CompletionsServer) -> OpenAIServerBackend:
    options = {"url": server.url, "served_name": "tiny", "prompts_per_request": 32}
    return OpenAIServerBackend.from_spec(ModelSpec(server.root, options=options))


@pytest.fixture(scope="module", params=["vllm", "prompt_logprobs", "echo"])
def scoring(request: pytest.FixtureRequest, tiny: Path) -> Iterator[OpenAIServerBackend]:
    with CompletionsServer(tiny, request.param) as server:
        backend = open_backend(server)
        yield backend
        backend.close()


class TestScoring(ScorerConformance):
    tolerance: ClassVar[float] = 1e-5

    @pytest.fixture
    def backend(self, scoring: OpenAIServerBackend) -> OpenAIServerBackend:
        return scoring


@pytest.fixture(scope="module")
def sampling(tiny: Path) -> Iterator[OpenAIServerBackend]:
    with CompletionsServer(tiny) as server:
        backend = open_backend(server)
        yield backend
        backend.close()


class TestSampling(SamplerConformance):
    tolerance: ClassVar[float] = 1e-5
    draws: ClassVar[int] = 300

    @pytest.mark.slow  # hundreds of requests; the server's sampler is the local one, whose draws its own tests see
    @pytest.mark.parametrize("temperature", [1.0, 0.6])
    def test_distribution(self, backend: OpenAIServerBackend, temperature: float) -> None:
        super().test_distribution(backend, temperature)

    @pytest.mark.slow  # asks for the whole vocabulary, a token at a time
    def test_greedy_is_the_most_probable_token(self, backend: OpenAIServerBackend) -> None:
        super().test_greedy_is_the_most_probable_token(backend)

    @pytest.fixture
    def backend(self, sampling: OpenAIServerBackend) -> OpenAIServerBackend:
        return sampling


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    directory = tmp_path_factory.mktemp("models") / "table"
    return directory, table_model(directory, seed=7)


@pytest.fixture(scope="module")
def tabled(known: tuple[Path, np.ndarray]) -> Iterator[OpenAIServerBackend]:
    with CompletionsServer(known[0]) as server:
        backend = open_backend(server)
        yield backend
        backend.close()


class TestKnownTable(ScorerConformance):
    tolerance: ClassVar[float] = 1e-5

    @pytest.fixture
    def backend(self, tabled: OpenAIServerBackend) -> OpenAIServerBackend:
        return tabled

    @pytest.fixture
    def table(self, known: tuple[Path, np.ndarray]) -> np.ndarray:
        return known[1]


@pytest.mark.slow
class TestAdapters(AdapterConformance):
    tolerance: ClassVar[float] = 1e-5

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, sampling: OpenAIServerBackend) -> OpenAIServerBackend:
        return sampling

    @pytest.fixture(scope="class")
    @classmethod
    def checkpoints(cls, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, Checkpoint]:
        folder = tmp_path_factory.mktemp("adapters")
        settings = AdapterSettings(rank=8)
        one, two = (write_adapter(tiny, folder / str(seed), rank=8, seed=seed) for seed in (1, 2))
        return Checkpoint(1, str(one), settings), Checkpoint(1, str(two), settings)
