"""Writing /runs: one subgroup per fine-tuning, scores cell by cell (data, then CRC marker), losses all at once."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from inoc.errors import BadInput, OtherSettings
from inoc.store.fingerprint import difference, label_difference, refuse
from inoc.store.marks import Part, put_marked
from inoc.store.reader import Reader
from inoc.store.runs import RunPlan
from inoc.store.schema import PENDING, check_name
from inoc.store.scored import judgments
from inoc.store.staging import transaction
from inoc.store.tables import make_room, put_group, stage_columns, union, unique

LOSSES = ("update", "loss", "learning_rate")


def put_run(store: Reader, plan: RunPlan) -> None:
    """Make room for a run's evaluations; called again with more steps it grows.

    Args:
        plan: The run and the labels of its evaluations.

    Raises:
        OtherSettings: The run is stored with other labels, judges or settings, or its answers with other sampling.
    """
    where = f"runs/{check_name(plan.name, 'run')}"
    unique(plan.steps, f"run {plan.name}: step")
    old, stored, attributes = list[int](), None, plan.attributes
    if there := store.has(where):
        refuse(
            store.path, run_changes(store, plan), "give the changed run another name (a tag), or choose another store"
        )
        old = [int(step) for step in store.read(f"{where}/step")]
        stored = store.run(plan.name)
        if not plan.sampling or _evaluated(store, where):
            attributes["sampling"] = dict(stored.sampling)
    steps, labels = union(old, plan.steps), plan.labels
    conditions = store.labels(f"{where}/condition") if there else ()
    grown = labels["condition"] != conditions
    if steps == old and not grown and stored is not None and attributes == stored.attributes:
        return
    rooms = ["score", "coverage", "unit_crc"]
    if store.has(f"{where}/generation") if there else plan.generations:
        rooms.append("generation")
    sizes = {name: len(values) for name, values in labels.items()} | {"step": len(steps)}
    with transaction(store.path) as change:
        change.group(where, attributes)
        if not there:
            stage_columns(change, where, {**labels, **{v: np.zeros(0) for v in LOSSES}})
        stage_columns(change, where, {"step": np.asarray(steps, np.int64)})
        if grown:
            stage_columns(change, where, {"condition": labels["condition"]})
        if plan.at_last or (there and store.has(f"{where}/planned")):
            last = np.asarray(steps) == plan.nominal_step
            planned = np.array([last if c in plan.at_last else np.ones(len(steps), bool) for c in labels["condition"]])
            stage_columns(change, where, {"planned": planned.T.astype(np.int64)})
        make_room(change, store, where, dict.fromkeys(rooms, 2), sizes)


def run_changes(store: Reader, plan: RunPlan) -> list[str]:
    """How a run differs from the one stored under its name, a line for each field; none where there is none.

    The sampling of its answers counts where it is known and an evaluation is stored.
    """
    where, name = f"runs/{plan.name}", f"runs.{plan.name}."
    if not store.has(where):
        return []
    lines: list[str] = []
    for variable, values in plan.labels.items():
        known = _stored_labels(store, plan.name, variable)
        if variable in ("trait", "judge") and _judged_since(store, plan):
            continue
        if variable == "condition" and values[: len(known)] == known:
            continue
        lines += label_difference(f"{name}{variable}", known, values)
    old, new = store.run(plan.name).attributes, plan.attributes
    if not (old["sampling"] and new["sampling"] and _evaluated(store, where)):
        old, new = ({k: v for k, v in attributes.items() if k != "sampling"} for attributes in (old, new))
    return lines + difference(old, new, name)


def _stored_labels(store: Reader, name: str, variable: str) -> tuple[str, ...]:
    """A label variable of a run; stores of earlier versions lack questions and files."""
    if variable in ("question", "file"):
        return store.answered(name)[("question", "file").index(variable)]
    return store.labels(f"runs/{name}/{variable}")


def _judged_since(store: Reader, plan: RunPlan) -> bool:
    """Whether `inoc judge` has given the stored answers every score of the plan that is not stored with the run, and no
    evaluation is pending."""
    first = zip(*(store.labels(f"runs/{plan.name}/{v}") for v in ("trait", "judge")), strict=True)
    wanted = set(zip(plan.labels["trait"], plan.labels["judge"], strict=True)) - set(first)
    if not wanted or any(name == plan.name for name, _, _ in store.pending_evaluations()):
        return False
    done = store.read(f"runs/{plan.name}/unit_crc") != PENDING
    later = judgments(store, plan.name)
    return all(key in later and later[key].done.shape == done.shape and later[key].done[done].all() for key in wanted)


def _evaluated(store: Reader, where: str) -> bool:
    """Whether any evaluation of the run is stored."""
    return bool((store.read(f"{where}/unit_crc") != PENDING).any())


def _planned(store: Reader, name: str) -> str:
    where = f"runs/{name}"
    if not store.has(where):
        raise BadInput(f"run {name!r} is not planned. Fix: call put_run first.")
    return where


def put_scores(
    store: Reader,
    run: str,
    step: int,
    condition: str,
    scores: Float[np.ndarray, "trait instruction"],
    coverage: Float[np.ndarray, "trait instruction"] | None = None,
    judge: Mapping[str, str] | None = None,
    generations: Sequence[str] | None = None,
) -> None:
    """Store a planned evaluation: data, then its marker.

    Args:
        run, step, condition: Which evaluation.
        scores: 0-100; NaN = not judged.
        coverage: Probability mass of valid judge answers, 0-1.
        judge: Identity of the judge by trait, where known.
        generations: The answers, one per instruction, where the run is planned with them.

    Raises:
        OtherSettings: A judge differs from the one put_run stored.
        BadInput: The evaluation is not planned, or shapes disagree.
    """
    where = _planned(store, run)
    steps, conditions = store.read(f"{where}/step").tolist(), store.labels(f"{where}/condition")
    if step not in steps or condition not in conditions:
        raise BadInput(
            f"run {run!r} plans no evaluation at step {step}, condition {condition!r}. "
            "Fix: call put_run with them first."
        )
    cell = steps.index(step), conditions.index(condition)
    what = f"run {run}, step {step}, condition {condition}"
    shape = store.shape(f"{where}/score")[2:]
    cover = np.full(shape, np.nan) if coverage is None else coverage
    if scores.shape != shape or cover.shape != shape:
        raise BadInput(f"{what}: scores of shape {scores.shape}, the run has {shape} (trait, instruction).")
    for trait, known in zip(store.labels(f"{where}/trait"), store.labels(f"{where}/judge"), strict=True):
        if judge is not None and judge.get(trait, known) != known:
            raise OtherSettings(
                f"{what}: {trait} is judged by {known!r} in the store, now by {judge[trait]!r}. "
                "Fix: give the run another name, or choose another store."
            )
    texts = store.has(f"{where}/generation")
    if texts and (generations is None or len(generations) != shape[1]):
        raise BadInput(f"{what}: {shape[1]} generations are needed. Fix: give one for each instruction.")
    if not texts and generations is not None:
        raise BadInput(f"{what}: the run is planned without generations. Fix: leave them out.")
    parts = [
        Part(variable, (*cell, slice(None), slice(None)), np.where(np.isnan(v), np.nan, v).astype("<f8"), variable)
        for variable, v in (("score", scores), ("coverage", cover))
    ]
    if generations is not None:
        data = np.asarray(generations, dtype=object)
        parts.append(Part("generation", (*cell, slice(None)), data, "generation"))
    put_marked(store, where, "unit_crc", cell, parts)


def append_losses(
    store: Reader,
    run: str,
    updates: Int[np.ndarray, " update"],
    loss: Float[np.ndarray, " update"],
    learning_rate: Float[np.ndarray, " update"] | None = None,
) -> None:
    """Store training losses; an update already stored is replaced.

    Args:
        run: A planned run.
        updates: Numbers of the updates.
        loss: Nats per weighted token.
        learning_rate: The rate of each update, where known.
    """
    where = _planned(store, run)
    rate = np.full(len(updates), np.nan) if learning_rate is None else learning_rate
    if not len(updates) == len(loss) == len(rate):
        raise BadInput(f"run {run!r}: {len(updates)} updates, {len(loss)} losses, {len(rate)} learning rates.")
    old = [store.read(f"{where}/{v}") for v in LOSSES]
    table = {int(u): row for u, *row in (*zip(*old, strict=True), *zip(updates, loss, rate, strict=True))}
    rows = sorted(table)
    columns = [np.asarray(rows, np.int64), *np.array([table[u] for u in rows], np.float64).reshape(-1, 2).T]
    put_group(store, where, dict(zip(LOSSES, columns, strict=True)), store.attributes(where))
