"""Judges without a model: words or a pattern in the sentences of a response, or a function of its text."""

import importlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol, cast, runtime_checkable

from inoc.errors import BadInput
from inoc.judge.protocols import Judgement, JudgeRequest
from inoc.values import Scalar


@runtime_checkable
class TextScore(Protocol):
    """A pure function of a response: 0-100, NaN where there is nothing to score."""

    def __call__(self, text: str, /) -> float: ...


NAMED: Final[Mapping[str, tuple[str, str]]] = {
    "testbed_playful": ("inoc.testbed.world", "score_playful"),
    "testbed_french": ("inoc.testbed.world", "score_french"),
}
"""Shipped functions by name: (module, attribute), imported when first asked for."""


def sentence_share(pattern: re.Pattern[str]) -> TextScore:
    """100 x the share of sentences (ended by . ! ? or a new line) in which `pattern` is found; NaN for no
    sentence."""

    def score(text: str) -> float:
        sentences = [part for part in re.split(r"[.!?]\s|\n", text) if part.strip()]
        if not sentences:
            return math.nan
        return 100.0 * sum(pattern.search(sentence) is not None for sentence in sentences) / len(sentences)

    return score


class LexicalJudge:
    """Applies a `TextScore` to each response. `identity` must change whenever the function does."""

    def __init__(self, identity: str, score: TextScore) -> None:
        self._identity, self._score = identity, score

    @property
    def identity(self) -> str:
        return self._identity

    def judge(self, requests: Sequence[JudgeRequest]) -> Iterator[Judgement]:
        """Judgements in the order of `requests`; a response without words is NaN."""
        for request in requests:
            score = float(self._score(request.response))
            if math.isnan(score):
                yield Judgement(request.id, math.nan, 0.0, "the response has no words")
            else:
                yield Judgement(request.id, score, 1.0)


def lexical_judge(trait: str, options: Mapping[str, Scalar]) -> LexicalJudge:
    """A LexicalJudge from exactly one of the options `words` (separated by spaces or commas), `pattern` (a
    regular expression; ignoring case) and `function` (a name in NAMED)."""
    given = [name for name in ("words", "pattern", "function") if options.get(name) is not None]
    if len(given) != 1 or len(options) != 1:
        raise BadInput(f"judge of {trait}: lexical takes exactly one of the options words, pattern, function")
    value = str(options[given[0]])
    if given[0] == "function":
        return named_judge(value)
    if given[0] == "words":
        words = sorted({word.lower() for word in re.split(r"[,\s]+", value) if word})
        if not words:
            raise BadInput(f"judge of {trait}: the list of words is empty")
        value = rf"\b(?:{'|'.join(map(re.escape, words))})\b"
    try:
        pattern = re.compile(value, re.IGNORECASE)
    except re.error as error:
        raise BadInput(
            f"judge of {trait}: the pattern {value!r} is no regular expression ({error})"
        ) from None
    return LexicalJudge(f"lexical:1:{value}", sentence_share(pattern))


def named_judge(name: str) -> LexicalJudge:
    """The judge that applies the function NAMED `name`."""
    if name not in NAMED:
        raise BadInput(f"no scoring function {name!r}; there are {', '.join(NAMED)}")
    module, attribute = NAMED[name]
    return LexicalJudge(
        f"lexical:1:{name}", cast(TextScore, getattr(importlib.import_module(module), attribute))
    )
