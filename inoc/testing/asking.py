"""How the conformance suites ask a backend: the parts of a backend they need, and all results by id."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import pytest
from jaxtyping import Float64

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


def next_token_probabilities(backend: Scorer, context: TokenIds, size: int) -> Float64[np.ndarray, " token"]:
    """p(token | context) of every token of a small vocabulary, one request each."""
    results = score_by_id(backend, [ScoreRequest(str(token), context, (token,)) for token in range(size)])
    return np.exp([float(results[str(token)].logprobs[0]) for token in range(size)])


def small_vocabulary(tokenizer: ChatTokenizer, largest: int) -> int:
    """Number of tokens; skips the test where it is unknown or above `largest`."""
    try:
        size = len(tokenizer)  # pyright: ignore[reportArgumentType]
    except TypeError:
        pytest.skip("the size of the vocabulary is unknown")
    if size > largest:
        pytest.skip(f"the vocabulary is larger than {largest}")
    return size
