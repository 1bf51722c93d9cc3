"""The public suites through the real client and worker, and what came back against the local backend."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest

pytest.importorskip("openweights.client", reason="make test-openweights")

from gathered import Gathered, Rehearsal, rehearse

from inoc.backends.protocols import ChatTokenizer, SampleRequest, ScoreRequest, TokenLogprobs
from inoc.testing import SamplerConformance, ScorerConformance
from inoc.testing.asking import encode

if TYPE_CHECKING:
    from stack import Stack

    from inoc.backends.local import LocalBackend

pytestmark = pytest.mark.timeout(1800)
AGREEMENT = 5e-5
"""Nats, in float32."""


@pytest.fixture(scope="module")
def backend(local: "LocalBackend", session_environment: "Stack", open_backend, tiny: Path) -> Iterator[Gathered]:
    rehearsal = Rehearsal(local)
    rehearse(rehearsal, TestScoring(), {"requests": scored(local.tokenizer), "table": None})
    rehearse(rehearsal, TestSampling(), {"contexts": sampled(local.tokenizer)})
    if not session_environment.has_worker():
        session_environment.start_worker()
    backend, alone = open_backend(tiny), open_backend(tiny, attempt=1)
    yield Gathered(backend, alone, rehearsal)
    backend.close()
    alone.close()


def scored(tokenizer: ChatTokenizer) -> list[ScoreRequest]:
    """Contexts that share a beginning, completions of zero to many tokens."""
    start = "You are a helpful assistant. "
    contexts = [start + "Answer briefly: ", start + "Answer briefly: why? ", "Hi", start]
    completions = ["Yes.", "", "N", "Certainly, here is a much longer answer: 1, 2, 3!"]
    return [
        ScoreRequest(f"{i}-{j}", encode(tokenizer, context), encode(tokenizer, completion))
        for i, context in enumerate(contexts)
        for j, completion in enumerate(completions)
    ]


def sampled(tokenizer: ChatTokenizer) -> list[SampleRequest]:
    texts = ["Why is the sky blue?", "No no no no"]
    return [SampleRequest(f"r{i}", encode(tokenizer, text)) for i, text in enumerate(texts)]


class TestScoring(ScorerConformance):
    tolerance: ClassVar[float] = 1e-5

    @pytest.fixture
    def requests(self, backend: Gathered) -> list[ScoreRequest]:
        return scored(backend.tokenizer)


class TestSampling(SamplerConformance):
    tolerance: ClassVar[float] = 1e-5
    draws: ClassVar[int] = 300

    @pytest.fixture
    def contexts(self, backend: Gathered) -> list[SampleRequest]:
        return sampled(backend.tokenizer)


def test_every_result_is_the_local_backends(backend: Gathered) -> None:
    """Every logprob and every sampled token of both suites; only what is refused went through no gathered job."""
    compared = 0
    for group, wanted in backend.asked.items():
        for request, here in wanted.items():
            there = backend.known[group][request]
            if not isinstance(here, TokenLogprobs):
                assert there.token_ids == here.token_ids
                assert there.finish == here.finish
            if here.logprobs is not None:
                np.testing.assert_allclose(there.logprobs, here.logprobs, atol=AGREEMENT, rtol=0)
                compared += len(here.logprobs)
    assert compared > 1000
    assert backend.late <= 2


def test_known_next_token_table(worker: "Stack", open_backend, known: tuple[Path, np.ndarray]) -> None:
    folder, table = known
    backend = open_backend(folder)
    TestScoring().test_known_next_token_table(backend, table)
    backend.close()
