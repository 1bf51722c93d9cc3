"""Opening a study's store for writing, and refusing changed settings before any work."""

from collections.abc import Iterator, Sequence

import numpy as np

from inoc._version import __version__
from inoc.plan import Evaluated, ScorePlan, SetPlan, Study
from inoc.plan.identity import refuse, shared_difference, store_identity, trainer_identity
from inoc.stages.progress import Watcher
from inoc.store.fingerprint import difference
from inoc.store.schema import TraitInfo, Unit
from inoc.store.store import Store, open_store
from inoc.store.writer import StoreWriter


def stored(study: Study) -> Store | None:
    """The study's store for reading; None where none is made yet."""
    return open_store(study.store) if (study.store / "zarr.json").exists() else None


def open_writer(study: Study, watcher: Watcher) -> StoreWriter:
    """The study's store for writing, with its prompts. `refuse_changes` has compared the settings.

    Raises:
        InocError: What `backend.check` says, where the store is new.
    """
    old = stored(study)
    if old is None:
        study.backend.check()
    traits = study.experiment.traits
    writer = StoreWriter.open(
        study.store,
        identity=store_identity(study) if old is None else old.identity,
        experiment=study.experiment.model_dump(mode="json"),
        provenance={"inoc": __version__, "backend": study.backend.name},
        traits=[
            TraitInfo(traits.positive.name, "positive", traits.positive.family),
            TraitInfo(traits.negative.name, "negative", traits.negative.family),
        ],
    )
    try:
        for note in writer.notes:
            watcher.note(note)
        fields = {"key", "text", "group", "family", "role"}
        writer.put_prompts([prompt.model_dump(include=fields) for prompt in study.experiment.prompt_list()])
    except BaseException as error:
        writer.__exit__(type(error), error, None)
        raise
    return writer


def refuse_changes(
    study: Study,
    *,
    scores: ScorePlan | None = None,
    elicitation: bool = False,
    runs: Sequence[tuple[Evaluated, bool]] = (),
) -> None:
    """Compare what a stage is about to do with the store. New texts are welcome, changed ones are refused.

    Args:
        study: The study.
        scores: What is to be scored: then the whole identity must be equal, else the fields that all stages share.
        elicitation: Whether instructions, traits and judges of the elicitation are compared.
        runs: The runs to train (True) or to evaluate (False): a run may be evaluated by a backend that did not
            train it.

    Raises:
        OtherSettings: With one line for every field that changed.
    """
    store = stored(study)
    if store is None:
        return
    if scores is None:
        lines = shared_difference(store.identity, study)
    else:
        lines = difference(store.identity, store_identity(study))
    # where these differ, the texts are tokenized differently too
    refuse(study.store, lines)
    found = list(_prompts(store, study))
    if scores is not None:
        found += [*_completions(store, scores), *_pools(store, scores)]
    if elicitation:
        found += _elicitation(store, study)
    for entry, trains in runs:
        found += _run(store, study, entry, trains)
    refuse(study.store, found)


def _prompts(store: Store, study: Study) -> Iterator[str]:
    if not store.has("prompts"):
        return
    columns = (map(str, store.read(f"prompts/{name}")) for name in ("prompt", "text"))
    old = dict(zip(*columns, strict=True))
    for prompt in study.experiment.prompt_list():
        if old.get(prompt.key, prompt.text) != prompt.text:
            yield f"prompts.{prompt.key}: stored {old[prompt.key]!r}, now {prompt.text!r}"


def _completions(store: Store, plan: ScorePlan) -> Iterator[str]:
    for entry in plan.sets:
        if store.has(f"completions/{entry.name}"):
            changed = _completion_set(store, entry)
            if changed is not None:
                yield f"completion_sets.{entry.name}: {changed}"


