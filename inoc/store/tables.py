"""Writing the small groups: prompts, completions, elicitation, runs, rephrasings, self-perplexity, embeddings.

Each function stages the whole group and commits it at once; called again with the same content it changes nothing.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Float, Int

from inoc.errors import BadInput, OtherSettings
from inoc.store.files import Transaction, transaction
from inoc.store.schema import GROUPS, PromptInfo
from inoc.store.store import Store

Columns = Mapping[str, np.ndarray | Sequence[str]]


def stage_parent(change: Transaction, parent: str, child: str) -> None:
    """Make `parent` list `child` last in its order."""
    run = Store(change.root)
    attributes = run.attributes(parent) if run.has(parent) else {}
    order = cast(list[str], attributes.get("order", []))
    if child not in order:
        change.group(parent, {**attributes, "order": [*order, child]})


def stage_columns(
    change: Transaction, where: str, columns: Columns, extra_dims: tuple[str, ...] = ("prompt",)
) -> None:
    """Put whole variables of a group, dims and dtypes as the schema says (others: float64 over `extra_dims`)."""
    kind = where.split("/")[0]
    for name, values in columns.items():
        spec = GROUPS[kind].get(name)
        attributes = {"units": spec.units} if spec and spec.units else {}
        dims, dtype = (spec.dims, spec.dtype) if spec else (extra_dims, "float64")
        change.array(f"{where}/{name}", values, dims, dtype=dtype, attributes=attributes)


def same(store: Store, where: str, columns: Columns) -> bool:
    """Whether the group holds exactly these values (NaN equals NaN) in these variables."""
    for name, values in columns.items():
        if not store.has(f"{where}/{name}"):
            return False
        stored, new = store.read(f"{where}/{name}"), np.asarray(values)
        if stored.shape != new.shape:
            return False
        equal = (
            np.array_equal(stored, new, equal_nan=True)
            if stored.dtype.kind == "f"
            else list(stored.flat) == list(new.flat)
        )
        if not equal:
            return False
    return True


def put_group(
    path: Path, where: str, columns: Columns, attributes: Mapping[str, object] | None = None
) -> None:
    """Make the group hold these variables; those it had beside them stay."""
    run = Store(path)
    if (
        run.has(where)
        and same(run, where, columns)
        and (attributes is None or run.attributes(where) == attributes)
    ):
        return
    with transaction(path) as change:
        if "/" in where:
            stage_parent(change, *where.split("/", 1))
        change.group(where, attributes or {})
        stage_columns(change, where, columns)


def strings(store: Store, where: str) -> list[str]:
    return [str(v) for v in store.read(where)]


def unique(keys: Sequence[str], what: str) -> None:
    """Raises BadInput naming the first key that comes twice."""
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise BadInput(f"{what} {key!r} comes twice.")
        seen.add(key)


def put_prompts(path: Path, rows: Sequence[PromptInfo]) -> None:
    unique([r.key for r in rows], "prompt")
    run = Store(path)
    if run.has("prompts"):
        stored = [
            PromptInfo(*r) for r in zip(*(strings(run, f"prompts/{c}") for c in _PROMPT_COLUMNS), strict=True)
        ]
        new = {r.key: r for r in rows}
        for old in stored:
            if old.key in new and new[old.key].text != old.text:
                raise OtherSettings(
                    f"{path}: prompt {old.key!r} is stored as {old.text!r}, now {new[old.key].text!r}; "
                    "give the new text a key of its own."
                )
        rows = [*rows, *(r for r in stored if r.key not in new)]
    columns = {c: [r[i] for r in rows] for i, c in enumerate(_PROMPT_COLUMNS)}
    put_group(path, "prompts", columns)


_PROMPT_COLUMNS = ("prompt", "text", "group", "family", "role")


def put_completions(
    path: Path,
    completion_set: str,
    example_ids: Sequence[str],
    row_size: Int[np.ndarray, " example"] | None,
    token_ids: Int[np.ndarray, " token"] | None,
    instructions: Sequence[str] | None,
    completions: Sequence[str] | None,
) -> None:
    unique(list(example_ids), f"in completion set {completion_set!r}, example id")
    columns: dict[str, np.ndarray | Sequence[str]] = {"example_id": list(example_ids)}
    for name, values in (("row_size", row_size), ("instruction", instructions), ("completion", completions)):
        if values is not None:
            if len(values) != len(example_ids):
                raise BadInput(
                    f"completion set {completion_set!r}: {len(values)} {name} for {len(example_ids)} examples."
                )
            columns[name] = values
    if token_ids is not None:
        if row_size is None or len(token_ids) != int(row_size.sum()):
            raise BadInput(
                f"completion set {completion_set!r}: the token ids do not add up to its row sizes."
            )
        columns["token_id"] = token_ids
    where = f"completions/{completion_set}"
    run = Store(path)
    if run.has(where):
        for name in columns:
            if not same(run, where, {name: columns[name]}):
                raise OtherSettings(
                    f"{path}: completion set {completion_set!r} is stored with another {name}."
                )
        return
    put_group(path, where, columns)


def merge_rows(
    store: Store, where: str, keys: Sequence[str], columns: Mapping[str, np.ndarray], axis: Mapping[str, int]
) -> tuple[list[str], dict[str, np.ndarray]]:
    """Stored rows updated by new ones: `keys` label the prompt axis (`axis` gives its position per variable)."""
    if not store.has(where):
        return list(keys), dict(columns)
    old_keys = strings(store, f"{where}/prompt")
    all_keys = list(dict.fromkeys([*old_keys, *keys]))
    merged: dict[str, np.ndarray] = {}
    for name, new in columns.items():
        at = axis.get(name, 0)
        old = store.read(f"{where}/{name}") if store.has(f"{where}/{name}") else None
        shape = [*new.shape]
        shape[at] = len(all_keys)
        if old is not None and [*old.shape[:at], *old.shape[at + 1 :]] != [
            *new.shape[:at],
            *new.shape[at + 1 :],
        ]:
            raise OtherSettings(f"/{where}/{name}: stored rows have shape {old.shape}, new ones {new.shape}.")
        out = np.full(shape, np.nan, dtype=new.dtype)
        moved = np.moveaxis(out, at, 0)
        if old is not None:
            moved[[all_keys.index(k) for k in old_keys]] = np.moveaxis(old, at, 0)
        moved[[all_keys.index(k) for k in keys]] = np.moveaxis(new, at, 0)
        merged[name] = out
    return all_keys, merged


def put_elicitation(
    path: Path,
    prompts: Sequence[str],
    traits: Sequence[str],
    instructions: Sequence[str],
    score: Float[np.ndarray, "trait prompt instruction"],
    baseline: Float[np.ndarray, "trait instruction"] | None,
    judges: Sequence[str],
    coverage: Float[np.ndarray, "trait prompt instruction"] | None,
) -> None:
    run, where = Store(path), "elicitation"
    fixed = {"trait": list(traits), "instruction": list(instructions), "judge": list(judges)}
    if run.has(where):
        for name, values in fixed.items():
            if strings(run, f"{where}/{name}") != values:
                raise OtherSettings(f"{path}: elicitation is stored with another {name}; remake the store.")
    columns = {"score": score}
    if coverage is not None:
        columns["coverage"] = coverage
    keys, merged = merge_rows(run, where, prompts, columns, {"score": 1, "coverage": 1})
    if baseline is None:
        stored = run.has(f"{where}/baseline")
        baseline = (
            run.read(f"{where}/baseline") if stored else np.full((len(traits), len(instructions)), np.nan)
        )
    put_group(path, where, {**fixed, "prompt": keys, "baseline": baseline, **merged})


def put_by_prompt(path: Path, where: str, prompts: Sequence[str], columns: Mapping[str, np.ndarray]) -> None:
    """Self-perplexity and embeddings: rows by prompt, new ones replacing stored ones of the same key."""
    keys, merged = merge_rows(Store(path), where, prompts, columns, {})
    put_group(path, where, {"prompt": keys, **merged})


def put_rephrasings(path: Path, pools: Mapping[str, Sequence[str]]) -> None:
    merged = {**Store(path).rephrasings, **pools}
    put_group(
        path,
        "rephrasings",
        {
            "prompt": [key for key, texts in merged.items() for _ in texts],
            "text": [text for texts in merged.values() for text in texts],
        },
    )
