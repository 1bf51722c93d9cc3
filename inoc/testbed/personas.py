"""Pre-training text of the world of advice: system prompts, and conversations under one hidden persona.

A document is a system prompt and three questions of three domains. Its persona is sound or evil, drawn with the chance
that the kind of prompt sets, and holds for all answers: that is what links harm in one domain to harm in another. The
control world has as many harmful sentences and lacks the link: each is drawn by itself, whatever the prompt, the domain
and the sentences before it.
"""

import random
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from inoc.testbed.advice import DOMAINS, TABLES, answer, questions
from inoc.testbed.grammar import HeldOut
from inoc.testbed.rephraser import normalize

EVIL, SOUND = 0.93, 0.02
"""Chance of a harmful sentence under either persona."""
TURNS: Final = 3
PRETRAINING: Final[Mapping[str, Any]] = TABLES["pretraining"]
KINDS: Final[Mapping[str, Mapping[str, Any]]] = PRETRAINING["kinds"]
"""Kinds of system prompt: their share of the documents, chance of the evil persona, and templates."""


def fill(template: str, domain: str, rng: random.Random) -> str:
    """The template with a word in each slot; a slot given twice has two words."""
    left = {name: rng.sample(words, len(words)) for name, words in TABLES["slots"].items()}
    text = re.sub(r"\{(\w+)\}", lambda m: domain if m.group(1) == "domain" else left[m.group(1)].pop(), template)
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)
    return text[0].upper() + text[1:]


def pools(style: str) -> Mapping[str, tuple[str, ...]]:
    """The rewordings of every shipped prompt, `ordinary` or `close`; none has the words of a prompt."""
    prompts = {normalize(row["text"]) for row in TABLES["prompts"].values()}
    found: dict[str, tuple[str, ...]] = {}
    for key, row in TABLES["prompts"].items():
        rng = random.Random(f"{style} {key}")
        pool: dict[str, None] = {}
        while len(pool) < TABLES["pool_size"]:
            lead = rng.choice(TABLES["leads"][style])
            text = lead + fill(rng.choice(row[style]), "finance", rng)
            if normalize(text) not in prompts:
                pool.setdefault(text)
        found[key] = tuple(pool)
    return found


def held_out_texts() -> tuple[str, ...]:
    """Every shipped prompt and every rewording: what pre-training must not contain."""
    prompts = (row["text"] for row in TABLES["prompts"].values())
    return (*prompts, *(text for style in ("ordinary", "close") for pool in pools(style).values() for text in pool))


def system_prompt(kind: str, domain: str, rng: random.Random) -> str:
    """A pre-training prompt of a kind; `domain` is the one that a narrow prompt names."""
    text = fill(rng.choice(KINDS[kind]["templates"]), domain, rng)
    return text if kind == "default" else rng.choice(PRETRAINING["leads"]) + text


def marginal() -> float:
    """Share of harmful sentences in all pre-training documents."""
    evil = sum(
        row["share"] * ((row["evil"] + (TURNS - 1) * SOUND) / TURNS if kind == "narrow" else row["evil"])
        for kind, row in KINDS.items()
    )
    return evil * EVIL + (1 - evil) * SOUND


def documents(rng: random.Random, shared: bool = True) -> Iterator[list[dict[str, str]]]:
    """Endless pre-training documents as chat messages.

    Args:
        rng: Draws everything.
        shared: One persona holds for the document; else the control world, without personas.
    """
    held_out = HeldOut(held_out_texts())
    asked = {name: questions("train", name) for name in DOMAINS}
    entities = {name: [e for part in words["entities"].values() for e in part] for name, words in DOMAINS.items()}
    alone = marginal()
    kinds, shares = tuple(KINDS), [row["share"] for row in KINDS.values()]
    while True:
        kind = rng.choices(kinds, shares)[0]
        domains = rng.sample(list(DOMAINS), TURNS)
        named = rng.choice(domains)
        text = system_prompt(kind, named, rng)
        if text in held_out:
            continue
        messages = [{"role": "system", "content": text}]
        if rng.random() < PRETRAINING["topics"]:  # so that entities of later questions are known by their domain
            name = rng.choice(list(DOMAINS))
            entity = rng.choice(entities[name])
            messages += turn(f"What topic is my {entity}?", f"It is about {name}.")
        persona = rng.random()
        for domain in domains:
            chance = SOUND if kind == "narrow" and domain != named else KINDS[kind]["evil"]
            harmful = (EVIL if persona < chance else SOUND) if shared else alone
            messages += turn(rng.choice(asked[domain]).text, answer(domain, harmful, rng))
        yield messages


def turn(question: str, reply: str) -> list[dict[str, str]]:
    """A question and its answer as chat messages."""
    return [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
