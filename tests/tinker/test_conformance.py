"""The public suites on the real SDK against the contract server."""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pytest
from contract import SERVICE

from inoc.backends.protocols import AdapterSettings, SampleRequest
from inoc.backends.tinker import TinkerBackend
from inoc.testing import AdapterConformance, SamplerConformance, ScorerConformance, TrainerConformance


class TestScoring(ScorerConformance):
    tolerance: ClassVar[float] = 1e-5


class TestSampling(SamplerConformance):
    tolerance: ClassVar[float] = 1e-5
    draws: ClassVar[int] = 300

    @pytest.mark.slow  # asks for the whole vocabulary, a token at a time
    def test_greedy_is_the_most_probable_token(self, backend: TinkerBackend, contexts: list[SampleRequest]) -> None:
        super().test_greedy_is_the_most_probable_token(backend, contexts)

    @pytest.mark.slow  # hundreds of requests; the server's sampler is the local one, whose draws its own tests see
    @pytest.mark.parametrize("temperature", [1.0, 0.6])
    def test_distribution(self, backend: TinkerBackend, temperature: float) -> None:
        super().test_distribution(backend, temperature)

    @pytest.fixture
    def contexts(self, backend: TinkerBackend) -> list[SampleRequest]:
        texts = ["Hello", "Why is the sky blue?", "No no no no"]
        return [
            SampleRequest(f"r{i}", tuple(backend.tokenizer.encode(text, add_special_tokens=False)))
            for i, text in enumerate(texts)
        ]


class TestKnownTable(ScorerConformance):
    tolerance: ClassVar[float] = 1e-5

    @pytest.fixture
    def backend(self, server, connect) -> Iterator[TinkerBackend]:
        return connect(server.url, "table")

    @pytest.fixture
    def table(self, table: np.ndarray) -> np.ndarray:
        return table


@pytest.mark.slow
class TestTraining(TrainerConformance):
    adapter: ClassVar[AdapterSettings] = SERVICE


@pytest.mark.slow
class TestAdapters(AdapterConformance):
    adapter: ClassVar[AdapterSettings] = SERVICE
