"""Sampling with a key/value cache; a finished row's place is refilled while the others continue.

A token is the inverse of the cumulative distribution at a uniform number from the request's own stream, keyed by
(seed, stream): neither the order of the requests nor the batch changes it.
"""

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from secrets import randbits

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from transformers import DynamicCache

from inoc.backends.local.engine import Engine
from inoc.backends.local.score import is_out_of_memory
from inoc.backends.local.slots import Slots
from inoc.backends.protocols import Checkpoint, Completion, SampleRequest
from inoc.backends.streams import uniform_stream
from inoc.errors import BackendRejected
from inoc.values import Sampling

log = logging.getLogger("inoc.backends.local")

PREFILL_TOKENS = 8192


@dataclass
class Row:
    """One request under way."""

    request: SampleRequest
    stream: np.random.Generator
    tokens: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])

    @property
    def length(self) -> int:
        """Context and completion so far; the last token's keys and values are not in the cache yet."""
        return len(self.request.context) + len(self.tokens)

    def completion(self, sampling: Sampling) -> Completion | None:
        """The result if the row is finished."""
        if self.tokens[-1] in sampling.stop_ids:
            tokens, logprobs, stopped = self.tokens[:-1], self.logprobs[:-1], True
        elif len(self.tokens) == sampling.max_tokens:
            tokens, logprobs, stopped = self.tokens, self.logprobs, False
        else:
            return None
        array = np.array(logprobs, np.float32)
        return Completion(self.request.id, tuple(tokens), "stop" if stopped else "length", array)


def sample(
    engine: Engine, requests: Sequence[SampleRequest], checkpoint: Checkpoint | None, sampling: Sampling, *, rows: int
) -> Iterator[Completion]:
    """Every request once. Models without full attention are sampled one by one in their own cache."""
    key = randbits(64) if sampling.seed is None else sampling.seed
    waiting = _longest_first(requests)
    if not engine.full_attention:
        for request in waiting:
            yield _sample_alone(engine, Row(request, uniform_stream(key, request.stream_name)), checkpoint, sampling)
        return
    while waiting:
        longest = max(len(request.context) for request in waiting)
        running = Running(engine, min(rows, len(waiting)), longest + sampling.max_tokens)
        try:
            while waiting or running.rows:
                engine.activate(checkpoint)
                yield from running.step(waiting, key, sampling)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if rows == 1:
                raise BackendRejected(
                    f"one completion alone does not fit the memory of {engine.device}. Fix: use a smaller model."
                ) from None
        # streams are keyed, so the interrupted rows give the same samples when they start over
        waiting = _longest_first([*(row.request for row in running.rows), *waiting])
        if waiting:
            rows //= 2
            log.warning("out of memory on %s: continuing with %d completions at a time", engine.device, rows)


def _longest_first(requests: Iterable[SampleRequest]) -> deque[SampleRequest]:
    """The order in which places are filled: the first request of a prefill is its widest."""
    return deque(sorted(requests, key=lambda request: -len(request.context)))


