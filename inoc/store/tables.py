"""Writing the small groups: prompts, completions, elicitation, runs, rephrasings, self-perplexity, embeddings.

Each function stages the whole group and commits it at once; called again with the same content it changes nothing.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar, cast

import numpy as np
from jaxtyping import Float, Int

from inoc.errors import BadInput, OtherSettings
from inoc.store.files import chunk_shape
from inoc.store.fingerprint import difference, label_difference, refuse
from inoc.store.reader import Reader
from inoc.store.schema import PromptInfo, check_name, spec_of
from inoc.store.staging import Transaction, transaction

T = TypeVar("T")
Columns = Mapping[str, np.ndarray | Sequence[str]]


def stage_columns(change: Transaction, where: str, columns: Columns) -> None:
    """Put whole variables of a group as the schema defines them (others: float64 over prompt)."""
    for name, values in columns.items():
        change.array(f"{where}/{name}", values, spec_of(f"{where}/{name}"))


def make_room(
    change: Transaction,
    store: Reader,
    where: str,
    variables: Mapping[str, int],
    sizes: Mapping[str, int],
    last: int | None = None,
) -> None:
    """Give variables that are written cell by cell the size of their dims; stored ones grow.

    `variables`: name to the number of leading dims along which a chunk has one index. `last`: chunk size along the
    last dim, about 1 MiB where None.
    """
    for name, lead in variables.items():
        place = f"{where}/{name}"
        spec = spec_of(place)
        shape = tuple(sizes[dim] for dim in spec.dims)
        if not store.has(place):
            change.empty_array(place, shape, spec, chunk_shape(shape, spec.dtype, lead, last))
        elif store.shape(place) != shape:
            change.grow(place, shape)


def union(*lists: Sequence[T]) -> list[T]:
    """All items in order of appearance, each once."""
    return list(dict.fromkeys(item for items in lists for item in items))


def same(store: Reader, where: str, columns: Columns) -> bool:
    """Whether the group has exactly these values (NaN equals NaN) in these variables."""

    def equal(name: str, values: np.ndarray) -> bool:
        stored = store.read(f"{where}/{name}")
        return np.array_equal(stored, values, equal_nan=stored.dtype.kind == "f")

    return all(store.has(f"{where}/{name}") and equal(name, np.asarray(v)) for name, v in columns.items())


def put_group(store: Reader, where: str, columns: Columns, attributes: Mapping[str, object] | None = None) -> None:
    """Make the group have these variables; its other variables stay."""
    there = store.has(where) and same(store, where, columns)
    if there and attributes in (None, store.attributes(where)):
        return
    if attributes is None:
        attributes = store.attributes(where) if store.has(where) else {}
    with transaction(store.path) as change:
        change.group(where, attributes)
        stage_columns(change, where, columns)


def unique(keys: Sequence[str] | Sequence[int], what: str) -> None:
    """Raises BadInput naming the first key that comes twice."""
    seen: set[str | int] = set()
    for key in keys:
        if key in seen:
            raise BadInput(f"{what} {key!r} comes twice. Fix: make them unique.")
        seen.add(key)


_PROMPT_COLUMNS = ("prompt", "text", "group", "family", "role")


def stored_prompts(store: Reader) -> tuple[PromptInfo, ...]:
    """The prompts of a store, in their order."""
    if not store.has("prompts"):
        return ()
    return tuple(PromptInfo(*row) for row in zip(*(store.labels(f"prompts/{c}") for c in _PROMPT_COLUMNS), strict=True))


def put_prompts(store: Reader, prompts: Sequence[PromptInfo | Mapping[str, str]]) -> None:
    """Store prompts in the order given; those already stored and not named follow.

    Args:
        prompts: Key, text, group, family and role of each.

    Raises:
        OtherSettings: A prompt is stored with another text.
        BadInput: A key comes twice.
    """
    rows = [p if isinstance(p, PromptInfo) else PromptInfo(**p) for p in prompts]
    unique([r.key for r in rows], "prompt")
    if stored := stored_prompts(store):
        new = {r.key: r for r in rows}
        for old in stored:
            if old.key in new and new[old.key].text != old.text:
                raise OtherSettings(
                    f"{store.path}: prompt {old.key!r} is stored as {old.text!r}, now {new[old.key].text!r}. "
                    "Fix: give the new text a key of its own."
                )
        rows = [*rows, *(r for r in stored if r.key not in new)]
    put_group(store, "prompts", {c: [r[i] for r in rows] for i, c in enumerate(_PROMPT_COLUMNS)})


def put_completions(
    store: Reader,
    completion_set: str,
    *,
    example_ids: Sequence[str],
    row_size: Int[np.ndarray, " example"] | None = None,
    token_ids: Int[np.ndarray, " token"] | None = None,
    instructions: Sequence[str] | None = None,
    completions: Sequence[str] | None = None,
) -> None:
    """Store a completion set as contiguous ragged rows. What is unknown is left out.

    Args:
        completion_set: "train", "control", "positive", "negative" or a name of the user's.
        example_ids: Unique in the set.
        row_size: Tokens of each example.
        token_ids: Token ids of all examples, one after another.
        instructions: Texts, one per example.
        completions: Texts, one per example.

    Raises:
        OtherSettings: The set is stored with other content.
        BadInput: Lengths disagree or an example id comes twice.
    """
    where = f"completions/{check_name(completion_set, 'completion set')}"
    what = f"completion set {completion_set!r}"
    unique(example_ids, f"in {what}, example id")
    columns = {"example_id": example_ids, "row_size": row_size, "instruction": instructions, "completion": completions}
    known = {name: values for name, values in columns.items() if values is not None}
    for name, values in known.items():
        if len(values) != len(example_ids):
            raise BadInput(f"{what}: {len(values)} {name} for {len(example_ids)} examples.")
    if token_ids is not None:
        if len(token_ids) != int(np.sum(np.asarray(known.get("row_size", -1)))):
            raise BadInput(f"{what}: the token ids do not add up to its row sizes. Fix: give one id for each token.")
        known["token_id"] = token_ids
    if not store.has(where):
        put_group(store, where, known)
        return
    for name, values in known.items():
        if not same(store, where, {name: values}):
            raise OtherSettings(f"{store.path}: {what} is stored with a different {name}. Fix: choose another store.")


def merge_rows(
    store: Reader, where: str, keys: Sequence[str], columns: Mapping[str, np.ndarray], axis: Mapping[str, int]
) -> tuple[list[str], dict[str, np.ndarray]]:
    """Stored rows updated by new ones: `keys` label the prompt axis (`axis` gives its position per variable)."""
    if not store.has(where):
        return list(keys), dict(columns)
    old_keys = store.labels(f"{where}/prompt")
    all_keys = union(old_keys, keys)
    merged: dict[str, np.ndarray] = {}
    for name, new in columns.items():
        at = axis.get(name, 0)
        old = store.read(f"{where}/{name}") if store.has(f"{where}/{name}") else None
        shape = [*new.shape]
        shape[at] = len(all_keys)
        if old is not None and np.delete(old.shape, at).tolist() != np.delete(new.shape, at).tolist():
            raise OtherSettings(f"/{where}/{name}: stored rows have shape {old.shape}, new ones {new.shape}.")
        out = np.full(shape, np.nan, dtype=new.dtype)
        moved = np.moveaxis(out, at, 0)
        if old is not None:
            moved[[all_keys.index(k) for k in old_keys]] = np.moveaxis(old, at, 0)
        moved[[all_keys.index(k) for k in keys]] = np.moveaxis(new, at, 0)
        merged[name] = out
    return all_keys, merged


def put_elicitation(
    store: Reader,
    *,
    prompts: Sequence[str],
    traits: Sequence[str],
    instructions: Sequence[str],
    score: Float[np.ndarray, "trait prompt instruction"],
    judges: Sequence[str],
    baseline: Float[np.ndarray, "trait instruction"] | None = None,
    coverage: Float[np.ndarray, "trait prompt instruction"] | None = None,
    sampling: Mapping[str, object] | None = None,
    again: bool = False,
) -> None:
    """Store the base model's scores with each prompt; rows of prompts already stored are replaced.

    Args:
        prompts, traits, instructions: Labels of the scores.
        score: 0-100; NaN = not judged.
        judges: Identity of the judge by trait, in the order of `traits`.
        baseline: Scores without any prompt, 0-100.
        coverage: Probability mass of valid judge answers, 0-1.
        sampling: How the answers are sampled (temperature, ...), where known.
        again: The same answers are judged again: traits and judges replace the stored ones, so that all prompts must be
            named.

    Raises:
        OtherSettings: Traits, instructions, judges or sampling differ from those stored.
    """
    where = "elicitation"
    fixed = {"trait": tuple(traits), "instruction": tuple(instructions), "judge": tuple(judges)}
    same = {"instruction": fixed["instruction"]} if again else fixed
    refuse(store.path, elicitation_changes(store, same, sampling), "choose another store")
    columns = {"score": score}
    if coverage is not None:
        columns["coverage"] = coverage
    if again:
        if list(prompts) != list(store.labels(f"{where}/prompt")):
            raise BadInput(f"{store.path}: not all elicited prompts are judged again. Fix: name all, in their order.")
        keys, merged = list(prompts), columns
    else:
        keys, merged = merge_rows(store, where, prompts, columns, {"score": 1, "coverage": 1})
    if baseline is None:
        there, shape = store.has(f"{where}/baseline"), (len(traits), len(instructions))
        baseline = store.read(f"{where}/baseline") if there else np.full(shape, np.nan)
    stored = store.attributes(where) if store.has(where) else {"sampling": dict(sampling or {})}
    put_group(store, where, {**fixed, "prompt": keys, "baseline": baseline, **merged}, stored)


def elicitation_changes(
    store: Reader, labels: Mapping[str, Sequence[str]], sampling: Mapping[str, object] | None = None
) -> list[str]:
    """How labels (`trait`, `instruction`, `judge`) and sampling differ from those of the stored elicitation, a line for
    each field; sampling counts where it is known."""
    where, lines = "elicitation", list[str]()
    if not store.has(where):
        return lines
    for name, values in labels.items():
        lines += label_difference(f"{where}.{name}", store.labels(f"{where}/{name}"), tuple(values))
    stored = cast(Mapping[str, object], store.attributes(where).get("sampling") or {})
    return lines + (difference(stored, sampling, f"{where}.sampling.") if stored and sampling else [])


def _put_by_prompt(store: Reader, where: str, prompts: Sequence[str], columns: Mapping[str, np.ndarray]) -> None:
    """Rows by prompt, new ones replacing stored ones of the same key."""
    keys, merged = merge_rows(store, where, prompts, columns, {})
    put_group(store, where, {"prompt": keys, **merged})


def put_self_perplexity(
    store: Reader, prompts: Sequence[str], raw: Float[np.ndarray, " prompt"], context: Float[np.ndarray, " prompt"]
) -> None:
    """-logprob per token of each prompt text, alone and as the first words of a user turn (nats)."""
    _put_by_prompt(store, "self_perplexity", prompts, {"raw": raw, "context": context})


def put_embeddings(
    store: Reader,
    prompts: Sequence[str],
    vectors: Float[np.ndarray, "prompt feature"],
    columns: Mapping[str, Float[np.ndarray, " prompt"]] | None = None,
) -> None:
    """Unit vectors of the prompt texts, and columns over the rephrasing pools (`rephrase_mean`, ...)."""
    _put_by_prompt(store, "embeddings", prompts, {"prompt_vector": vectors, **(columns or {})})


def put_rephrasings(store: Reader, pools: Mapping[str, Sequence[str]]) -> None:
    """Store rephrasing pools by prompt key; a pool already stored under a key is replaced."""
    rows = [(key, text) for key, pool in {**store.rephrasings, **pools}.items() for text in pool]
    columns = {"prompt": [key for key, _ in rows], "text": [text for _, text in rows]}
    put_group(store, "rephrasings", columns)
