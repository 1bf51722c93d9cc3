"""Verification of a backend's scores, because some engines return garbage without an error."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Float

from inoc.backends.protocols import ScoreRequest, TokenLogprobs
from inoc.errors import BadResult

ROUNDING = 1e-4
"""How far above 0 (nats) a log-probability can be by rounding of float32 logits; larger ones are refused."""


def check_scores(requests: Sequence[ScoreRequest], results: Iterable[TokenLogprobs]) -> Iterator[TokenLogprobs]:
    """Pass on every result that can be correct, in the order of arrival; values are never changed.

    Args:
        requests: What was requested.
        results: What the backend returned.

    Yields:
        Each result whose id was requested and comes once, with one finite value of at most `ROUNDING` nats per
        completion token and, where the backend echoes token ids, the requested ones.

    Raises:
        BadResult: A wrong result or a request without a result; names the request.
    """
    waiting = {request.id: request for request in requests}
    if len(waiting) != len(requests):
        raise BadResult("two requests have the same id.")
    answered: set[str] = set()
    for result in results:
        request = waiting.pop(result.id, None)
        if request is None:
            what = "answered twice" if result.id in answered else "answered but not requested"
            raise BadResult(f"{result.id}: {what}.")
        answered.add(result.id)
        _check(request, result)
        yield result
    if waiting:
        names = ", ".join(list(waiting)[:3])
        raise BadResult(f"{len(waiting)} of {len(requests)} requests were not answered, the first: {names}.")


def _check(request: ScoreRequest, result: TokenLogprobs) -> None:
    values, wanted = result.logprobs, len(request.completion)
    if values.shape != (wanted,):
        raise BadResult(f"{request.id}: {values.shape[0]} log-probabilities for {wanted} completion tokens.")
    if result.token_ids is not None and tuple(result.token_ids) != request.completion:
        ids = result.token_ids
        place = next((i for i, (a, b) in enumerate(zip(ids, request.completion, strict=False)) if a != b), len(ids))
        raise BadResult(f"{request.id}: the backend scored other token ids, the first at position {place}.")
    if fault := value_fault(values):
        raise BadResult(f"{request.id}: {fault}.")


def value_fault(values: Float[np.ndarray, " token"]) -> str | None:
    """What is wrong with log-probabilities; None where all can be correct."""
    wrong = np.flatnonzero(~np.isfinite(values) | (values > ROUNDING))
    if not wrong.size:
        return None
    first, many = wrong[0], f"{wrong.size} of {values.size} are not finite or above 0"
    return f"log-probability {values[first]} at position {first} ({many})"
