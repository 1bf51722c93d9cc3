"""Writing /judgments: scores that a judge gave stored answers later, cell by cell (data, then CRC marker)."""

import numpy as np
from jaxtyping import Float

from inoc.errors import BadInput
from inoc.store.marks import Part, put_marked
from inoc.store.reader import Reader
from inoc.store.staging import transaction
from inoc.store.tables import make_room, stage_columns


def put_judgments(
    store: Reader,
    run: str,
    step: int,
    condition: str,
    score: str,
    judge: str,
    values: Float[np.ndarray, " answer"],
    coverage: Float[np.ndarray, " answer"],
) -> None:
    """Store what a judge gave the answers of one evaluation: data, then its marker.

    Args:
        run, step, condition: Which evaluation; it must be stored with its answers.
        score: The name of the score.
        judge: The identity of the judge.
        values: 0-100; NaN = not judged.
        coverage: Probability mass of valid judge answers, 0-1.

    Raises:
        BadInput: There are no such answers, or their number differs.
    """
    source, where = f"runs/{run}", f"judgments/{run}"
    if not store.has(f"{source}/generation"):
        raise BadInput(f"run {run!r} has no stored answers. Fix: evaluate it with `inoc evaluate`.")
    steps, conditions = store.read(f"{source}/step").tolist(), store.labels(f"{source}/condition")
    n = store.shape(f"{source}/instruction")[0]
    if step not in steps or condition not in conditions or values.shape != (n,) or coverage.shape != (n,):
        raise BadInput(f"run {run!r}, step {step}, condition {condition!r}: not {n} judgments of a stored evaluation.")
    there = store.has(where)
    pairs = list(zip(*(store.labels(f"{where}/{v}") for v in ("score", "judge")), strict=True)) if there else []
    grown = [*pairs, (score, judge)] if (score, judge) not in pairs else pairs
    labels = {"step": np.asarray(steps, np.int64), "condition": conditions}
    labels |= {"score": [name for name, _ in grown], "judge": [identity for _, identity in grown]}
    sizes = {"step": len(steps), "condition": len(conditions), "judged": len(grown), "instruction": n}
    rooms = {"value": 3, "coverage": 3, "score_crc": 3}
    shape = (len(steps), len(conditions), len(grown))
    if not there or store.shape(f"{where}/score_crc") != shape:
        with transaction(store.path) as change:
            change.group(where, {})
            stage_columns(change, where, labels)
            make_room(change, store, where, rooms, sizes)
        store = Reader(store.path)
    cell = steps.index(step), conditions.index(condition), grown.index((score, judge))
    parts = [
        Part(variable, (*cell, slice(None)), np.where(np.isnan(v), np.nan, v).astype("<f8"), variable)
        for variable, v in (("value", values), ("coverage", coverage))
    ]
    put_marked(store, where, "score_crc", cell, parts)
