"""The language judge: the share of a response that is in a language, found by a local library."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from inoc.errors import BackendUnavailable, BadInput
from inoc.judge.protocols import JudgeRequest, Judgment
from inoc.names import unknown
from inoc.options import read_options
from inoc.values import Scalar

if TYPE_CHECKING:
    from lingua import LanguageDetector


DEFAULT_LANGUAGES: Final = "dutch english french german italian portuguese spanish"
"""What a text may be instead of the requested language: with too few, a third language is mistaken for it."""


class LanguageJudge:
    """100 x the share of a response's letters that are in sentences detected as `language`.

    The detector chooses among `languages` only (few are easier to distinguish in short texts). Empty text is NaN; text
    without a letter is 0; `coverage` is the share of letters in sentences with any language.
    """

    def __init__(self, language: str, languages: Sequence[str]) -> None:
        try:
            from lingua import Language, LanguageDetectorBuilder
        except ImportError:
            raise BackendUnavailable(
                "the language judge needs lingua. Fix: pip install -e '.[judge]' in inoc's clone."
            ) from None
        known = {item.name.lower(): item for item in Language.all()}
        names = sorted({name.strip().lower() for name in (language, *languages)})
        for name in names:
            if name not in known:
                raise BadInput(f"language judge: {unknown('language', name, known)}")
        if len(names) < 2:
            raise BadInput(
                f"the language judge of {language} has no alternative. Fix: name at least one other language."
            )
        self._language = known[language.strip().lower()]
        self._detector: LanguageDetector = LanguageDetectorBuilder.from_languages(*(known[n] for n in names)).build()
        key = f"{language.strip().lower()} of {'+'.join(names)}"
        self.identity = f"language:lingua-{version('lingua-language-detector')}:{key}"

    def judge(self, requests: Sequence[JudgeRequest]) -> Iterator[Judgment]:
        """Judgments in the order of `requests`."""
        for request in requests:
            yield self._judge(request)

    def _judge(self, request: JudgeRequest) -> Judgment:
        if not request.response.strip():
            return Judgment(request.id, math.nan, 0.0, "the response is empty")
        sentences = re.split(r"(?<=[.!?])\s+|\n+", request.response)
        letters = [sum(character.isalpha() for character in sentence) for sentence in sentences]
        total = sum(letters)
        if total == 0:
            return Judgment(request.id, 0.0, 0.0)
        found = [self._detector.detect_language_of(sentence) for sentence in sentences]
        hits = sum(n for n, language in zip(letters, found, strict=True) if language == self._language)
        detected = sum(n for n, language in zip(letters, found, strict=True) if language is not None)
        return Judgment(request.id, 100.0 * hits / total, detected / total)


@dataclass(frozen=True)
class LanguageOptions:
    """Options of the language judge."""

    language: str | None = None
    """Name in English; default: the trait's name."""
    languages: str | None = None
    """Those to choose from, separated by spaces or commas; default: DEFAULT_LANGUAGES."""


def language_judge(trait: str, options: Mapping[str, Scalar]) -> LanguageJudge:
    """A LanguageJudge from `LanguageOptions`."""
    given = read_options(LanguageOptions, f"the judge of {trait}", options)
    languages = re.findall(r"[^,\s]+", given.languages or DEFAULT_LANGUAGES)
    return LanguageJudge(given.language or trait, languages)
