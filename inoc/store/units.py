"""Units of log-probabilities: planning, writing, and reading those marked done with every check there is."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from inoc.errors import BadInput
from inoc.store.marks import Part, forget, put_marked, read_cells
from inoc.store.reader import Reader
from inoc.store.schema import LEVEL_DTYPE, LOGPROB_GROUP, LOWEST, Level, Unit, marked
from inoc.store.seals import Cell
from inoc.store.staging import transaction
from inoc.store.tables import make_room, stage_columns, union, unique

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
    store: Reader, completion_set: str, level: Level, prefix_types: Sequence[str], prompts: Sequence[str]
) -> bool:
    """Whether a plan asks for units the store has no room for yet."""
    group = group_of(completion_set, level)
    return not store.has(group) or not (
        {*prefix_types} <= {*store.labels(f"{group}/prefix_type")} and {*prompts} <= {*store.labels(f"{group}/prompt")}
    )


def plan(
    store: Reader,
    completion_set: str,
    level: Level,
    prefix_types: Sequence[str],
    prompts: Sequence[str],
    rephrasings: bool,
) -> None:
    """Make room for units. See `StoreWriter.plan`."""
    group = group_of(completion_set, level)
    unique(prompts, "prompt")
    stored = store.labels("prompts/prompt") if store.has("prompts") else ()
    for key in prompts:
        if key not in stored:
            raise BadInput(
                f"prompt {key!r} is to be scored but not among the prompts of {store.path}. "
                "Fix: store it with put_prompts first."
            )
    labels = {"prefix_type": list(prefix_types), "prompt": list(prompts)}
    if there := store.has(group):
        labels = {name: union(store.labels(f"{group}/{name}"), new) for name, new in labels.items()}
    examples = _examples(store, completion_set, level)
    sizes = {name: len(values) for name, values in labels.items()} | {"example": len(examples["example"])}
    sizes["token"] = int(np.sum(examples.get("row_size", 0)))
    chunk = token_chunk(sizes["token"], len(labels["prompt"])) if level == "token" else sizes["example"]
    with transaction(store.path) as change:
        if not there:
            stage_columns(change, group, examples)
        stage_columns(change, group, labels)
        rooms = {"default": 0, "prefixed": 2, "default_crc": 0, "unit_crc": 2}
        make_room(change, store, group, rooms, sizes, chunk)
        if rephrasings or store.has(f"{group}/rephrasing"):
            make_room(change, store, group, {"rephrasing": 1}, sizes, sizes["example"])


def _examples(store: Reader, completion_set: str, level: Level) -> dict[str, np.ndarray]:
    """The columns of a group of log-probabilities that come from its completion set."""
    source = f"completions/{completion_set}"
    if not store.has(source):
        raise BadInput(
            f"the completion set {completion_set!r} is not stored; its log-probabilities come after it. "
            "Fix: call put_completions first."
        )
    if level == "example":
        return {"example": store.read(f"{source}/example_id")}
    if not store.has(f"{source}/row_size"):
        raise BadInput(
            f"the completion set {completion_set!r} has no token counts. Fix: give put_completions row_size."
        )
    return {"example": store.read(f"{source}/example_id"), "row_size": store.read(f"{source}/row_size")}


def checked(values: np.ndarray, dtype: str, where: str) -> np.ndarray:
    """Log-probabilities as stored: NaN is missing data, positive values and those below `LOWEST` are refused."""
    bad = np.flatnonzero((values < LOWEST) | (values > 0))
    if bad.size:
        raise BadInput(f"{where}: value {values.flat[bad[0]]} at index {bad[0]} is not a log-probability.")
    out = np.array(values, dtype=np.dtype(dtype).newbyteorder("<"))
    out[np.isnan(out)] = np.nan  # one bit pattern for missing data
    return out


def put_unit(
    store: Reader,
    unit: Unit,
    logprobs: Float[np.ndarray, " cell"],
    rephrasing: Int[np.ndarray, " example"] | None = None,
    level: Level = "token",
) -> None:
    """Store a planned unit: data, then its marker. NaN is missing data.

    Args:
        unit: Completion set, prefix type, prompt.
        logprobs: One value per token (level "token") or per example, nats, in the order of the set.
        rephrasing: Index into the prompt's pool of the rephrasing that each example got (prefix type "mix").
        level: The level of the values.

    Raises:
        BadInput: The unit is not planned, or the values are of wrong length, infinite or positive.
    """
    group = group_of(unit.completion_set, level)
    what = f"{unit.completion_set}/{unit.prefix_type}/{unit.prompt or 'default'}"
    cell = _cell(store, group, unit)
    variable, marker = _variables(cell)
    size = store.shape(f"{group}/{variable}")[-1]
    if logprobs.shape != (size,):
        raise BadInput(f"{what}: {len(logprobs)} values, but the set has {size} {level}s.")
    values = checked(logprobs, LEVEL_DTYPE[level], what)
    parts = [Part(variable, (*cell, slice(None)), values, "data")]
    if unit.prefix_type == "mix" and store.has(f"{group}/rephrasing"):
        n = store.shape(f"{group}/rephrasing")[1]
        picks = np.full(n, -1, "<i4") if rephrasing is None else rephrasing.astype("<i4")
        if len(picks) != n:
            raise BadInput(f"{what}: {len(picks)} rephrasings for {n} examples.")
        parts.insert(0, Part("rephrasing", (cell[1], slice(None)), picks, "rephrasing"))
    elif rephrasing is not None:
        raise BadInput(f"{what}: rephrasings given, but the plan does not store them. Fix: plan(rephrasings=True).")
    put_marked(store, group, marker, cell, parts)


def _variables(cell: Cell) -> tuple[str, str]:
    """The variables that hold the data and the marker of a cell."""
    return ("prefixed", "unit_crc") if cell else ("default", "default_crc")


def _cell(store: Reader, group: str, unit: Unit) -> Cell:
    """Where a unit lies in `prefixed` and `unit_crc`; () is the default."""
    if not store.has(group):
        raise BadInput(f"{unit}: the set is not planned. Fix: call plan first.")
    if unit.prefix_type == "none":
        return ()
    kinds, keys = store.labels(f"{group}/prefix_type"), store.labels(f"{group}/prompt")
    if unit.prefix_type not in kinds or unit.prompt not in keys:
        raise BadInput(f"{unit} is not planned. Fix: call plan with its prefix type and prompt.")
    return kinds.index(unit.prefix_type), keys.index(unit.prompt)


def reset_broken(store: Reader) -> tuple[Unit, ...]:
    """Make marked units pending whose data are wrong. See `StoreWriter.verify`."""
    found: list[Unit] = []
    for parent in LOGPROB_GROUP.values():
        for name in store.subgroups(parent):
            group = f"{parent}/{name}"
            kinds, keys = store.labels(f"{group}/prefix_type"), store.labels(f"{group}/prompt")
            for marker in marked(group):
                broken = [read.cell for read in read_cells(store, group, marker) if read.wrong is not None]
                if broken:
                    forget(store, group, marker, broken)
                found += [Unit(name, kinds[cell[0]], keys[cell[1]]) if cell else Unit.default(name) for cell in broken]
    return tuple(found)
