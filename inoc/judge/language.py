"""The language judge: which share of a response is in a language, found by a local library."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from inoc.errors import BackendUnavailable, BadInput
from inoc.judge.protocols import Judgement, JudgeRequest
from inoc.values import Scalar

if TYPE_CHECKING:
    from lingua import LanguageDetector


DEFAULT_LANGUAGES: Final = "dutch english french german italian portuguese spanish"
"""What a text may be instead of the language asked for: with too few, a third language is taken for it."""


class LanguageJudge:
    """100 x the share of a response's letters that stand in sentences detected as `language`.

    The detector chooses among `languages` only (short texts are told apart better among few). Empty text is
    NaN; text without a letter is 0; `coverage` is the share of letters in sentences that were detected as
    anything.
    """

    def __init__(self, language: str, languages: Sequence[str]) -> None:
        try:
            from lingua import Language, LanguageDetectorBuilder
        except ImportError:
            raise BackendUnavailable(
                "the language judge needs the extra 'judge': pip install 'inoc[judge]'"
            ) from None
        known = {item.name.lower(): item for item in Language.all()}
        names = sorted({name.strip().lower() for name in (language, *languages)})
        for name in names:
            if name not in known:
                raise BadInput(
                    f"the language judge knows no language {name!r}; names are English, e.g. german"
                )
        if len(names) < 2:
            raise BadInput(
                f"the language judge of {language} needs at least one other language to choose from"
            )
        self._language = known[language.strip().lower()]
        self._detector: LanguageDetector = LanguageDetectorBuilder.from_languages(
            *(known[n] for n in names)
        ).build()
        self._identity = f"language:lingua-{version('lingua-language-detector')}:{names_key(language, names)}"

    @property
    def identity(self) -> str:
        return self._identity

    def judge(self, requests: Sequence[JudgeRequest]) -> Iterator[Judgement]:
        """Judgements in the order of `requests`."""
        for request in requests:
            yield self._judge(request)

    def _judge(self, request: JudgeRequest) -> Judgement:
        if not request.response.strip():
            return Judgement(request.id, math.nan, 0.0, "the response is empty")
        sentences = re.split(r"(?<=[.!?])\s+|\n+", request.response)
        letters = [sum(character.isalpha() for character in sentence) for sentence in sentences]
        total = sum(letters)
        if total == 0:
            return Judgement(request.id, 0.0, 0.0)
        found = [self._detector.detect_language_of(sentence) for sentence in sentences]
        hits = sum(n for n, language in zip(letters, found, strict=True) if language == self._language)
        detected = sum(n for n, language in zip(letters, found, strict=True) if language is not None)
        return Judgement(request.id, 100.0 * hits / total, detected / total)


def names_key(language: str, names: Sequence[str]) -> str:
    """`german of english+german`."""
    return f"{language.strip().lower()} of {'+'.join(names)}"


def language_judge(trait: str, options: Mapping[str, Scalar]) -> LanguageJudge:
    """A LanguageJudge from the options `language` (default: the trait's name) and `languages`.

    `languages` are those to choose from, separated by spaces or commas (default: DEFAULT_LANGUAGES).
    """
    if unknown := sorted(set(options) - {"language", "languages"}):
        raise BadInput(f"judge of {trait}: unknown option {unknown[0]!r}; there are language, languages")
    languages = [
        name for name in re.split(r"[,\s]+", str(options.get("languages") or DEFAULT_LANGUAGES)) if name
    ]
    return LanguageJudge(str(options.get("language") or trait), languages)
