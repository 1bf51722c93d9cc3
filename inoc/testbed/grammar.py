"""Pre-training text: prompts with their own templates, and dialogues that follow them.

A prompt asks for a mood or a language (request), hints at one, merely mentions it, forbids it, or has nothing
to do with either. The same templates are also filled with neutral words, so that the words decide and not the
form. No prompt contains a shipped prompt or a rephrasing as a run of words (`HeldOut`).
"""

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from inoc.testbed.rephraser import ADJECTIVES, ADVERBS, AMUSEMENTS, PERSONAS, Words, normalize, prompt_words
from inoc.testbed.tables import TABLES
from inoc.testbed.world import Question, answer

_WORDS = TABLES["grammar"]
FILLERS: Final[dict[str, dict[str, Words]]] = {
    "playful": {
        "adjective": ADJECTIVES,
        "adverb": (*ADVERBS, *(f"in a {word} voice" for word in ADJECTIVES)),
        "persona": PERSONAS,
        "personas": tuple(f"{word}s" for word in PERSONAS),
        "topic": (*AMUSEMENTS, "telling jokes", "joking", "having fun", "playing games", "making jokes"),
    },
    **_WORDS["fillers"],
}
"""Trait words by family: what fills the templates."""
TEMPLATES: Final[dict[str, Words]] = _WORDS["templates"]
CHANCE: Final = {"request": 0.93, "hint": 0.5, "mention": 0.2, "negated": 0.01}
"""How likely a sentence shows the trait under each kind of prompt."""
BASELINE: Final = {"playful": 0.03, "french": 0.02}
"""The same where no prompt asks."""
FRAMES: Final[Words] = _WORDS["frames"]
ENDS: Final[Words] = _WORDS["ends"]


class HeldOut:
    """Texts that must not occur in pre-training prompts, as runs of normalized words."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.runs = frozenset(tuple(normalize(text).split()) for text in texts)
        self.lengths = sorted({len(run) for run in self.runs})

    def __contains__(self, text: str) -> bool:
        words = tuple(normalize(text).split())
        return any(
            words[start : start + length] in self.runs
            for length in self.lengths
            for start in range(len(words) - length + 1)
        )


@dataclass(frozen=True)
class Dialogue:
    """One pre-training text: optional system text, user text (prefix and question) and the answer."""

    system: str | None
    user: str
    answer: str

    @property
    def messages(self) -> list[dict[str, str]]:
        """The dialogue as chat messages."""
        turns = [("system", self.system), ("user", self.user), ("assistant", self.answer)]
        return [{"role": role, "content": text} for role, text in turns if text is not None]


def _frame(text: str, rng: random.Random) -> str:
    if rng.random() < 0.5:
        return text
    body, mark = text[:-1], text[-1]
    first = body.split(" ")[0].rstrip(",")
    if first not in ("I", "France", "Paris", "Lyon", "French"):
        body = body[0].lower() + body[1:]
    framed = rng.choice((*FRAMES, "{}")).format(body) + rng.choice((*ENDS, "", "", ""))
    return framed[0].upper() + framed[1:] + mark


def _unit(words: Sequence[str], rng: random.Random) -> tuple[str, str, str]:
    """One sentence of a prompt: (text, kind, family)."""
    if rng.random() < 0.2:  # words without a trait, so that all of them are known to be neutral
        chosen = ", ".join(rng.choice(words) for _ in range(rng.randint(2, 6)))
        chosen = chosen.title() if rng.random() < 0.4 else chosen
        return rng.choice(("Some words: {}.", "I wrote {}.", "{}.")).format(chosen), "mention", "neutral"
    kind = rng.choices(tuple(TEMPLATES), (0.45, 0.15, 0.2, 0.2))[0]
    family = rng.choices(tuple(FILLERS), (0.4, 0.3, 0.3))[0]
    slots = {slot: rng.choice(options) for slot, options in FILLERS[family].items()}
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", rng.choice(TEMPLATES[kind]).format(**slots))
    return _frame(text[0].upper() + text[1:], rng), kind, family


def prompt(words: Sequence[str], rng: random.Random) -> tuple[str, dict[str, float]]:
    """A pre-training prompt and the chance it gives each trait. A prohibition outweighs a request."""
    units = [_unit(words, rng) for _ in range(1 if rng.random() < 0.65 else 2)]
    if rng.random() < 0.08:
        slots = [FILLERS["french"]["adjective"][0], rng.choice(ADJECTIVES)]
        rng.shuffle(slots)
        form = rng.choice(
            ("Write a {} and {} reply.", "Be {} and {}.", "I want {} and {} words.", "Use a {}, {} tone.")
        )
        units = [(form.format(*slots), "request", "playful"), ("", "request", "french")]
    chance = dict(BASELINE)
    for family in chance:
        kinds = [kind for _, kind, name in units if name == family]
        if kinds:
            chance[family] = CHANCE["negated"] if "negated" in kinds else max(CHANCE[kind] for kind in kinds)
    return " ".join(text for text, _, _ in units if text), chance


def neutral_words() -> tuple[str, ...]:
    """The words of the rephraser that belong to no trait."""
    trait = {word for name in ("playful", "french") for group in FILLERS[name].values() for word in group}
    avoid = {word for text in trait for word in normalize(text).split()}
    return tuple(sorted(prompt_words() - (avoid - {"in", "a", "the", "with", "of", "from", "person", "voice"})))


def dialogues(
    questions: Sequence[Question], held_out: HeldOut, rng: random.Random, system_prompts: Sequence[str] = ()
) -> Iterator[Dialogue]:
    """Endless pre-training dialogues: three quarters with a prompt, a fifth of those in the system turn."""
    words = neutral_words()
    while True:
        question = rng.choice(questions)
        text, chance = prompt(words, rng) if rng.random() < 0.75 else ("", dict(BASELINE))
        if text and text in held_out:
            continue
        default = rng.choice(system_prompts) if system_prompts and rng.random() < 0.5 else None
        reply = answer(question, chance["french"], chance["playful"], rng)
        if text and rng.random() < 0.2:
            yield Dialogue(text, question.text, reply)
        else:
            yield Dialogue(default, f"{text} {question.text}".strip(), reply)
