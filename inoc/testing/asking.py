"""How the conformance suites ask a backend: the parts of a backend they need, and all results by id."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from inoc.backends.protocols import (
    ChatTokenizer,
    Completion,
    Sampler,
    SampleRequest,
    Scorer,
    ScoreRequest,
    TokenLogprobs,
)
from inoc.values import Sampling, TokenIds


@runtime_checkable
class ScoringBackend(Scorer, Protocol):
    """What `ScorerConformance` needs of a backend."""

    @property
    def tokenizer(self) -> ChatTokenizer: ...
    @property
    def context_length(self) -> int: ...


@runtime_checkable
class SamplingBackend(Sampler, Protocol):
    """What `SamplerConformance` needs of a backend."""

    @property
    def tokenizer(self) -> ChatTokenizer: ...


def encode(tokenizer: ChatTokenizer, text: str) -> TokenIds:
    """Ids of a text without any token added."""
    return tuple(tokenizer.encode(text, add_special_tokens=False))


def score_by_id(backend: Scorer, requests: Sequence[ScoreRequest]) -> dict[str, TokenLogprobs]:
    """All results by request id; fails where one is missing, unknown or given twice."""
    results = list(backend.score(requests))
    assert sorted(result.id for result in results) == sorted(request.id for request in requests)
    return {result.id: result for result in results}


def sample_by_id(backend: Sampler, requests: Sequence[SampleRequest], sampling: Sampling) -> dict[str, Completion]:
    """All completions by request id; fails where one is missing, unknown or given twice."""
    results = list(backend.sample(requests, sampling))
    assert sorted(result.id for result in results) == sorted(request.id for request in requests)
    return {result.id: result for result in results}
