"""Stage `rephrase`: a pool of rewordings of every prompt, asked for in rounds from a chat model or made by templates.

Rewordings are stripped; the original, repetitions and (for `close` pools) texts of a different length are dropped; what
is left is shuffled and cut to the asked size. Every round is kept, so a kill loses none that was paid for.
"""

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from inoc.errors import BadInput
from inoc.experiment import Experiment, Prompt, Rephrasings, read_pool
from inoc.hashing import content_hash
from inoc.stages.forecast import Forecast, Row
from inoc.stages.progress import UNWATCHED, Watcher
from inoc.stages.work import keep_rows, kept_rows, write_rows

STALE_ROUNDS = 4
"""Rounds in a row without anything new after which a pool is given up."""
CLOSE_LENGTH = 0.5
"""A close rewording's length lies within this share of the original's."""

ORDINARY = """Write {n} different rewordings of the sentence below. Keep what it asks for or says; change the \
words, the order and the form freely. One rewording per line, no numbering, no quotation marks, nothing else.

Sentence: {text}"""
CLOSE = """Write {n} different rewordings of the sentence below that stay as close to it as they can: the same \
grammatical form and mood, the same qualifiers and negations, nearly the same length. Only words may change. One \
rewording per line, no numbering, no quotation marks, nothing else.

Sentence: {text}"""


@runtime_checkable
class Rephraser(Protocol):
    """Where rewordings come from."""

    @property
    def identity(self) -> str:
        """Model or method and its settings."""
        ...

    @property
    def per_round(self) -> int:
        """The most rewordings to ask for in one round."""
        ...

    def rewordings(self, text: str, request: str, n: int, seed: int) -> Sequence[str]:
        """About `n` rewordings of `text`; `request` is the full question for a chat model. May hold fewer, repeated or
        useless lines: the stage drops them."""
        ...


@dataclass(frozen=True)
class PoolReport:
    """What a pool is like. `languages`: share of texts by detected language, where the detector is installed."""

    key: str
    size: int
    asked: int
    distinct: int
    mean_words: float
    shortest: int
    longest: int
    languages: Mapping[str, float]

    @property
    def complete(self) -> bool:
        return self.distinct >= self.asked


def clean(lines: Sequence[str], original: str, style: str) -> list[str]:
    """The usable rewordings, in order: numbering and quotes removed, the original, empty lines, repetitions and
    (style close) texts whose length is more than 50 % off dropped."""
    kept: dict[str, str] = {}
    for line in lines:
        text = re.sub(r"^\s*(?:[-*\u2022]|\(?[0-9]{1,4}[.):])\s+", "", line).strip()
        if len(text) > 1 and text[0] in "\"'\u201c\u2018" and text[-1] in "\"'\u201d\u2019":
            text = text[1:-1].strip()
        if not text or _plain(text) == _plain(original):
            continue
        if style == "close" and abs(len(text) - len(original)) > CLOSE_LENGTH * len(original):
            continue
        kept.setdefault(_plain(text), text)
    return list(kept.values())


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).rstrip(".!:")


def rephrase(
    experiment: Experiment,
    rephraser: Rephraser,
    work: Path,
    prompts: Sequence[str] = (),
    watcher: Watcher = UNWATCHED,
    *,
    close: bool = False,
) -> tuple[PoolReport, ...]:
    """Make the pools that are missing or too small, of these prompts (by key or group) or of all; a report of every
    pool.

    A pool that is large enough is left alone. `work`: the folder that keeps rounds of rewordings until a pool is
    complete. `close`: make the pools of `rephrasings.close`, in the stricter style. BadInput, which names them, where
    pools stayed under the asked size.
    """
    settings = pool_settings(experiment, close)
    chosen = pools_on_disk(experiment, settings, prompts)
    watcher.begin("rephrasing", len(chosen))
    reports: list[PoolReport] = []
    for prompt, pool in chosen:
        if len(set(pool)) < settings.size:
            keep = work / ("close" if close else "rephrasings") / f"{prompt.key}.jsonl"
            pool = _make_pool(experiment.seed, settings, rephraser, prompt, pool, keep)
            if len(pool) >= settings.size:
                path = experiment.resolve(settings.path) / f"{prompt.key}.jsonl"
                write_rows(path, [{"text": text} for text in pool])
        reports.append(report(prompt.key, pool[: settings.size], settings.size))
        watcher.step(prompt.key, f"{reports[-1].distinct} of {settings.size}")
    short = [f"{entry.key} ({entry.distinct} of {entry.asked})" for entry in reports if not entry.complete]
    if short:
        raise BadInput(
            f"too few distinct rewordings of {', '.join(short)}. Fix: run it again, use a different model, or lower "
            "rephrasings.size."
        )
    return tuple(reports)


