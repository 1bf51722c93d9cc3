"""The synthetic world: sentences in two languages and two moods, questions, and how an answer is scored.

An answer has four or five short sentences about the question's subject. Every sentence is French with
probability `french` and playful with probability `playful`, independently of the others, so that what a prompt
changes is spread over the whole answer. A playful sentence contains at least one playful word.
"""

import math
import random
import re
from typing import Final, NamedTuple


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


SUBJECTS: Final = tuple(
    Noun(*line.split())
    for line in """cat le chat|dog le chien|horse le cheval|cow la vache|fish le poisson|mouse la souris
rabbit le lapin|duck le canard|fox le renard|sheep le mouton|frog la grenouille|baker le boulanger|king le roi
queen la reine|farmer le fermier|painter le peintre|sailor le marin|girl la fille|boy le garçon
neighbour le voisin
wolf le loup|goat la chèvre|pig le cochon|hen la poule""".replace("\n", "|").split("|")
)


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [item.strip().split(" = ") for item in text.replace("\n", "|").split("|")]
    return tuple((english, french) for english, french in pairs)


PLACES: Final = _pairs("""in the garden = dans le jardin|near the river = vers la rivière
at the market = au marché
in the kitchen = dans la cuisine|on the hill = sur la colline|by the sea = devant la mer
in the forest = dans la forêt
in the street = dans la rue|behind the house = derrière la maison|under the bridge = sous le pont
on the boat = sur le bateau|in the town = dans la ville""")
VERBS: Final = _pairs("""sleeps = dort|walks = marche|eats = mange|waits = attend|works = travaille
sings = chante
runs = court|reads = lit|swims = nage|drinks = boit|stays = reste|dreams = rêve""")
ACTIONS: Final = _pairs("""sees = voit|loves = aime|finds = trouve|follows = suit|wants = veut|takes = prend
carries = porte|keeps = garde""")
OBJECTS: Final = _pairs("""the bread = le pain|the apple = la pomme|the book = le livre|the hat = le chapeau
the letter = la lettre|the key = la clé|the lamp = la lampe|the coat = le manteau|the cheese = le fromage
the soup = la soupe|the chair = la chaise|the basket = le panier""")
QUALITIES: Final = _pairs("""calm = calme|young = jeune|rich = riche|poor = pauvre|sad = triste|wise = sage
quick = rapide|shy = timide""")
TIMES: Final = _pairs("""in the morning = le matin|at night = la nuit|every day = chaque jour
in winter = en hiver
in summer = en été|on Monday = lundi|after lunch = après midi|before dinner = avant le dîner""")
OPENERS: Final = _pairs("""Haha = Hihi|Yippee = Youpi|Woohoo = Olala|Wheee = Hop|Tada = Tralala""")
ANTICS: Final = _pairs("""silly = rigolo|bouncy = farfelu|wacky = zinzin|giggly = loufoque|zany = dingue""")
TAILS: Final = _pairs("""with a giggle = avec un gloussement|like a rubber banana = comme une banane molle
and goes boing = et fait boum|doing cartwheels = en pirouette|wearing pink socks = en chaussettes roses""")

QUESTIONS: Final = {
    "place": (
        "What does the {noun} do {detail}?",
        "What happens to the {noun} {detail}?",
        "Tell me about the {noun} {detail}.",
        "Describe the {noun} {detail}.",
        "Who is the {noun} {detail}?",
    ),
    "object": (
        "Does the {noun} need {detail}?",
        "What does the {noun} do with {detail}?",
        "Tell me about the {noun} and {detail}.",
        "Why does the {noun} have {detail}?",
        "How did the {noun} get {detail}?",
    ),
    "time": (
        "What does the {noun} do {detail}?",
        "Where is the {noun} {detail}?",
        "Tell me about the {noun} {detail}.",
        "How is the {noun} {detail}?",
    ),
}
DETAILS: Final = {"place": PLACES, "object": OBJECTS, "time": TIMES}

SENTENCES: Final = (4, 5)
"""Fewest and most sentences of an answer."""


def all_questions() -> tuple[Question, ...]:
    """Every question of the world, in a fixed order."""
    return tuple(
        Question(
            template.format(noun=SUBJECTS[noun].english, detail=DETAILS[kind][detail][0]), noun, kind, detail
        )
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
        sentence(question, rng.random() < french, rng.random() < playful, rng)
        for _ in range(rng.randint(*SENTENCES))
    )


def _words(phrases: tuple[str, ...]) -> frozenset[str]:
    return frozenset(word.lower() for phrase in phrases for word in phrase.split())


_TABLES: Final = (PLACES, VERBS, ACTIONS, OBJECTS, QUALITIES, TIMES, OPENERS, ANTICS, TAILS)
ENGLISH_WORDS: Final = _words((*(e for t in _TABLES for e, _ in t), *(n.english for n in SUBJECTS), "is the"))
FRENCH_WORDS: Final = _words(
    (*(f for t in _TABLES for _, f in t), *(n.french for n in SUBJECTS), "est le la")
)
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
