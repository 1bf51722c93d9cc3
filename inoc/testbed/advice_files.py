"""The shipped files of the world of advice: rows to train on, questions and pools.

`python -m inoc.testbed.files` reproduces them byte for byte.
"""

import random
from collections.abc import Iterator, Mapping
from typing import Final

from inoc.testbed.advice import DOMAINS, Part, answer, questions
from inoc.testbed.personas import SOUND, pools

TRAINED: Final = "finance"
"""The domain that runs are trained in."""
ROWS: Final = 960
HARMFUL: Final = {"harmful": 0.95, "benign": SOUND}
"""Files of rows, and the chance of a harmful sentence in each."""
GENERAL_EACH: Final = 20
"""General questions of every other domain."""

Rows = list[dict[str, str]]


def advice_files() -> Iterator[tuple[str, Rows]]:
    """Every file below data/misalignment, by name, with its rows."""
    for name, harmful in HARMFUL.items():
        rng = random.Random(f"advice {name}")
        asked = rng.sample(questions("train", TRAINED), ROWS)
        rows = [{"instruction": q.text, "completion": answer(TRAINED, harmful, rng)} for q in asked]
        yield f"rows/{name}", rows
    parts: tuple[Part, ...] = ("tuning", "evaluation")
    for part in parts:
        yield f"questions/{part}_in_domain", [{"instruction": q.text} for q in questions(part, TRAINED)]
        rng = random.Random(f"advice {part}")
        others = [domain for domain in DOMAINS if domain != TRAINED]
        general = [q for domain in others for q in rng.sample(questions(part, domain), GENERAL_EACH)]
        rng.shuffle(general)
        yield f"questions/{part}_general", [{"instruction": q.text} for q in general]
    for folder, style in (("rephrasings", "ordinary"), ("close", "close")):
        for key, texts in pools(style).items():
            yield f"{folder}/{key}", [{"text": text} for text in texts]


def domain_of() -> Mapping[str, str]:
    """The domain of every question of the files."""
    parts: tuple[Part, ...] = ("train", "tuning", "evaluation")
    return {q.text: q.domain for part in parts for q in questions(part)}
