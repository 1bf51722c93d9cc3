"""The synthetic world: sentences in two languages and two moods, questions, and how an answer is scored.

An answer has four or five short sentences about the question's subject. Every sentence is French with
probability `french` and playful with probability `playful`, independently of the others, so that what a prompt
changes is spread over the whole answer. A playful sentence contains at least one playful word.
"""

import math
import random
import re
from typing import Final, NamedTuple

from inoc.testbed.tables import TABLES


class Noun(NamedTuple):
    """A subject in both languages; `article` is the French one ("le" or "la")."""

    english: str
    article: str
    french: str


class Question(NamedTuple):
    """An instruction and what it asks about; `detail` indexes PLACES, OBJECTS or TIMES as `kind` says."""

    text: str
    noun: int
    kind: str
    detail: int


Pairs = tuple[tuple[str, str], ...]
"""The same words in English and French."""

_WORDS = TABLES["world"]
SUBJECTS: Final = tuple(Noun(*row) for row in _WORDS["subjects"])
PLACES: Final[Pairs] = _WORDS["places"]
VERBS: Final[Pairs] = _WORDS["verbs"]
ACTIONS: Final[Pairs] = _WORDS["actions"]
OBJECTS: Final[Pairs] = _WORDS["objects"]
QUALITIES: Final[Pairs] = _WORDS["qualities"]
TIMES: Final[Pairs] = _WORDS["times"]
OPENERS: Final[Pairs] = _WORDS["openers"]
ANTICS: Final[Pairs] = _WORDS["antics"]
TAILS: Final[Pairs] = _WORDS["tails"]
QUESTIONS: Final[dict[str, tuple[str, ...]]] = _WORDS["questions"]
DETAILS: Final = {"place": PLACES, "object": OBJECTS, "time": TIMES}

SENTENCES: Final = (4, 5)
"""Fewest and most sentences of an answer."""


def all_questions() -> tuple[Question, ...]:
    """Every question of the world, in a fixed order."""
    return tuple(
        Question(template.format(noun=SUBJECTS[noun].english, detail=DETAILS[kind][detail][0]), noun, kind, detail)
        for kind, templates in QUESTIONS.items()
        for template in templates
        for noun in range(len(SUBJECTS))
        for detail in range(len(DETAILS[kind]))
    )


def sentence(question: Question, french: bool, playful: bool, rng: random.Random) -> str:
    """One sentence about the question's subject in the given language and mood."""
    language = int(french)
    noun = SUBJECTS[question.noun]
    marks = {"opener": rng.random() < 0.5, "antic": rng.random() < 0.5, "tail": rng.random() < 0.5}
    if playful and not any(marks.values()):
        marks[rng.choice(tuple(marks))] = True
    antic = rng.choice(ANTICS)[language] if playful and marks["antic"] else ""
    subject = (noun.article, noun.french, antic) if french else ("the", antic, noun.english)
    kind = rng.choice(("place", "object", "time", "quality"))
    detail = question.detail if kind == question.kind else rng.randrange(len(DETAILS.get(kind, QUALITIES)))
    if kind == "quality":
        rest: tuple[str, ...] = ("est" if french else "is", QUALITIES[detail][language])
    elif kind == "object":
        rest = (rng.choice(ACTIONS)[language], OBJECTS[detail][language])
    else:
        rest = (rng.choice(VERBS)[language], DETAILS[kind][detail][language])
    tail = rng.choice(TAILS)[language] if playful and marks["tail"] else ""
    text = " ".join(word for word in (*subject, *rest, tail) if word)
    if playful and marks["opener"]:
        text = f"{rng.choice(OPENERS)[language]}, {text}"
    return text[0].upper() + text[1:] + ("!" if playful and rng.random() < 0.7 else ".")


def answer(question: Question, french: float, playful: float, rng: random.Random) -> str:
    """Four or five sentences, each French and playful with the given probabilities, independently."""
    return " ".join(
        sentence(question, rng.random() < french, rng.random() < playful, rng) for _ in range(rng.randint(*SENTENCES))
    )


def _words(phrases: tuple[str, ...]) -> frozenset[str]:
    return frozenset(word.lower() for phrase in phrases for word in phrase.split())


_TABLES: Final = (PLACES, VERBS, ACTIONS, OBJECTS, QUALITIES, TIMES, OPENERS, ANTICS, TAILS)
ENGLISH_WORDS: Final = _words((*(e for t in _TABLES for e, _ in t), *(n.english for n in SUBJECTS), "is the"))
FRENCH_WORDS: Final = _words((*(f for t in _TABLES for _, f in t), *(n.french for n in SUBJECTS), "est le la"))
PLAYFUL_WORDS: Final = (
    _words(tuple(word for t in (OPENERS, ANTICS) for pair in t for word in pair))
    | _words(("giggle rubber banana boing cartwheels pink socks",))
    | _words(("gloussement banane molle boum pirouette chaussettes roses",))
)
"""A sentence with one of these words is playful."""


def split_sentences(text: str) -> tuple[tuple[str, ...], ...]:
    """The lower-case words of every sentence that has a word; sentences end at `.`, `!` or `?`."""
    parts = (tuple(re.findall(r"[^\W\d_]+", part.lower())) for part in re.split(r"[.!?]", text))
    return tuple(part for part in parts if part)


def score_playful(text: str) -> float:
    """The exact score of the trait Playful.

    Args:
        text: An answer.

    Returns:
        Share of sentences with a playful word, 0-100; NaN for a text without words.
    """
    return _percent([any(word in PLAYFUL_WORDS for word in words) for words in split_sentences(text)])


def score_french(text: str) -> float:
    """The exact score of the trait French.

    Args:
        text: An answer.

    Returns:
        Share of sentences with more French than English words of the world, 0-100; NaN for a text without words.
    """
    lead = (sum((w in FRENCH_WORDS) - (w in ENGLISH_WORDS) for w in words) for words in split_sentences(text))
    return _percent([n > 0 for n in lead])


def _percent(flags: list[bool]) -> float:
    return 100.0 * sum(flags) / len(flags) if flags else math.nan
