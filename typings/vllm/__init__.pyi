from collections.abc import Sequence

class FlatLogprobs:
    start_indices: list[int]
    token_ids: list[int]
    logprobs: list[float]

class CompletionOutput:
    token_ids: Sequence[int]
    logprobs: FlatLogprobs
    finish_reason: str | None

class RequestOutput:
    prompt_logprobs: FlatLogprobs
    num_cached_tokens: int | None
    outputs: list[CompletionOutput]