class Running:
    """The rows under way and their cache."""

    def __init__(self, engine: Engine, rows: int, capacity: int) -> None:
        self.engine = engine
        self.rows: list[Row] = []
        self.slots = Slots(rows, capacity)

    @torch.inference_mode()
    def step(self, waiting: deque[SampleRequest], key: int, sampling: Sampling) -> list[Completion]:
        """Refill free places when enough are free, else add one token to every row; returns what finished."""
        free = self.slots.rows - len(self.rows)
        if not self.rows or (waiting and free >= max(1, min(self.slots.rows // 8, len(waiting)))):
            self._prefill(waiting, free, key, sampling)
        else:
            self._decode(sampling)
        return self._take_finished(sampling)

    def _prefill(self, waiting: deque[SampleRequest], free: int, key: int, sampling: Sampling) -> None:
        width = len(waiting[0].context)
        count = min(free, len(waiting), max(1, PREFILL_TOKENS // width))
        new = [Row(r, uniform_stream(key, r.stream_name)) for r in (waiting.popleft() for _ in range(count))]
        # before anything can fail, so that no row is in neither list
        first = len(self.rows)
        self.rows.extend(new)
        ids = torch.tensor([[*r.request.context, *[0] * (width - r.length)] for r in new], device=self.engine.device)
        cache = DynamicCache()
        hidden = self.engine.hidden(ids, _positions(ids), cache)
        last = torch.tensor([r.length - 1 for r in new], device=hidden.device)
        for place, row in enumerate(new):
            self.slots.fill(first + place, cache, place, row.length)
        self._append(new, hidden[torch.arange(count, device=hidden.device), last], sampling)

    def _decode(self, sampling: Sampling) -> None:
        lengths = [row.length for row in self.rows]
        positions = torch.tensor(lengths, device=self.engine.device) - 1
        self.slots.begin_step(positions, max(lengths))
        ids = torch.tensor([[row.tokens[-1]] for row in self.rows], device=self.engine.device)
        mask = self.slots.mask(self.engine.model.dtype)
        hidden = self.engine.hidden(ids, positions[:, None], self.slots.cache(), mask)
        self._append(self.rows, hidden[:, 0], sampling)

    def _append(self, rows: list[Row], hidden: Float[torch.Tensor, "row hidden"], sampling: Sampling) -> None:
        tokens, logprobs = next_tokens(self.engine.logits(hidden), [row.stream.random() for row in rows], sampling)
        for row, token, logprob in zip(rows, tokens, logprobs, strict=True):
            row.tokens.append(token)
            row.logprobs.append(logprob)

    def _take_finished(self, sampling: Sampling) -> list[Completion]:
        finished: list[Completion] = []
        for place in reversed(range(len(self.rows))):
            completion = self.rows[place].completion(sampling)
            if completion is None:
                continue
            finished.append(completion)
            last = self.rows.pop()
            if place < len(self.rows):
                self.slots.move(len(self.rows), place, last.length)
                self.rows[place] = last
        return finished


def _sample_alone(engine: Engine, row: Row, checkpoint: Checkpoint | None, sampling: Sampling) -> Completion:
    with torch.inference_mode():
        engine.activate(checkpoint)
        cache = DynamicCache(config=engine.model.config)
        ids = torch.tensor([row.request.context], device=engine.device)
        while True:
            done = row.length - ids.shape[1]
            output = engine.model(
                input_ids=ids,
                position_ids=_positions(ids) + done,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            tokens, logprobs = next_tokens(output.logits[:, -1].float(), [row.stream.random()], sampling)
            row.tokens += tokens
            row.logprobs += logprobs
            if completion := row.completion(sampling):
                return completion
            ids = torch.tensor([tokens], device=engine.device)


def next_tokens(
    logits: Float32[torch.Tensor, "row vocabulary"], uniform: list[float], sampling: Sampling
) -> tuple[list[int], list[float]]:
    """One token per row and its logprob at temperature 1. Temperature 0 takes the most probable token."""
    logprobs = logits.log_softmax(-1)
    if sampling.temperature == 0:
        tokens = logits.argmax(-1)
    else:
        # float64: a float32 cumulative sum over 150 000 tokens is off by more than rare tokens weigh
        exact = logits.cpu() if logits.device.type == "mps" else logits
        probabilities = (exact.double() / sampling.temperature).softmax(-1)
        if sampling.top_p < 1:
            probabilities = keep_top(probabilities, sampling.top_p)
        cumulative = probabilities.cumsum(-1)
        drawn = torch.tensor(uniform, dtype=torch.float64, device=cumulative.device)[:, None] * cumulative[:, -1:]
        tokens = torch.searchsorted(cumulative, drawn, right=True)[:, 0].to(logits.device)
    return tokens.tolist(), logprobs.gather(1, tokens[:, None])[:, 0].tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def keep_top(
    probabilities: Float64[torch.Tensor, "row vocabulary"], top_p: float
) -> Float64[torch.Tensor, "row vocabulary"]:
    """Zero all but the fewest most probable tokens whose probabilities reach `top_p` together."""
    ordered, order = probabilities.sort(-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    return torch.zeros_like(probabilities).scatter(1, order, ordered.masked_fill(before >= top_p, 0.0))


def _positions(ids: Int64[torch.Tensor, "row token"]) -> Int64[torch.Tensor, "row token"]:
    return torch.arange(ids.shape[1], device=ids.device)[None].expand(ids.shape[0], -1)
