"""The score hidden in a judge model's first token: the mean of the numbers it might have said, by
probability."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MIN_COVERAGE: Final = 0.80
"""Least probability on valid numbers for a score to count; exactly this much passes."""


@dataclass(frozen=True)
class Scale:
    """The whole numbers 0..top a judge model answers with; scores are stretched to 0-100."""

    top: int

    @property
    def name(self) -> str:
        return f"0-{self.top}"


PERCENT: Final = Scale(100)
DIGIT: Final = Scale(9)
"""For judge models whose tokenizer splits numbers into digits."""
SCALES: Final = {scale.name: scale for scale in (PERCENT, DIGIT)}


def token_value(token: str, scale: Scale = PERCENT) -> int | None:
    """The number a token stands for: stripped, ASCII digits only, 0..scale.top; None for anything else."""
    text = token.strip()
    if not (text.isascii() and text.isdigit()):
        return None
    digits = text.lstrip("0") or "0"
    if len(digits) > 3 or int(digits) > scale.top:
        return None
    return int(digits)


def expected_score(
    alternatives: Sequence[tuple[str, float]], coverage: float = MIN_COVERAGE, scale: Scale = PERCENT
) -> tuple[float, float]:
    """(score, coverage) of the first token's alternatives, given as (token text, natural log of its
    probability).

    score = (100 / scale.top) * sum p v / sum p over the valid tokens (see `token_value`), p = exp(logprob);
    the same number in several spellings ("50", " 50") adds up. The second value is sum p. The score is NaN
    if sum p is below `coverage` (with 1e-9 for rounding, so that 0.80 passes) or nothing is valid. Tokens
    whose logprob is NaN count as not valid. Raises ValueError for logprobs no model gives: above 0, or
    probabilities that add up to over 1 (0.1 % is left for rounding).
    """
    weights: list[float] = []
    values: list[float] = []
    everything: list[float] = []
    for token, logprob in alternatives:
        if logprob > 1e-3:
            raise ValueError(f"the log probability {logprob!r} of a token is above 0")
        probability = 0.0 if math.isnan(logprob) else math.exp(logprob)
        everything.append(probability)
        value = token_value(token, scale)
        if value is not None:
            weights.append(probability)
            values.append(probability * value)
    if math.fsum(everything) > 1.001:
        raise ValueError(f"the probabilities of the alternatives add up to {math.fsum(everything):.4f}")
    total = math.fsum(weights)
    if total <= 0.0 or total < coverage - 1e-9:
        return math.nan, total
    return 100.0 / scale.top * (math.fsum(values) / total), total
