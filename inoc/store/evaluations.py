"""Writing /runs: one subgroup per fine-tuning, scores cell by cell (data, then CRC marker), losses all at once."""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Float, Int

from inoc.errors import BadInput, OtherSettings
from inoc.store.files import canonical_json, chunk_shape, open_for_writing, step, transaction
from inoc.store.runs import RunPlan
from inoc.store.schema import GROUPS, PENDING, check_name
from inoc.store.store import Store
from inoc.store.tables import put_group, stage_columns, stage_parent, strings, unique


def put_run(path: Path, plan: RunPlan) -> None:
    """See `StoreWriter.put_run`."""
    where = f"runs/{check_name(plan.name, 'run')}"
    unique([str(s) for s in plan.steps], f"run {plan.name}: step")
    store = Store(path)
    if store.has(where):
        _grow(path, store, where, plan)
        return
    labels = plan.labels
    sizes = {name: len(values) for name, values in labels.items()} | {"step": len(plan.steps)}
    unit_variables = ("score", "coverage", *(("generation",) if plan.generations else ()))
    with transaction(path) as change:
        stage_parent(change, "runs", plan.name)
        change.group(where, plan.attributes)
        stage_columns(change, where, {**labels, "step": np.asarray(plan.steps, np.int64)})
        stage_columns(change, where, {v: np.zeros(0) for v in ("update", "loss", "learning_rate")})
        for variable in unit_variables:
            spec = GROUPS["runs"][variable]
            shape = tuple(sizes[d] for d in spec.dims)
            chunks = chunk_shape(shape, spec.dtype, len(shape) - 2)
            about = {"units": spec.units} if spec.units else {}
            change.empty_array(
                f"{where}/{variable}", shape, spec.dims, dtype=spec.dtype, chunks=chunks, attributes=about
            )
        change.empty_array(
            f"{where}/unit_crc",
            (sizes["step"], sizes["condition"]),
            ("step", "condition"),
            dtype="int64",
            chunks=(1, 1),
        )


def _grow(path: Path, store: Store, where: str, plan: RunPlan) -> None:
    for variable, values in plan.labels.items():
        if strings(store, f"{where}/{variable}") != values:
            raise OtherSettings(
                f"{path}: /{where} is stored with a different {variable}. Fix: give the run another name."
            )
    stored = store.attributes(where)
    for key, value in plan.attributes.items():
        if stored.get(key) != value:
            raise OtherSettings(
                f"{path}: /{where} {key}: stored {stored.get(key)!r}, now {value!r}. "
                "Fix: give the changed run another name (a tag), or choose another store."
            )
    old = [int(s) for s in store.read(f"{where}/step")]
    new = list(dict.fromkeys([*old, *plan.steps]))
    if new == old:
        return
    with transaction(path) as change:
        stage_columns(change, where, {"step": np.asarray(new, np.int64)})
        for variable in ("score", "coverage", "generation", "unit_crc"):
            if store.has(f"{where}/{variable}"):
                shape = store.shape(f"{where}/{variable}")
                change.grow(f"{where}/{variable}", (len(new), *shape[1:]))


def cell_crc(score: np.ndarray, coverage: np.ndarray, generations: Sequence[str] | None) -> int:
    """CRC-32 over the bytes of scores and coverage and, where stored, the texts as JSON."""
    crc = zlib.crc32(
        np.ascontiguousarray(coverage, "<f8").tobytes(), zlib.crc32(score.astype("<f8").tobytes())
    )
    return crc if generations is None else zlib.crc32(canonical_json(list(generations)).encode(), crc)


def put_scores(
    path: Path,
    name: str,
    train_step: int,
    condition: str,
    scores: Float[np.ndarray, "trait instruction"],
    coverage: Float[np.ndarray, "trait instruction"] | None,
    judges: Mapping[str, str] | None,
    generations: Sequence[str] | None,
) -> None:
    """One evaluation: data, then marker. See `StoreWriter.put_scores`."""
    run, where = Store(path), f"runs/{name}"
    if not run.has(where):
        raise BadInput(f"run {name!r} is not planned; put_run comes first.")
    steps, conditions = [int(s) for s in run.read(f"{where}/step")], strings(run, f"{where}/condition")
    if train_step not in steps or condition not in conditions:
        raise BadInput(f"run {name!r} plans no evaluation at step {train_step}, condition {condition!r}.")
    cell = steps.index(train_step), conditions.index(condition)
    what = f"run {name}, step {train_step}, condition {condition}"
    shape = run.shape(f"{where}/score")[2:]
    cover = np.full(shape, np.nan) if coverage is None else coverage
    if scores.shape != shape or cover.shape != shape:
        raise BadInput(f"{what}: scores of shape {scores.shape}, the run has {shape} (trait, instruction).")
    for trait, judge in zip(strings(run, f"{where}/trait"), strings(run, f"{where}/judge"), strict=True):
        if judges is not None and judges.get(trait, judge) != judge:
            raise OtherSettings(
                f"{what}: {trait} is judged by {judge!r} in the store, now by {judges[trait]!r}."
            )
    texts = run.has(f"{where}/generation")
    if texts and (generations is None or len(generations) != shape[1]):
        raise BadInput(f"{what}: the run stores generations, {shape[1]} are needed.")
    if not texts and generations is not None:
        raise BadInput(f"{what}: the run was planned without generations.")
    values = np.where(np.isnan(scores), np.nan, scores).astype("<f8")
    cover = np.where(np.isnan(cover), np.nan, cover).astype("<f8")
    crc = cell_crc(values, cover, generations)
    marks = open_for_writing(path / where / "unit_crc")
    stored = int(cast(int, marks[cell]))
    if stored == crc:
        return
    if stored != PENDING:
        marks[cell] = PENDING
        step("unmarked")
    for variable, data in (("score", values), ("coverage", cover)):
        open_for_writing(path / where / variable)[cell] = data
        step(variable)
    if generations is not None:
        open_for_writing(path / where / "generation")[cell] = np.asarray(generations, dtype=object)
        step("generation")
    marks[cell] = crc
    step("marker")


def append_losses(
    path: Path,
    name: str,
    updates: Int[np.ndarray, " update"],
    loss: Float[np.ndarray, " update"],
    learning_rate: Float[np.ndarray, " update"] | None,
) -> None:
    """Losses by update; an update already stored is replaced. See `StoreWriter.append_losses`."""
    run, where = Store(path), f"runs/{name}"
    if not run.has(where):
        raise BadInput(f"run {name!r} is not planned; put_run comes first.")
    rate = np.full(len(updates), np.nan) if learning_rate is None else learning_rate
    if not len(updates) == len(loss) == len(rate):
        raise BadInput(
            f"run {name!r}: {len(updates)} updates, {len(loss)} losses, {len(rate)} learning rates."
        )
    old = [run.read(f"{where}/{v}") for v in ("update", "loss", "learning_rate")]
    table = {int(u): (float(a), float(b)) for u, a, b in zip(*old, strict=True)}
    table |= {int(u): (float(a), float(b)) for u, a, b in zip(updates, loss, rate, strict=True)}
    rows = sorted(table)
    put_group(
        path,
        where,
        {
            "update": np.asarray(rows, np.int64),
            "loss": np.asarray([table[u][0] for u in rows]),
            "learning_rate": np.asarray([table[u][1] for u in rows]),
        },
        run.attributes(where),
    )
