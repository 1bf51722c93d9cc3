"""Why a backend's values differ from the reference: explanations that can be tried are tried, not guessed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final

import numpy as np
from jaxtyping import Float32

from inoc.backends.consistency import scores
from inoc.backends.protocols import Scorer, ScoreRequest
from inoc.errors import InocError
from inoc.stages.doctor.reference import Reference, with_dtype

Values = Mapping[str, Float32[np.ndarray, " _"]]
"""Log-probabilities by request id."""

SMALL: Final = 0.2
"""Mean difference (nats) below which it is the same model with coarser arithmetic; other weights are further off."""
BETTER: Final = 0.5
"""Another place or context explains the values if it at least halves the mean difference."""
SAME_ROUNDING: Final = 0.85
"""Likewise for another dtype: shared rounding brings the values nearer, unrelated rounding moves them apart."""


class Cause(StrEnum):
    """What is wrong with a backend's values."""

    TOKENS = "other token ids"
    SHIFTED = "shifted"
    CONTEXT = "other context"
    DTYPE = "other dtype"
    QUANTIZED = "quantized"
    MODEL = "other model"
    WRONG_TOKENS = "wrong tokens"
    BATCH = "depends on the batch"
    CONTRADICTION = "contradicts itself"


ADVICE: Final[Mapping[Cause, str]] = {
    Cause.TOKENS: "the tokenizer or chat template is not the model's own, so other token ids would be scored: remove "
    "the option tokenizer or point it at the model's own files",
    Cause.SHIFTED: "every value belongs to an adjacent token: the server shifts its logprobs by one position; use "
    "another version of it, and report this to its authors",
    Cause.CONTEXT: "the values are those of another context: the server adds or drops a first token (BOS) or writes "
    "a template of its own; switch that off on the server, inoc sends complete token ids",
    Cause.DTYPE: "the model is computed in another dtype: set `dtype` of the experiment to what is served, or start "
    "the server with the experiment's",
    Cause.QUANTIZED: "the same model with coarser numbers: quantized weights or cache, or another dtype; serve the "
    "unquantized weights in the experiment's dtype, or compare prompts within this backend only",
    Cause.MODEL: "these are values of a different model: other weights or revision, or an active adapter; compare the "
    "model's name and path on the server with the experiment's",
    Cause.WRONG_TOKENS: "values of this size mean wrong tokens or wrong contexts, not rounding",
    Cause.CONTRADICTION: "these are not the probabilities of a language model that sees its whole context: correct on "
    "the server what is said above, or report it to the authors of the backend",
    Cause.BATCH: "a result depends on its batch or its cache: try dtype float32, a smaller batch or no prefix cache",
}


def find_cause(
    values: Values,
    expected: Values,
    asked: Sequence[ScoreRequest],
    wanted: Sequence[ScoreRequest],
    reference: Reference,
    tolerance: float,
) -> Cause | None:
    """None where all values are within the tolerance. `wanted` are the requests as the model's own tokenizer writes
    them; `expected` is empty where they are not those that were asked."""
    if tuple(asked) != tuple(wanted):
        return Cause.TOKENS
    if max(float(np.abs(row - expected[id]).max()) for id, row in values.items()) <= tolerance:
        return None
    far = distance(values, expected)
    for shift in (1, -1):
        if shifted_distance(values, expected, shift) < min(BETTER * far, SMALL):
            return Cause.SHIFTED
    for other in other_contexts(asked, reference):
        if distance(values, _try(reference.scorer, other)) < min(BETTER * far, SMALL):
            return Cause.CONTEXT
    for dtype in ("float32", "bfloat16", "float16"):
        if dtype == reference.model.dtype or far >= SMALL:
            continue
        if distance(values, _try(with_dtype(reference, dtype), asked)) < SAME_ROUNDING * far:
            return Cause.DTYPE
    return Cause.QUANTIZED if far < SMALL else Cause.MODEL


def distance(values: Values, expected: Values) -> float:
    """Mean absolute difference per token; infinite where there is nothing to compare with."""
    if not expected:
        return float("inf")
    return float(np.concatenate([np.abs(row - expected[id]) for id, row in values.items()]).mean())


def shifted_distance(values: Values, expected: Values, shift: int) -> float:
    """As `distance`, of value i to the expected value i + `shift`, where both are inside the completion."""
    parts = [
        np.abs(row[1:] - expected[id][:-1]) if shift < 0 else np.abs(row[:-1] - expected[id][1:])
        for id, row in values.items()
    ]
    return float(np.concatenate(parts).mean()) if sum(part.size for part in parts) else float("inf")


def other_contexts(asked: Sequence[ScoreRequest], reference: Reference) -> Iterator[tuple[ScoreRequest, ...]]:
    """What a server may make of the contexts: a token before them, their first token gone, only their last token."""
    for name in ("bos_token_id", "eos_token_id"):
        token = getattr(reference.backend.tokenizer, name, None)
        if isinstance(token, int):
            yield tuple(replace(request, context=(token, *request.context)) for request in asked)
    if all(len(request.context) > 1 for request in asked):
        yield tuple(replace(request, context=request.context[1:]) for request in asked)
        yield tuple(replace(request, context=request.context[-1:]) for request in asked)


def _try(scorer: Scorer, requests: Sequence[ScoreRequest]) -> Values:
    """The values of an explanation; none where it cannot be computed (too long, dtype not supported)."""
    try:
        return scores(scorer, requests)
    except (InocError, RuntimeError):
        return {}
