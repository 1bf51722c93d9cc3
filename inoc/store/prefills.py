"""Writing /emergence: one subgroup per run with what its checkpoints do after forced beginnings of an answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from jaxtyping import Float64, Int64

from inoc.errors import BadInput, OtherSettings
from inoc.store.reader import Reader
from inoc.store.schema import check_name
from inoc.store.tables import put_group, same

CellCounts = Int64[np.ndarray, "checkpoint prefill text behavior"]
CellNats = Float64[np.ndarray, "checkpoint prefill text behavior"]
SOURCES = ("file", "run", "self")
"""Where prefills come from: texts of a file, answers of a donor run, the checkpoint itself."""


@dataclass(frozen=True)
class PrefillCounts:
    """What the checkpoints of a run do after prefills. At level 0 nothing is forced.

    Attributes:
        checkpoint: Updates, ascending.
        prefill: Levels in tokens, ascending.
        behavior: Names of the behaviors.
        question: The question that each text answers; "" where unknown.
        text: The forced beginnings; "" where unknown or empty.
        successes, trials: Answers with the behavior, and all that were judged.
        surprisal: -log P(text) under the checkpoint, in nats; NaN = not measured.
        neg_kl: log P(text) under the checkpoint minus that under the donor, in nats; its mean estimates
            -KL(donor || checkpoint). NaN = not measured.
        source: Where the prefills come from.
        settings: What else decides the counts (the donor, thresholds, judges).
        base_surprisal: -log P(text) under the base model, in nats, where measured.
    """

    checkpoint: Sequence[int]
    prefill: Sequence[int]
    behavior: Sequence[str]
    question: Sequence[str]
    text: np.ndarray
    successes: CellCounts
    trials: CellCounts
    surprisal: CellNats
    neg_kl: CellNats
    source: str
    settings: dict[str, object] = field(default_factory=dict[str, object])
    base_surprisal: Float64[np.ndarray, "checkpoint prefill text"] | None = None


def check_counts(counts: PrefillCounts, where: str) -> None:
    """BadInput, which calls them `where`, for counts that cannot be: labels not ascending or twice, more successes than
    trials, a negative surprisal, shapes that disagree."""
    for name, values in (("checkpoint", counts.checkpoint), ("prefill", counts.prefill)):
        for before, after in pairwise(values):
            if after <= before:
                why = "comes twice" if after == before else f"comes after {before}"
                raise BadInput(f"{where}: {name} {after} {why}. Fix: give each {name} once, in ascending order.")
        if values and values[0] < 0:
            raise BadInput(f"{where}: {name} {values[0]} is negative. Fix: count from 0.")
    if len(set(counts.behavior)) < len(counts.behavior):
        raise BadInput(f"{where}: a behavior comes twice. Fix: make their names unique.")
    if counts.source not in SOURCES:
        raise BadInput(f"{where}: prefills come from {counts.source!r}. Fix: write one of {', '.join(SOURCES)}.")
    shape = len(counts.checkpoint), len(counts.prefill), len(counts.question), len(counts.behavior)
    for name in ("successes", "trials", "surprisal", "neg_kl"):
        if getattr(counts, name).shape != shape:
            raise BadInput(f"{where}: {name} has shape {getattr(counts, name).shape}, its labels say {shape}.")
    wrong = {
        "more successes than trials": counts.successes > counts.trials,
        "negative successes": counts.successes < 0,
        "a negative surprisal": counts.surprisal < 0,
        "an infinite surprisal": np.isinf(counts.surprisal) | np.isinf(counts.neg_kl),
    }
    for what, cells in wrong.items():
        if cells.any():
            c, p, t, b = np.argwhere(cells)[0]
            cell = f"checkpoint {counts.checkpoint[c]}, prefill {counts.prefill[p]}, behavior {counts.behavior[b]}"
            numbers = f"{counts.successes[c, p, t, b]} of {counts.trials[c, p, t, b]}, {counts.surprisal[c, p, t, b]:g}"
            raise BadInput(f"{where}: {cell} has {what} ({numbers} nats). Fix: correct the table.")


def put_prefill_counts(store: Reader, run: str, counts: PrefillCounts) -> None:
    """Store the counts of a run, all at once.

    Args:
        run: The run's name.
        counts: Its counts.

    Raises:
        OtherSettings: Other counts are stored under the name.
        BadInput: The counts cannot be.
    """
    where = f"emergence/{check_name(run, 'run')}"
    check_counts(counts, f"/{where}")
    columns = {
        "checkpoint": np.asarray(counts.checkpoint, np.int64),
        "prefill": np.asarray(counts.prefill, np.int64),
        "behavior": list(counts.behavior),
        "question": list(counts.question),
        "text": counts.text,
        **{name: getattr(counts, name) for name in ("successes", "trials", "surprisal", "neg_kl")},
    }
    if counts.base_surprisal is not None:
        columns["base_surprisal"] = counts.base_surprisal
    attributes = {"source": counts.source, "settings": counts.settings}
    if store.has(where) and not (same(store, where, columns) and store.attributes(where) == attributes):
        raise OtherSettings(
            f"{store.path}: /{where} is stored with other counts. "
            "Fix: give the run another name, or choose another store."
        )
    put_group(store, where, columns, attributes)
