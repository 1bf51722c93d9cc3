"""Units of log-probabilities: planning, writing (data, then CRC marker) and checking marked ones against their data."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Float, Int

from inoc.errors import BadInput, BrokenStore
from inoc.store.arrays import StoredArray
from inoc.store.files import Transaction, flush, open_for_writing, step, transaction
from inoc.store.schema import GROUPS, LEVEL_DIM, LEVEL_DTYPE, LOGPROB_GROUP, PENDING, Level, Unit
from inoc.store.store import Store
from inoc.store.tables import stage_parent, strings, unique

COLUMN_BYTES = 1 << 27
MIN_TOKENS, MAX_TOKENS = 1 << 15, 1 << 18


def token_chunk(n_tokens: int, n_prompts: int) -> int:
    """Tokens per chunk: at most 1 MiB, less where a column over all prompts would pass 128 MiB, not under 128 KiB.

    A prompt's row is cut into equal parts, so that the last chunk is not mostly padding.
    """
    fair = COLUMN_BYTES // 4 // max(1, n_prompts)
    n_chunks = -(-n_tokens // max(MIN_TOKENS, min(MAX_TOKENS, fair)))
    return max(1, -(-n_tokens // max(1, n_chunks)))


def group_of(completion_set: str, level: Level) -> str:
    return f"{LOGPROB_GROUP[level]}/{completion_set}"


def unplanned(
    path: Path, completion_set: str, level: Level, prefix_types: Sequence[str], prompts: Sequence[str]
) -> bool:
    """Whether a plan asks for units the store has no room for yet."""
    run, group = Store(path), group_of(completion_set, level)
    if not run.has(group):
        return True
    kinds, keys = strings(run, f"{group}/prefix_type"), strings(run, f"{group}/prompt")
    return not (set(prefix_types) <= set(kinds) and set(prompts) <= set(keys))


def plan(
    path: Path,
    completion_set: str,
    level: Level,
    prefix_types: Sequence[str],
    prompts: Sequence[str],
    rephrasings: bool,
) -> None:
    """Make room for units. See `StoreWriter.plan`."""
    run, group = Store(path), group_of(completion_set, level)
    unique(list(prompts), "prompt")
    stored = set(strings(run, "prompts/prompt")) if run.has("prompts") else set[str]()
    for key in prompts:
        if key not in stored:
            raise BadInput(f"prompt {key!r} is to be scored but not among the store's prompts.")
    with transaction(path) as change:
        if run.has(group):
            _extend(change, run, group, level, prefix_types, prompts, rephrasings)
        else:
            stage_parent(change, LOGPROB_GROUP[level], completion_set)
            _create(change, run, completion_set, level, prefix_types, prompts, rephrasings)


def _create(
    change: Transaction,
    store: Store,
    completion_set: str,
    level: Level,
    prefix_types: Sequence[str],
    prompts: Sequence[str],
    rephrasings: bool,
) -> None:
    source, group, dim = f"completions/{completion_set}", group_of(completion_set, level), LEVEL_DIM[level]
    if not store.has(source):
        raise BadInput(f"the completion set {completion_set!r} must be stored before its log-probabilities.")
    ids = store.read(f"{source}/example_id")
    size = len(ids)
    change.group(group, {})
    change.array(f"{group}/example", ids, ("example",), dtype="string")
    change.array(f"{group}/prefix_type", list(prefix_types), ("prefix_type",), dtype="string")
    change.array(f"{group}/prompt", list(prompts), ("prompt",), dtype="string")
    if level == "token":
        if not store.has(f"{source}/row_size"):
            raise BadInput(f"the completion set {completion_set!r} has no token counts (row_size).")
        rows = store.read(f"{source}/row_size")
        size = int(rows.sum())
        change.array(f"{group}/row_size", rows, ("example",), dtype="int64", attributes={"units": "token"})
    chunk = token_chunk(size, len(prompts)) if level == "token" else max(1, size)
    shape = (len(prefix_types), len(prompts))
    for name, full, dims, chunks in (
        ("default", (size,), (dim,), (chunk,)),
        ("prefixed", (*shape, size), ("prefix_type", "prompt", dim), (1, 1, chunk)),
    ):
        about = {"units": "nat", "long_name": GROUPS[LOGPROB_GROUP[level]][name].long_name}
        change.empty_array(
            f"{group}/{name}", full, dims, dtype=LEVEL_DTYPE[level], chunks=chunks, attributes=about
        )
    change.empty_array(f"{group}/default_crc", (), (), dtype="int64")
    change.empty_array(f"{group}/unit_crc", shape, ("prefix_type", "prompt"), dtype="int64", chunks=(1, 1))
    if rephrasings:
        _stage_rephrasing(change, group, len(prompts), len(ids))


def _stage_rephrasing(change: Transaction, group: str, n_prompts: int, n_examples: int) -> None:
    change.empty_array(
        f"{group}/rephrasing",
        (n_prompts, n_examples),
        ("prompt", "example"),
        dtype="int32",
        chunks=(1, max(1, n_examples)),
    )


def _extend(
    change: Transaction,
    store: Store,
    group: str,
    level: Level,
    prefix_types: Sequence[str],
    prompts: Sequence[str],
    rephrasings: bool,
) -> None:
    kinds = list(dict.fromkeys([*strings(store, f"{group}/prefix_type"), *prefix_types]))
    keys = list(dict.fromkeys([*strings(store, f"{group}/prompt"), *prompts]))
    n_examples, size = store.shape(f"{group}/example")[0], store.shape(f"{group}/prefixed")[-1]
    change.array(f"{group}/prefix_type", kinds, ("prefix_type",), dtype="string")
    change.array(f"{group}/prompt", keys, ("prompt",), dtype="string")
    change.grow(f"{group}/prefixed", (len(kinds), len(keys), size))
    change.grow(f"{group}/unit_crc", (len(kinds), len(keys)))
    if store.has(f"{group}/rephrasing"):
        change.grow(f"{group}/rephrasing", (len(keys), n_examples))
    elif rephrasings:
        _stage_rephrasing(change, group, len(keys), n_examples)


def checked(values: np.ndarray, dtype: str, where: str) -> np.ndarray:
    """Log-probabilities as stored: NaN is missing data, infinite or positive values are refused."""
    bad = np.flatnonzero(np.isinf(values) | (values > 0))
    if bad.size:
        raise BadInput(f"{where}: value {values.flat[bad[0]]} at index {bad[0]} is not a log-probability.")
    out = np.array(values, dtype=np.dtype(dtype).newbyteorder("<"))
    out[np.isnan(out)] = np.nan  # one bit pattern for missing data
    return out


def unit_crc(values: np.ndarray, rephrasing: np.ndarray | None) -> int:
    """The marker of a unit: CRC-32 over its values and, where stored, which rephrasing each example got."""
    crc = zlib.crc32(np.ascontiguousarray(values).tobytes())
    return crc if rephrasing is None else zlib.crc32(np.ascontiguousarray(rephrasing, "<i4").tobytes(), crc)


def put_unit(
    path: Path,
    unit: Unit,
    logprobs: Float[np.ndarray, " cell"],
    rephrasing: Int[np.ndarray, " example"] | None,
    level: Level,
) -> None:
    """Data, flushed, then the marker. See `StoreWriter.put_unit`."""
    run, group = Store(path), group_of(unit.completion_set, level)
    what = f"{unit.completion_set}/{unit.prefix_type}/{unit.prompt or 'default'}"
    cell = _cell(run, group, unit)
    variable, marker = ("prefixed", "unit_crc") if cell else ("default", "default_crc")
    size = run.shape(f"{group}/{variable}")[-1]
    if logprobs.shape != (size,):
        raise BadInput(f"{what}: {len(logprobs)} values, but the set has {size} {LEVEL_DIM[level]}s.")
    values = checked(logprobs, LEVEL_DTYPE[level], what)
    picks = None
    if unit.prefix_type == "mix" and run.has(f"{group}/rephrasing"):
        n = run.shape(f"{group}/rephrasing")[1]
        picks = np.full(n, -1, "<i4") if rephrasing is None else rephrasing.astype("<i4")
        if len(picks) != n:
            raise BadInput(f"{what}: {len(picks)} rephrasings for {n} examples.")
    elif rephrasing is not None:
        raise BadInput(f"{what}: rephrasings given, but the plan stores none for it.")
    crc = unit_crc(values, picks)
    marks = open_for_writing(path / group / marker)
    stored = int(cast(int, marks[cell]))
    if stored == crc and unit_problem(run, group, cell) is None:
        return
    if stored != PENDING:
        marks[cell] = PENDING
        step("unmarked")
    if picks is not None:
        open_for_writing(path / group / "rephrasing")[cell[1], slice(None)] = picks
        step("rephrasing")
    open_for_writing(path / group / variable)[(*cell, slice(None))] = values
    step("data")
    for file in sorted((path / group / variable).joinpath("c", *map(str, cell)).glob("*")):
        if file.is_file():
            flush(file)
    marks[cell] = crc
    step("marker")


def _cell(store: Store, group: str, unit: Unit) -> tuple[int, ...]:
    """Where a unit lies in `prefixed` and `unit_crc`; () is the default."""
    if not store.has(group):
        raise BadInput(f"{unit}: the set is not planned.")
    if unit.prefix_type == "none":
        return ()
    kinds, keys = strings(store, f"{group}/prefix_type"), strings(store, f"{group}/prompt")
    if unit.prefix_type not in kinds or unit.prompt not in keys:
        raise BadInput(f"{unit} is not planned.")
    return kinds.index(unit.prefix_type), keys.index(unit.prompt)


def unit_problem(store: Store, group: str, cell: tuple[int, ...]) -> str | None:
    """What is wrong with a unit that is marked done: its data against the marker and the range of log-probabilities.

    None if nothing is, or if it is pending.
    """
    variable, marker = ("prefixed", "unit_crc") if cell else ("default", "default_crc")
    try:
        stored = int(StoredArray(store.path, f"{group}/{marker}")[cell])
        if stored == PENDING:
            return None
        done = np.ones((), dtype=bool)
        values = StoredArray(store.path, f"{group}/{variable}", done)[(*cell, slice(None))]
        picks = None
        if (
            cell
            and store.has(f"{group}/rephrasing")
            and strings(store, f"{group}/prefix_type")[cell[0]] == "mix"
        ):
            picks = StoredArray(store.path, f"{group}/rephrasing", done)[cell[1]]
    except BrokenStore as error:
        return str(error)
    if unit_crc(values, picks) != stored:
        return f"/{group}/{variable}: the data of unit {list(cell)} differ from their CRC marker."
    bad = int((np.isinf(values) | (values > 0)).sum())
    return (
        f"/{group}/{variable}: unit {list(cell)} has {bad} infinite or positive log-probabilities."
        if bad
        else None
    )


def cells(store: Store, group: str) -> list[tuple[int, ...]]:
    """Every unit of a group: the default, then prefix types x prompts."""
    return [(), *(tuple(int(i) for i in index) for index in np.ndindex(*store.shape(f"{group}/unit_crc")))]


def reset_broken(path: Path) -> tuple[Unit, ...]:
    """Make marked units pending whose data are wrong. See `StoreWriter.verify`."""
    run = Store(path)
    found: list[Unit] = []
    for parent in LOGPROB_GROUP.values():
        for name in run.subgroups(parent):
            group = f"{parent}/{name}"
            kinds, keys = strings(run, f"{group}/prefix_type"), strings(run, f"{group}/prompt")
            for cell in cells(run, group):
                if unit_problem(run, group, cell) is None:
                    continue
                marker = "unit_crc" if cell else "default_crc"
                mark = (path / group / marker).joinpath("c", *map(str, cell))
                mark.unlink(missing_ok=True)  # the marker itself may be what is damaged
                open_for_writing(path / group / marker)[cell] = PENDING
                found.append(Unit(name, kinds[cell[0]], keys[cell[1]]) if cell else Unit(name, "none", ""))
    return tuple(found)
