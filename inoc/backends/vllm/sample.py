"""Sampling with vLLM: a random stream per request, stop tokens cut off."""

from collections.abc import Iterator, Sequence

from inoc.backends.protocols import Completion, SampleRequest
from inoc.backends.streams import stream_seed
from inoc.backends.vllm.adapters import Adapter
from inoc.backends.vllm.engine import Draw, Engine
from inoc.errors import BadResult
from inoc.values import Sampling

CALL_REQUESTS = 1024
"""Completions of one call, so that results stream."""


def sample(
    engine: Engine, requests: Sequence[SampleRequest], adapter: Adapter | None, sampling: Sampling
) -> Iterator[Completion]:
    """One completion per request; BadResult where vLLM continues after a stop token."""
    for start in range(0, len(requests), CALL_REQUESTS):
        chunk = requests[start : start + CALL_REQUESTS]
        draws = [Draw(request.context, stream_seed(sampling.seed, request, bits=63)) for request in chunk]
        for request, result in zip(chunk, engine.sample(draws, sampling, adapter), strict=True):
            ids, finish = result.token_ids, "stop" if result.stopped else "length"
            if result.stopped and ids and ids[-1] in sampling.stop_ids:
                ids = ids[:-1]
            if len(ids) > sampling.max_tokens or set(ids) & set(sampling.stop_ids):
                raise BadResult(f"{request.id}: the completion continues after its end.")
            yield Completion(request.id, ids, finish, result.logprobs[: len(ids)])
