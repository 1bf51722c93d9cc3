"""What changed since a store was made, found before anything is written."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from inoc.errors import OtherSettings
from inoc.experiment import Prompt
from inoc.stages.plan import ScorePlan, SetPlan
from inoc.store.store import Store, open_store
from inoc.store.writer import difference


def refuse_changes(
    store: Path, identity: Mapping[str, object], plan: ScorePlan, prompts: tuple[Prompt, ...]
) -> None:
    """Compare settings, prompts, completions and pools with an existing store. New texts are welcome, changed ones
    are not.

    Raises:
        OtherSettings: one line for everything that changed.
    """
    if not (store / "zarr.json").exists():
        return
    run = open_store(store)
    lines = difference(run.identity, identity)  # where these differ the texts are tokenised otherwise too
    lines = lines or [*_prompts(run, prompts), *_completions(run, plan), *_pools(run, plan)]
    if lines:
        raise OtherSettings(
            f"{store} was made with other settings; choose another --store or restore them:\n  "
            + "\n  ".join(lines)
        )


def _prompts(store: Store, prompts: tuple[Prompt, ...]) -> Iterator[str]:
    if not store.has("prompts"):
        return
    stored = dict(
        zip(map(str, store.read("prompts/prompt")), map(str, store.read("prompts/text")), strict=True)
    )
    for prompt in prompts:
        if stored.get(prompt.key, prompt.text) != prompt.text:
            yield f"prompts.{prompt.key}: stored {stored[prompt.key]!r}, now {prompt.text!r}"


def _completions(store: Store, plan: ScorePlan) -> Iterator[str]:
    for entry in plan.sets:
        if store.has(f"completions/{entry.name}"):
            difference = _difference(store, entry)
            if difference is not None:
                yield f"completion_sets.{entry.name}: {difference}"


def _difference(store: Store, entry: SetPlan) -> str | None:
    """How a stored completion set differs: its number of examples, or the first example that is another."""
    where = f"completions/{entry.name}"
    ids = [str(name) for name in store.read(f"{where}/example_id")]
    if len(ids) != len(entry.examples):
        return f"stored {len(ids)} examples, now {len(entry.examples)}"
    ends = np.cumsum(store.read(f"{where}/row_size"))
    rows = np.split(store.read(f"{where}/token_id"), ends[:-1])
    instructions = [str(text) for text in store.read(f"{where}/instruction")]
    for name, row, said, example, tokens in zip(
        ids, rows, instructions, entry.examples, entry.token_ids, strict=True
    ):
        if name != example.id:
            return f"stored example {name!r} where now {example.id!r} is"
        if said != example.instruction:
            return f"the instruction of example {name!r} is another"
        if tuple(row.tolist()) != tokens:
            return f"the completion of example {name!r} is another (or tokenised otherwise)"
    return None


def _pools(store: Store, plan: ScorePlan) -> Iterator[str]:
    """A pool may change until a unit was scored with it."""
    stored = store.rephrasings
    used = _mixed(store)
    for key, pool in plan.pools.items():
        if key in used and stored.get(key) != pool:
            yield f"rephrasings.{key}: the pool is not the one it was scored with"


def _mixed(store: Store) -> set[str]:
    """Prompts of which a unit with rephrasings is stored."""
    keys: set[str] = set()
    for name in store.completion_sets:
        if "token" not in store.levels(name):
            continue
        arrays = store.token_logprobs(name)
        if "mix" in arrays.prefix_types:
            done = arrays.done[arrays.prefix_types.index("mix")]
            keys |= {key for key, is_done in zip(arrays.prompts, done, strict=True) if is_done}
    return keys
