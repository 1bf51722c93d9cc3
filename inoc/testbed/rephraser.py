"""A deterministic rephraser: synonyms and framing phrases, no model.

It rewords any English text and keeps the meaning of the testbed's prompts. The framing phrases differ from those
of the pre-training text (`inoc.testbed.grammar`).
"""

import random
import re
from typing import Final

ADJECTIVES: Final = (
    *("playful", "funny", "silly", "cheeky", "witty"),
    *("whimsical", "goofy", "humorous", "jolly", "merry"),
)
ADVERBS: Final = ("playfully", "humorously", "cheekily", "merrily", "jokingly", "wittily")
PERSONAS: Final = ("clown", "comedian", "jester", "joker", "prankster", "entertainer")
AMUSEMENTS: Final = ("fun", "humor", "laughter", "jokes", "levity", "games", "mirth", "pranks")

_PLURALS = tuple(word + "s" for word in PERSONAS)
_OTHERS: Final = """
give an answer to = reply to | respond to | write a reply to | find an answer to | write an answer to
the following = this | what follows | the question | the question below | this question
answer = reply | respond | write back | react | write your answer
you are not = you must not be | you should not be | you are never | you will not be
you are = you will be | you act as | you must be | you should be | you play
do not = never | you must not | you should not | you will not
think like = act like | behave like | reason like | be like | think as | take the part of
agent = helper | assistant | speaker | writer
joking around = joking | good company | being with people | a good time | a long talk | making jokes
had fun = had a good time | had some fun | enjoyed some games | heard some jokes | had some laughter
humor = laughter | a smile | a light heart | good cheer | kindness
levity = jokes | good company | a good mood | warmth | ease
laughter = mirth | humor | a smile | good cheer | fun
enjoy = like | love | really like | care for
matter = count | help | are important | mean a lot
interesting = curious | remarkable | worth a look | important | good to know
the best medicine = a good medicine | good for you | the best thing | good for the heart | a great help
today = this morning | yesterday | last week | at lunch | at work
in french = using French | with French words | in the French language | only in French | all in French
parisian = Frenchman | Frenchwoman | person from Paris | person from France
paris = Lyon | the town of Paris | the heart of Paris | old Paris
croissants = baguettes | crepes | French cakes
food = cooking | cakes | meals | cheese
beautiful = lovely | pretty | nice | great
city = place | town | spot
blue = bright | pale | clear | grey
sky = air | view | sea
be concise = be short | stay short | keep it short | use few words | be quick
like cats = like kittens | love cats | have cats | keep cats | care for cats
step by step = slowly | one step at a time | in small steps | with care | in order
financial advisor = money expert | bank advisor | money advisor | bank expert
"""
SYNONYMS: Final[dict[str, tuple[str, ...]]] = {
    "playfully": (
        *ADVERBS,
        *(f"in a {word} way" for word in ADJECTIVES),
        *(f"with {word}" for word in AMUSEMENTS),
    ),
    "playful": ADJECTIVES,
    **dict.fromkeys(PERSONAS, PERSONAS),
    **dict.fromkeys(_PLURALS, _PLURALS),
    **{
        phrase: tuple(others.split(" | "))
        for phrase, others in (line.split(" = ") for line in _OTHERS.strip().splitlines())
    },
}
"""Phrases and what may replace them."""
IMPERATIVES: Final = frozenset(
    [
        *("answer", "reply", "respond", "write", "think", "give", "be", "use", "do", "act", "take", "find"),
        *("never", "behave", "reason", "keep", "stay", "react"),
    ]
)
OPENINGS: Final = {
    "statement": (
        "Remember that {}", "As we all know, {}", "Note that {}", "I think that {}", "It is true that {}",
        "They say that {}", "Of course, {}", "Honestly, {}", "In my view, {}", "By the way, {}",
        "Just so you know, {}", "To be clear, {}", "Surely {}", "I would say {}",
        "Let me say that {}", "{}", "{}", "{}",
    ),
    "request": (
        "Please {}", "Kindly {}", "Now {}", "From now on, {}", "In this case, {}", "Here, {}",
        "If you can, {}",
        "For this one, {}", "First of all, {}", "My wish: {}", "The rule is: {}",
        "This time, {}", "{}", "{}", "{}",
    ),
}  # fmt: skip
CLOSINGS: Final = {
    "statement": (
        ", you know",
        ", I think",
        ", as ever",
        ", indeed",
        ", of course",
        " after all",
        "",
        "",
        "",
    ),
    "request": (", please", " from here on", " this time", " as usual", " if you can", " for me", "", "", ""),
}
PATIENCE: Final = 1000
"""Repetitions in a row after which a text counts as exhausted."""

_PHRASES = re.compile(
    r"\b(" + "|".join(sorted(map(re.escape, SYNONYMS), key=len, reverse=True)) + r")\b", re.I
)


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
