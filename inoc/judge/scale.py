"""The score in a judge model's first token: the mean of the numbers it might have answered, by probability."""

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
    """The number that a token spells: stripped, ASCII digits only, 0..scale.top; None for anything else."""
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
    """The mean of the numbers among the first token's alternatives, weighted by probability.

    score = (100 / scale.top) * sum p v / sum p over the valid tokens (stripped ASCII digits in range), with
    p = exp(logprob). Spellings of one number ("50", " 50") add up. A token whose logprob is NaN is not valid.

    Args:
        alternatives: (token text, natural log of its probability).
        coverage: Least sum of p (0-1) for a score; 1e-9 is allowed for rounding, so that exactly 0.80 passes.
        scale: The numbers that the judge model answers with.

    Returns:
        (score, coverage): the score from 0 to 100, NaN for too little coverage, and the sum of p.

    Raises:
        ValueError: A logprob is above 0, or the probabilities add up to more than 1.001.
    """
    for _, logprob in alternatives:
        if logprob > 1e-3:
            raise ValueError(f"the log probability {logprob!r} of a token is above 0")
    weights = [0.0 if math.isnan(logprob) else math.exp(logprob) for _, logprob in alternatives]
    if math.fsum(weights) > 1.001:
        raise ValueError(f"the probabilities of the alternatives add up to {math.fsum(weights):.4f}")
    values = [token_value(token, scale) for token, _ in alternatives]
    valid = [(p, v) for p, v in zip(weights, values, strict=True) if v is not None]
    total = math.fsum(p for p, _ in valid)
    if total <= 0.0 or total < coverage - 1e-9:
        return math.nan, total
    return 100.0 / scale.top * (math.fsum(p * v for p, v in valid) / total), total
