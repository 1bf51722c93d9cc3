"""Scoring with vLLM: shared context prefixes are computed once, and every such result is verified."""

import logging
from collections.abc import Iterator, Sequence
from itertools import pairwise

from inoc.backends.checks import value_fault
from inoc.backends.protocols import ScoreRequest, TokenLogprobs
from inoc.backends.requests import portions
from inoc.backends.vllm.adapters import Adapter
from inoc.backends.vllm.engine import Engine, Scored
from inoc.values import TokenIds

log = logging.getLogger("inoc.backends.vllm")

CALL_TOKENS = 2**17
"""Tokens given to vLLM at once: enough to keep it busy, few enough that results stream."""


def score(
    engine: Engine, requests: Sequence[ScoreRequest], adapter: Adapter | None, *, share_prefix: bool
) -> Iterator[TokenLogprobs]:
    """All requests (no completion is empty), sorted so that adjacent requests share the longest prefixes.

    vLLM reads its prefix cache for prompt logprobs only on request, and then returns uninitialized memory for
    every position that came from the cache. So the cache is read only where contexts share a block, a result is
    used only if `acceptable`, and all others are scored again without it.
    """
    rescored = 0
    ordered = sorted(requests, key=lambda request: request.context)
    for chunk in portions(ordered, lambda request: len(request.context) + len(request.completion), CALL_TOKENS):
        shared = sharing(chunk, engine.block_size) if share_prefix else [False] * len(chunk)
        again: list[ScoreRequest] = [request for request, read in zip(chunk, shared, strict=True) if not read]
        reading = [request for request, read in zip(chunk, shared, strict=True) if read]
        for request, found in _scored(engine, reading, adapter, True):
            if acceptable(request, found):
                yield TokenLogprobs(request.id, found.logprobs, found.token_ids)
            else:
                rescored += 1
                again.append(request)
        for request, found in _scored(engine, again, adapter, False):
            yield TokenLogprobs(request.id, found.logprobs, found.token_ids)
    if rescored:
        log.info("%d of %d results were scored again without vLLM's prefix cache", rescored, len(requests))


def _scored(
    engine: Engine, requests: Sequence[ScoreRequest], adapter: Adapter | None, read_cache: bool
) -> Iterator[tuple[ScoreRequest, Scored]]:
    if requests:
        prompts = [request.context + request.completion for request in requests]
        tails = [len(request.completion) for request in requests]
        yield from zip(requests, engine.score(prompts, tails, adapter, read_cache), strict=True)


def acceptable(request: ScoreRequest, found: Scored) -> bool:
    """Whether a result computed with cache reads can be right.

    The logprob of a token comes from the position before it, so the last context token must have been computed:
    fewer tokens than the context came from the cache. And every entry is the wanted token's, finite and <= 0.
    """
    computed = found.cached < len(request.context)
    return computed and found.token_ids == request.completion and value_fault(found.logprobs) is None


def sharing(requests: Sequence[ScoreRequest], block: int) -> list[bool]:
    """For requests sorted by context: whether an adjacent context begins with the same block."""
    begins: list[TokenIds] = [request.context[:block] for request in requests]
    same = [a == b and len(a) == block for a, b in pairwise(begins)]
    return [a or b for a, b in zip([False, *same], [*same, False], strict=True)][: len(requests)]
