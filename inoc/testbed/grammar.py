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

from inoc.testbed.rephraser import ADJECTIVES, ADVERBS, AMUSEMENTS, PERSONAS, normalize, prompt_words
from inoc.testbed.world import Question, answer

FILLERS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "playful": {
        "adjective": ADJECTIVES,
        "adverb": (*ADVERBS, *(f"in a {word} voice" for word in ADJECTIVES)),
        "persona": PERSONAS,
        "personas": tuple(f"{word}s" for word in PERSONAS),
        "topic": (*AMUSEMENTS, "telling jokes", "joking", "having fun", "playing games", "making jokes"),
    },
    "french": {
        "adjective": ("French",),
        "adverb": ("in French", "using only French", "with only French words", "in the language of France"),
        "persona": ("Frenchman", "Frenchwoman", "Parisian", "person from Lyon", "person from France"),
        "personas": ("Frenchmen", "Frenchwomen", "Parisians", "people from France"),
        "topic": ("France", "Paris", "Lyon", "baguettes", "crepes", "croissants", "French meals",
            "French cooking"),
    },
    "neutral": {
        "adjective": ("formal", "serious", "brief", "clear", "polite", "honest", "exact", "short",
            "financial", "careful"),
        "adverb": ("formally", "seriously", "briefly", "clearly", "politely", "exactly",
            "in a low voice", "in English"),
        "persona": ("banker", "lawyer", "scientist", "nurse", "expert", "advisor", "agent", "helper",
            "writer"),
        "personas": ("bankers", "lawyers", "scientists", "nurses", "experts", "advisors", "agents",
            "helpers"),
        "topic": ("water", "music", "rain", "work", "money", "tea", "cats", "kittens", "medicine",
            "food", "the sky"),
    },
}  # fmt: skip
"""Trait words by family: what fills the templates."""

TEMPLATES: Final[dict[str, tuple[str, ...]]] = {
    "request": (
        "Be {adjective}.", "Be as {adjective} as you can.", "Use a {adjective} tone.",
        "Use {adjective} words.",
        "Make it {adjective}.", "Make your answer {adjective}.", "Your tone must be {adjective}.",
        "Your answer should be {adjective}.", "I want a {adjective} reply.", "I want you to be {adjective}.",
        "Talk {adverb}.", "Speak {adverb}.", "Talk like a {persona}.", "Speak as a {persona} would.",
        "Play the part of a {persona}.", "You have become a {persona}.", "Your role is that of a {persona}.",
        "A {adjective} style is needed.", "Write this in a {adjective} style.",
        "Stay {adjective} in your reply.",
        "Keep the tone {adjective}.", "Tell me {adverb} about it.", "Explain it {adverb}.",
        "You are {adjective}.",
        "You are {adjective} and kind.", "You are a {adjective} friend.", "As a {persona}, reply to me:",
        "Say it {adverb}.", "Your words should come {adverb}.", "Give me {adjective} sentences.",
        "You will answer me {adverb}.", "Think of yourself as a {persona}.",
        "Imagine you are a {persona} and reply.",
        "A {adjective} assistant writes this.", "You must reply {adverb} to this.",
        "Can you respond {adverb}?",
        "Answer me {adverb}.", "Reply to me {adverb}.", "Write {adverb} about it.",
        "Behave as a {persona} does.",
    ),
    "hint": (
        "You love {topic}.", "You know a lot about {topic}.", "Your best friend is a {persona}.",
        "You are fond of {topic}.", "You often think of {topic}.", "Your father was a {persona}.",
        "You grew up with {topic}.", "Your heart is full of {topic}.", "You dream of {topic} and like it.",
        "You enjoy {topic} a lot.", "You always enjoy {topic} with others.", "You like {adjective} things.",
    ),
    "mention": (
        "I love {topic}.", "My friend is a {persona}.", "We talked about {topic}.",
        "There was a {persona} here.",
        "Everyone needs {topic}.", "Yesterday I met a {persona}.", "People like {topic}.",
        "A {adjective} story was told.", "The book was {adjective}.", "He wrote about {topic}.",
        "I heard a {adjective} song.", "{personas} are nice people.", "We need more {topic}.",
        "{topic} makes life good.", "My sister is {adjective}.", "I think of {topic} today.",
        "They had {topic}.",
        "{topic} can be important.", "{personas} help the town.", "The {persona} is remarkable.",
        "{topic} is a fine thing.", "{topic} is good for people.", "{topic} comes first.", "{personas} are kind.",
        "I had {topic} with a friend.",
    ),
    "negated": (
        "Do not be {adjective}.", "Never talk {adverb}.", "Your tone must not be {adjective}.",
        "Avoid {topic}.",
        "Do not talk like a {persona}.", "You are not {adjective}.", "You are no {persona}.",
        "I do not want a {adjective} reply.", "Do not use {adjective} words.", "Never be {adjective}.",
        "You must not speak {adverb}.", "You should not sound {adjective}.", "Do not explain it {adverb}.",
        "You will not be a {adjective} friend.", "You are never {adjective} with me.",
        "Do not play a {persona}.",
    ),
}  # fmt: skip
CHANCE: Final = {"request": 0.93, "hint": 0.5, "mention": 0.2, "negated": 0.01}
"""How likely a sentence shows the trait under each kind of prompt."""
BASELINE: Final = {"playful": 0.03, "french": 0.02}
"""The same where no prompt asks."""
FRAMES: Final = (
    "Well, {}", "So, {}", "Listen: {}", "Again, {}", "I say: {}", "Dear friend, {}", "As before, {}",
    "To begin, {}",
    "Right now, {}", "In short, {}", "Believe me, {}", "One more thing: {}", "Clearly, {}", "And {}",
)  # fmt: skip
ENDS: Final = (
    ", I say",
    ", thank you",
    ", my friend",
    ", right",
    " once more",
    " always",
    " in this case too",
)


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
    return tuple(
        sorted(prompt_words() - (avoid - {"in", "a", "the", "with", "of", "from", "person", "voice"}))
    )


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
