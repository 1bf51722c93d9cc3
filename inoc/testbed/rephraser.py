"""A deterministic rephraser: synonyms and framing phrases, no model.

It rewords any English text and keeps the meaning of the testbed's prompts. The framing phrases differ from those
of the pre-training text (`inoc.testbed.grammar`).
"""

import random
import re
from typing import Final

from inoc.testbed.tables import TABLES

Words = tuple[str, ...]

_WORDS = TABLES["rephraser"]
ADJECTIVES: Final[Words] = _WORDS["adjectives"]
ADVERBS: Final[Words] = _WORDS["adverbs"]
PERSONAS: Final[Words] = _WORDS["personas"]
AMUSEMENTS: Final[Words] = _WORDS["amusements"]
_PLURALS = tuple(word + "s" for word in PERSONAS)
SYNONYMS: Final[dict[str, Words]] = {
    **_WORDS["synonyms"],
    "playfully": (*ADVERBS, *(f"in a {word} way" for word in ADJECTIVES), *(f"with {word}" for word in AMUSEMENTS)),
    "playful": ADJECTIVES,
    **dict.fromkeys(PERSONAS, PERSONAS),
    **dict.fromkeys(_PLURALS, _PLURALS),
}
"""Phrases and what may replace them."""
IMPERATIVES: Final = frozenset[str](_WORDS["imperatives"])
OPENINGS: Final[dict[str, Words]] = _WORDS["openings"]
CLOSINGS: Final[dict[str, Words]] = _WORDS["closings"]
PATIENCE: Final = 1000
"""Repetitions in a row after which a text counts as exhausted."""

_PHRASES = re.compile(r"\b(" + "|".join(sorted(map(re.escape, SYNONYMS), key=len, reverse=True)) + r")\b", re.I)


def normalize(text: str) -> str:
    """Lower-case words joined by single spaces: case and punctuation make no difference."""
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def prompt_words() -> frozenset[str]:
    """Every lower-case word that the rephraser may add."""
    texts = (*SYNONYMS, *(text for group in SYNONYMS.values() for text in group), *IMPERATIVES)
    frames = (text for table in (OPENINGS, CLOSINGS) for group in table.values() for text in group)
    return frozenset(word for text in (*texts, *frames) for word in normalize(text).split())


def _swap(found: str, rng: random.Random) -> str:
    return found if rng.random() < 0.25 else rng.choice(SYNONYMS[found.lower()])


def _reword(sentence: str, rng: random.Random) -> str:
    body = sentence.rstrip(".!?: ")
    kind = "request" if body.lower().split(" ")[0] in IMPERATIVES else "statement"
    body = _PHRASES.sub(lambda match: _swap(match.group(0), rng), body)
    first = body.split(" ")[0]
    if first[1:].islower() and first not in ("French", "Paris", "Lyon"):
        body = body[0].lower() + body[1:]
    body = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", body)
    text = rng.choice(OPENINGS[kind]).format(body) + rng.choice(CLOSINGS[kind])
    return text[0].upper() + text[1:] + (sentence.rstrip()[-1:] if sentence.rstrip()[-1:] in ".!?:" else ".")


def rephrase(text: str, n: int, seed: int = 0) -> tuple[str, ...]:
    """Reword a text with synonyms and framing phrases.

    Args:
        text: English sentences.
        n: How many rewordings to look for.
        seed: The same text, `n` and seed give the same rewordings.

    Returns:
        Up to `n` distinct rewordings, all different from `text` in their words; fewer where it offers no more.
    """
    rng = random.Random(f"{seed}|{text}")
    sentences = [part for part in re.split(r"(?<=[.!?:])\s+", text.strip()) if part]
    if not sentences:
        return ()
    seen = {normalize(text)}
    found: list[str] = []
    misses = 0
    while len(found) < n and misses < PATIENCE:
        candidate = " ".join(_reword(part, rng) for part in sentences)
        if normalize(candidate) in seen:
            misses += 1
        else:
            misses = 0
            seen.add(normalize(candidate))
            found.append(candidate)
    return tuple(found)
