"""log p(completion | context) by token: shared context computed once, output layer only where needed."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from inoc.backends.local.batches import Batch, Group, cut, group_by_shared_context
from inoc.backends.local.engine import Engine
from inoc.backends.protocols import Checkpoint, ScoreRequest, TokenLogprobs
from inoc.errors import BackendRejected

log = logging.getLogger("inoc.backends.local")

WHOLE_LOGIT_BYTES = 2**29
"""Logits of one batch where the model's own forward pass must make all of them."""

SharedCache = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of every layer, [1, head, shared token, feature]."""


def score(
    engine: Engine,
    requests: Sequence[ScoreRequest],
    checkpoint: Checkpoint | None,
    *,
    batch_tokens: int,
    share_prefix: bool,
) -> Iterator[TokenLogprobs]:
    """Every request once, in the cheapest order; contexts and completions are not empty.

    A batch that does not fit the memory is halved, and so are the batches after it.
    """
    if engine.full_attention and engine.projects_rows and share_prefix:
        groups = group_by_shared_context(requests)
    else:
        groups = [Group(0, tuple(requests))]
    if not engine.projects_rows:
        batch_tokens = min(batch_tokens, max(256, WHOLE_LOGIT_BYTES // (4 * engine.vocabulary)))
    for group in groups:
        shared: SharedCache | None = None
        waiting = deque(cut(group, batch_tokens))
        while waiting:
            batch = waiting.popleft()
            # the consumer may have activated an adapter since the last batch
            engine.activate(checkpoint)
            results: list[TokenLogprobs] | None = None
            try:
                if group.shared and shared is None:
                    shared = compute_shared(engine, group)
                results = score_batch(engine, batch, shared)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            if results is not None:
                yield from results
                continue
            # outside the handler, because the error keeps the failed batch's tensors alive
            batch_tokens = len(batch.requests) * batch.width // 2
            _report_memory(engine, batch, batch_tokens)
            left = (batch, *waiting)
            waiting = deque(cut(Group(group.shared, tuple(r for b in left for r in b.requests)), batch_tokens))


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error is a failed allocation, on a GPU or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _report_memory(engine: Engine, batch: Batch, batch_tokens: int) -> None:
    if len(batch.requests) == 1:
        one = batch.requests[0]
        raise BackendRejected(
            f"'{one.id}' alone ({len(one.context) + len(one.completion)} tokens) does not fit the memory of "
            f"{engine.device}. Fix: use a smaller model, dtype bfloat16 or a different device."
        )
    size = f"{len(batch.requests)} rows of {batch.width} tokens"
    log.warning("out of memory on %s with %s: continuing with batches of %d tokens", engine.device, size, batch_tokens)


def compute_shared(engine: Engine, group: Group) -> SharedCache:
    """The key/value cache of the tokens all contexts of the group begin with."""
    with torch.inference_mode():
        ids = torch.tensor([group.requests[0].context[: group.shared]], device=engine.device)
        cache = DynamicCache()
        engine.hidden(ids, torch.arange(group.shared, device=engine.device)[None], cache)
        layers = cast(list[DynamicLayer], cache.layers)
        return [(cast(torch.Tensor, layer.keys), cast(torch.Tensor, layer.values)) for layer in layers]


def score_batch(engine: Engine, batch: Batch, shared: SharedCache | None) -> list[TokenLogprobs]:
    """One pass through the model; float32 logprobs of every completion token of the batch."""
    with torch.inference_mode():
        skip, rows, width = batch.group.shared, len(batch.requests), batch.width
        ids = np.zeros((rows, width), np.int64)
        where: list[np.ndarray] = []
        for row, request in enumerate(batch.requests):
            tokens = (request.context + request.completion)[skip:-1]
            ids[row, : len(tokens)] = tokens
            first = len(request.context) - 1 - skip
            where.append(row * width + np.arange(first, first + len(request.completion)))
        device = engine.device
        inputs = torch.from_numpy(ids).to(device)  # pyright: ignore[reportUnknownMemberType]
        positions = torch.arange(skip, skip + width, device=device)[None].expand(rows, -1)
        asked = torch.from_numpy(np.concatenate(where)).to(device)  # pyright: ignore[reportUnknownMemberType]
        targets = torch.tensor([token for request in batch.requests for token in request.completion], device=device)
        if engine.projects_rows:
            hidden = engine.hidden(inputs, positions, None if shared is None else widened(shared, rows))
            flat = hidden.flatten(0, 1)
            logprobs = target_logprobs(engine, flat[asked.to(flat.device)], targets)
        else:
            logits = engine.whole_logits(inputs, positions).flatten(0, 1)
            logprobs = logits[asked].log_softmax(-1).gather(1, targets[:, None])[:, 0]
        values = logprobs.cpu().numpy()
    ends = np.cumsum([len(request.completion) for request in batch.requests])[:-1]
    return [
        TokenLogprobs(request.id, part.copy(), request.completion)
        for request, part in zip(batch.requests, np.split(values, ends), strict=True)
    ]


def widened(shared: SharedCache, rows: int) -> DynamicCache:
    """A new cache that begins with the shared tokens in every row; using it does not change `shared`."""
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(shared):
        cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), layer)  # pyright: ignore[reportUnknownMemberType]
    return cache


def target_logprobs(
    engine: Engine, hidden: Float[torch.Tensor, "token hidden"], targets: Int64[torch.Tensor, " token"]
) -> Float32[torch.Tensor, " token"]:
    """log softmax(logits)[target] in float32, some rows at a time: [tokens x vocabulary] is never whole."""
    block_bytes = 2**26 if hidden.device.type == "cpu" else 2**30
    block = max(1, block_bytes // (4 * engine.vocabulary))
    parts: list[torch.Tensor] = []
    for start in range(0, hidden.shape[0], block):
        logits = engine.logits(hidden[start : start + block])
        chosen = targets[start : start + block].to(logits.device)
        # cross_entropy runs the fused log_softmax kernel: on CPU five times as fast as logsumexp
        parts.append(-torch.nn.functional.cross_entropy(logits, chosen, reduction="none"))
    return torch.cat(parts)