def _completion_set(store: Store, entry: SetPlan) -> str | None:
    """How a stored completion set differs: its number of examples, or the first example that differs."""
    where = f"completions/{entry.name}"
    ids = [str(name) for name in store.read(f"{where}/example_id")]
    if len(ids) != len(entry.examples):
        return f"stored {len(ids)} examples, now {len(entry.examples)}"
    ends = np.cumsum(store.read(f"{where}/row_size"))
    rows = np.split(store.read(f"{where}/token_id"), ends[:-1])
    instructions = [str(text) for text in store.read(f"{where}/instruction")]
    for name, row, instruction, example, tokens in zip(
        ids, rows, instructions, entry.examples, entry.token_ids, strict=True
    ):
        if name != example.id:
            return f"stored example {name!r}, now {example.id!r} in its place"
        if instruction != example.instruction:
            return f"example {name!r}: stored instruction {instruction!r}, now {example.instruction!r}"
        if tuple(row.tolist()) != tokens:
            return f"example {name!r}: the completion differs, or is tokenized differently"
    return None


def _pools(store: Store, plan: ScorePlan) -> Iterator[str]:
    """A pool may change until a unit was scored with it."""
    old, used = store.rephrasings, {unit.prompt for unit in units_done(store) if unit.prefix_type == "mix"}
    for key, pool in plan.pools.items():
        if key in used and old.get(key) != pool:
            yield f"rephrasings.{key}: the pool differs from the one it was scored with"


def units_done(store: Store | None) -> set[Unit]:
    """The units whose token-level values are stored."""
    done: set[Unit] = set()
    if store is None:
        return done
    for name in store.completion_sets:
        if "token" in store.levels(name):
            arrays = store.token_logprobs(name)
            done |= {Unit.default(name)} if arrays.default_done else set()
            done |= {
                Unit(name, arrays.prefix_types[f], arrays.prompts[p]) for f, p in np.argwhere(arrays.done)
            }
    return done


def prompts_elicited(store: Store | None) -> set[str]:
    """The prompts whose elicitation is stored; "" is the baseline without a prompt."""
    table = None if store is None else store.elicitation
    if table is None:
        return set()
    done = {str(key) for key in table["prompt"].values}
    return done | ({""} if np.isfinite(table["baseline"].values).any() else set())


def evaluations_done(store: Store | None) -> set[tuple[str, int, str]]:
    """The (run, step, condition) of every evaluation that is stored."""
    if store is None:
        return set()
    planned = {
        (name, int(step), str(condition))
        for name in store.runs
        for step in store.read(f"runs/{name}/step")
        for condition in store.read(f"runs/{name}/condition")
    }
    return planned - set(store.pending_evaluations())


def _elicitation(store: Store, study: Study) -> Iterator[str]:
    table = store.elicitation
    if table is None:
        return
    judges = study.judges.identities()
    new = {
        "trait": study.judges.traits,
        "instruction": study.instruction_labels,
        "judge": tuple(judges.values()),
    }
    for name, labels in new.items():
        yield from _labels(f"elicitation.{name}", [str(value) for value in table[name].values], labels)


def _run(store: Store, study: Study, entry: Evaluated, trains: bool) -> Iterator[str]:
    old = store.runs.get(entry.name)
    if old is None:
        return
    trainer = trainer_identity(study) if trains else old.trained_with
    new = entry.trained_with(trainer)
    for name, labels in new.labels.items():
        values = [str(value) for value in store.read(f"runs/{entry.name}/{name}")]
        yield from _labels(f"runs.{entry.name}.{name}", values, labels)
    yield from difference(old.attributes, new.attributes, f"runs.{entry.name}.")


def _labels(where: str, old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    """The first label that differs, or how many there are."""
    if len(old) != len(new):
        yield f"{where}: stored {len(old)}, now {len(new)}"
        return
    for i, (before, now) in enumerate(zip(old, new, strict=True)):
        if before != now:
            yield f"{where}[{i}]: stored {before!r}, now {now!r}"
            return
