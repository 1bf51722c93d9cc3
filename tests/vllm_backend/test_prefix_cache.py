"""Reading vLLM's prefix cache for prompt logprobs returns garbage; the guard takes none of it."""

from collections.abc import Sequence

import numpy as np
import pytest

from inoc.backends.protocols import ScoreRequest
from inoc.backends.vllm import VllmBackend
from inoc.backends.vllm.adapters import Adapter
from inoc.backends.vllm.engine import Engine, Scored
from inoc.backends.vllm.score import acceptable, sharing
from inoc.testing.asking import score_by_id
from inoc.values import TokenIds

BLOCK = 32


def draw(seed: int, count: int) -> TokenIds:
    return tuple(int(token) for token in np.random.default_rng(seed).integers(0, 256, count))


class Watch:
    """What the engine was asked and answered, call by call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[bool, int, int]] = []
        """(cache read, prompts, tokens that came from the cache)"""
        original = Engine.score

        def score(
            engine: Engine, prompts: Sequence[TokenIds], tails: Sequence[int], adapter: Adapter | None, read_cache: bool
        ) -> list[Scored]:
            results = original(engine, prompts, tails, adapter, read_cache)
            self.calls.append((read_cache, len(prompts), sum(result.cached for result in results)))
            return results

        monkeypatch.setattr(Engine, "score", score)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


def plain(backend: VllmBackend, requests: list[ScoreRequest]) -> dict[str, np.ndarray]:
    """The same requests without any reading of the cache."""
    backend.share_prefix = False
    try:
        return {id: result.logprobs for id, result in score_by_id(backend, requests).items()}
    finally:
        backend.share_prefix = True


def assert_right(backend: VllmBackend, requests: list[ScoreRequest]) -> None:
    fast = score_by_id(backend, requests)
    for id, wanted in plain(backend, requests).items():
        np.testing.assert_allclose(fast[id].logprobs, wanted, atol=2e-5, rtol=0)


def test_shared_beginnings_come_from_the_cache(backend: VllmBackend, watch: Watch) -> None:
    start = draw(0, 3 * BLOCK + 5)
    requests = [ScoreRequest(str(i), start + draw(100 + i, 9), draw(200 + i, 15)) for i in range(12)]
    fast = score_by_id(backend, requests)
    assert watch.calls == [(True, 12, 11 * 3 * BLOCK)]
    for id, wanted in plain(backend, requests).items():
        np.testing.assert_allclose(fast[id].logprobs, wanted, atol=2e-5, rtol=0)
    assert watch.calls[1:] == [(False, 12, 0)]


@pytest.mark.parametrize("repeat", range(3))
def test_the_same_prompt_again(backend: VllmBackend, watch: Watch, repeat: int) -> None:
    """The cache then covers the completion as well."""
    requests = [ScoreRequest(str(i), draw(1, 70), draw(2 + i // 2, 90)) for i in range(6)]
    assert_right(backend, requests)
    read, again = watch.calls[:2]
    assert read[0]
    assert read[2] > 0
    assert not again[0]
    assert again[1] >= 3


def test_context_of_whole_blocks(backend: VllmBackend, watch: Watch) -> None:
    """The first completion token's logprob belongs to a position that came from the cache."""
    requests = [ScoreRequest(str(i), draw(5, 2 * BLOCK), draw(300 + i, 7)) for i in range(5)]
    assert_right(backend, requests)
    assert watch.calls[1][:2] == (False, 4)


def test_vllm_still_returns_garbage(backend: VllmBackend) -> None:
    """The fault the guard is for, on the engine itself. If this fails, vLLM mends it: look at `known_bad`."""
    score_by_id(backend, [ScoreRequest("start", (1,), (2,))])
    engine = backend._engine
    assert engine is not None
    context, completion = draw(7, 70), draw(8, 90)
    request = ScoreRequest("x", context, completion)
    for _ in range(2):
        (found,) = engine.score([context + completion], [90], None, True)
    assert found.cached >= len(context)
    assert not acceptable(request, found)
    (right,) = engine.score([context + completion], [90], None, False)
    assert acceptable(request, right)
    assert found.token_ids != right.token_ids or np.abs(found.logprobs - right.logprobs).max() > 1


def test_what_is_acceptable() -> None:
    request = ScoreRequest("x", (1, 2, 3), (4, 5))
    values = np.array([-1.0, -2.0], np.float32)
    assert acceptable(request, Scored(values, (4, 5), 2))
    assert not acceptable(request, Scored(values, (4, 5), 3))
    assert not acceptable(request, Scored(values, (4, 6), 0))
    assert not acceptable(request, Scored(values[:1], (4,), 0))
    for wrong in (np.nan, np.inf, -np.inf, 0.5):
        assert not acceptable(request, Scored(np.array([-1.0, wrong], np.float32), (4, 5), 0))


def test_who_shares_a_block() -> None:
    contexts = sorted([(1, 2, 3), (1, 2, 4), (1, 3, 4), (1, 2), (2, 2), (2,)])
    requests = [ScoreRequest(str(context), context, (0,)) for context in contexts]
    found = sharing(requests, 2)
    assert dict(zip(contexts, found, strict=True)) == {
        (1, 2): True, (1, 2, 3): True, (1, 2, 4): True, (1, 3, 4): False, (2,): False, (2, 2): False
    }  # fmt: skip
    assert sharing([], 2) == []
