"""What backends do with requests before they compute or send anything."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from inoc.backends.protocols import ChatTokenizer, Checkpoint, SampleRequest, ScoreRequest
from inoc.errors import BackendRejected, BadInput
from inoc.values import Sampling, TokenIds

Request = TypeVar("Request", ScoreRequest, SampleRequest)
Item = TypeVar("Item")


def refuse_impossible(
    requests: Sequence[ScoreRequest | SampleRequest],
    context_length: int,
    *,
    vocabulary: int | None = None,
    max_tokens: int = 0,
) -> None:
    """Refuse the first request that cannot be computed; nothing is cut or dropped. `max_tokens` is room for a sample.

    BadInput for a repeated id, an empty context or an unknown token id, BackendRejected for one that is too long.
    """
    seen: set[str] = set()
    for request in requests:
        asked = request.completion if isinstance(request, ScoreRequest) else ()
        context, completion = len(request.context), len(asked) + max_tokens
        if request.id in seen:
            raise BadInput(f"two requests have the id '{request.id}'.")
        seen.add(request.id)
        if not context:
            raise BadInput(f"'{request.id}' has an empty context. Fix: begin with a begin-of-text token.")
        if context + completion > context_length:
            raise BackendRejected(
                f"'{request.id}' needs {context} tokens of context and {completion} of completion; the model has "
                f"{context_length} together. Fix: shorten or remove it."
            )
        low, high = min(request.context + asked), max(request.context + asked)
        if low < 0 or (vocabulary is not None and high >= vocabulary):
            end = "" if vocabulary is None else f"; the model's last is {vocabulary - 1}"
            raise BadInput(f"'{request.id}' has token id {low if low < 0 else high}{end}.")


def by_checkpoint(requests: Sequence[Request]) -> dict[Checkpoint | None, list[Request]]:
    """Requests grouped by the weights they ask, in the order of their first request."""
    groups: dict[Checkpoint | None, list[Request]] = {}
    for request in requests:
        groups.setdefault(request.checkpoint, []).append(request)
    return groups


def portions(items: Iterable[Item], tokens: Callable[[Item], int], limit: int) -> Iterator[list[Item]]:
    """Consecutive items, cut after the one with which their tokens reach `limit`."""
    part: list[Item] = []
    total = 0
    for item in items:
        part.append(item)
        total += tokens(item)
        if total >= limit:
            yield part
            part, total = [], 0
    if part:
        yield part


def texts_to_ids(texts: Sequence[str], tokenizer: ChatTokenizer, context_length: int) -> list[TokenIds]:
    """The token ids of texts to embed; BadInput for an empty text, BackendRejected for one longer than the context."""
    ids = [tuple(tokenizer.encode(text)) for text in texts]
    for place, tokens in enumerate(ids):
        if not tokens:
            raise BadInput(f"text {place} to embed is empty. Fix: remove it.")
        if len(tokens) > context_length:
            raise BackendRejected(
                f"text {place} to embed has {len(tokens)} tokens; the model's context is {context_length}. "
                "Fix: shorten it."
            )
    return ids


def check_sampling(sampling: Sampling) -> None:
    """BadInput for impossible sampling settings."""
    if sampling.max_tokens < 1:
        raise BadInput(f"max_tokens is {sampling.max_tokens}. Fix: set it to 1 or more.")
    if not (sampling.temperature >= 0 and 0 < sampling.top_p <= 1):
        raise BadInput(
            f"temperature is {sampling.temperature} and top_p is {sampling.top_p}. "
            "Fix: set temperature to 0 or more and top_p above 0, at most 1."
        )
