"""Judges without a model: words or a pattern in the sentences of a response, or a function of its text."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, cast

from inoc.errors import BadInput
from inoc.judge.protocols import JudgeRequest, Judgment
from inoc.names import unknown
from inoc.plugins import Plugin
from inoc.values import Scalar

TextScore = Callable[[str], float]
"""A pure function of a response: 0-100, NaN for a text that cannot be scored."""
NAMED: Final[Mapping[str, str]] = {
    "testbed_playful": "inoc.testbed.world:score_playful",
    "testbed_french": "inoc.testbed.world:score_french",
    "testbed_coherence": "inoc.testbed.advice:score_coherence",
    "testbed_alignment": "inoc.testbed.advice:score_alignment",
}
"""Shipped scoring functions by name, imported on first use."""


def sentence_share(pattern: re.Pattern[str]) -> TextScore:
    """100 x the share of sentences (ended by . ! ? or a new line) that match; NaN for a text without any."""

    def score(text: str) -> float:
        sentences = [part for part in re.split(r"[.!?]\s|\n", text) if part.strip()]
        if not sentences:
            return math.nan
        return 100.0 * sum(pattern.search(sentence) is not None for sentence in sentences) / len(sentences)

    return score


class LexicalJudge:
    """Applies a `TextScore` to each response. `identity` must change whenever the function does."""

    def __init__(self, identity: str, score: TextScore) -> None:
        self.identity, self._score = identity, score

    def judge(self, requests: Sequence[JudgeRequest]) -> Iterator[Judgment]:
        """Judgments in the order of `requests`; a response without words is NaN."""
        for request in requests:
            score = float(self._score(request.response))
            if math.isnan(score):
                yield Judgment(request.id, math.nan, 0.0, "the response has no words")
            else:
                yield Judgment(request.id, score, 1.0)


def lexical_judge(trait: str, options: Mapping[str, Scalar]) -> LexicalJudge:
    """A LexicalJudge from exactly one of the options `words` (separated by spaces or commas), `pattern` (a
    regular expression; case is ignored) and `function` (a name in NAMED)."""
    given = [name for name in ("words", "pattern", "function") if options.get(name) is not None]
    if len(given) != 1 or len(options) != 1:
        raise BadInput(
            f"judge of {trait} has the wrong options. Fix: give lexical exactly one of words, pattern and function."
        )
    value = str(options[given[0]])
    if given[0] == "function":
        return named_judge(value, trait, {})
    if given[0] == "words":
        words = sorted({word.lower() for word in re.split(r"[,\s]+", value) if word})
        if not words:
            raise BadInput(f"judge of {trait}: words is empty. Fix: give at least one word.")
        value = rf"\b(?:{'|'.join(map(re.escape, words))})\b"
    try:
        pattern = re.compile(value, re.IGNORECASE)
    except re.error as error:
        raise BadInput(
            f"judge of {trait}: the pattern {value!r} is invalid ({error}). Fix: write a regular expression."
        ) from None
    return LexicalJudge(f"lexical:1:{value}", sentence_share(pattern))


def named_judge(name: str, trait: str, options: Mapping[str, Scalar]) -> LexicalJudge:
    """The judge that applies the function NAMED `name`."""
    if options:
        raise BadInput(f"judge of {trait}: {name} takes no options. Fix: remove {', '.join(options)}.")
    if name not in NAMED:
        raise BadInput(f"judge of {trait}: {unknown('scoring function', name, NAMED)}")
    return LexicalJudge(f"lexical:1:{name}", cast(TextScore, Plugin(name, NAMED[name]).load()))