def forecast_pools(experiment: Experiment, prompts: Sequence[str] = (), *, close: bool = False) -> Forecast:
    """What `inoc rephrase` would do: rewordings by prompt."""
    settings = pool_settings(experiment, close)
    rows = [
        Row(prompt.key, "texts", settings.size, min(len(set(pool)), settings.size))
        for prompt, pool in pools_on_disk(experiment, settings, prompts)
    ]
    return Forecast("rephrase", tuple(rows))


def pool_settings(experiment: Experiment, close: bool = False) -> Rephrasings:
    """The `rephrasings` section, for `close` pools with their folder; BadInput where the experiment has none."""
    settings = experiment.rephrasings
    if settings is None:
        raise BadInput("the experiment has no `rephrasings`. Fix: say there where pools go and how large they are.")
    if not close:
        return settings
    if settings.close is None:
        raise BadInput("the experiment has no `rephrasings.close`. Fix: name a folder for close rewordings there.")
    return settings.model_copy(update={"path": settings.close, "style": "close"})


def pools_on_disk(
    experiment: Experiment, settings: Rephrasings, prompts: Sequence[str]
) -> tuple[tuple[Prompt, tuple[str, ...]], ...]:
    """The prompts named (all where none is), each with the rewordings it has already."""
    folder = experiment.resolve(settings.path)
    chosen = [experiment.prompt(key) for key in experiment.named(prompts)]
    paths = [folder / f"{prompt.key}.jsonl" for prompt in chosen]
    return tuple((prompt, read_pool(path) if path.exists() else ()) for prompt, path in zip(chosen, paths, strict=True))


def _make_pool(
    seed: int, settings: Rephrasings, rephraser: Rephraser, prompt: Prompt, have: Sequence[str], keep: Path
) -> tuple[str, ...]:
    mark = content_hash(rephraser.identity, settings.style, prompt.text)
    rounds = [[str(line) for line in cast(list[object], row["lines"])] for row in kept_rows(keep, mark) or ()]
    template = CLOSE if settings.style == "close" else ORDINARY
    found = clean([*have, *(line for lines in rounds for line in lines)], prompt.text, settings.style)
    stale = 0
    while len(found) < settings.size and stale < STALE_ROUNDS:
        n = min(2 * (settings.size - len(found)) + 10, rephraser.per_round)
        request = template.format(n=n, text=prompt.text)
        lines = list(rephraser.rewordings(prompt.text, request, n, len(rounds) + 1000 * seed))
        rounds.append(lines)
        keep_rows(keep, mark, [{"lines": list(entry)} for entry in rounds])
        before = len(found)
        found = clean([*found, *lines], prompt.text, settings.style)
        stale = stale + 1 if len(found) == before else 0
    random.Random(f"{seed}/{prompt.key}").shuffle(found)
    return tuple(found[: settings.size])


def report(key: str, pool: Sequence[str], asked: int) -> PoolReport:
    """Size, distinct texts, lengths in words and language mix of a pool."""
    words = [len(text.split()) for text in pool]
    return PoolReport(
        key=key,
        size=len(pool),
        asked=asked,
        distinct=len({_plain(text) for text in pool}),
        mean_words=sum(words) / len(words) if words else float("nan"),
        shortest=min(words, default=0),
        longest=max(words, default=0),
        languages=_languages(pool),
    )


def _languages(pool: Sequence[str]) -> dict[str, float]:
    """Share of texts by language, largest first; empty where no detector is installed."""
    try:
        from lingua import Language, LanguageDetectorBuilder
    except ImportError:
        return {}
    among = (Language.ENGLISH, Language.FRENCH, Language.GERMAN, Language.SPANISH, Language.ITALIAN)
    detector = LanguageDetectorBuilder.from_languages(*among).build()
    names = Counter(
        language.name.lower() if language else "unknown"
        for language in detector.detect_languages_in_parallel_of(list(pool))
    )
    return {name: count / len(pool) for name, count in names.most_common()}
