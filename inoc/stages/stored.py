"""What a store holds of a plan, and how the plan differs from it. New texts are welcome, changed ones are not."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from inoc.plan import Evaluated, ScorePlan, SetPlan, Study, TrainingPlan
from inoc.store import evaluations, tables
from inoc.store.schema import Unit
from inoc.store.store import Store


def score_changes(store: Store | None, plan: ScorePlan) -> Iterator[str]:
    """How completions and pools differ from those stored."""
    if store is None:
        return
    for entry in plan.sets:
        if store.has(f"completions/{entry.name}"):
            changed = _completion_set(store, entry)
            if changed is not None:
                yield f"completion_sets.{entry.name}: {changed}"
    yield from pool_changes(store, plan.pools)


def pool_changes(store: Store | None, pools: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """How pools differ from those stored. A pool may change until a unit was scored, or a run trained, with it."""
    if store is None:
        return
    used = {run.prompt: "trained" for run in store.runs.values() if run.prefix_type == "mix"}
    used |= {prompt: "probed" for _, kind, prompt in probes_done(store) if kind == "mix"}
    used |= {unit.prompt: "scored" for unit in units_done(store) if unit.prefix_type == "mix"}
    for key, pool in pools.items():
        if key in used and store.rephrasings.get(key, pool) != pool:
            yield f"rephrasings.{key}: the pool differs from the one it was {used[key]} with"


def pair_changes(store: Store | None, plan: TrainingPlan) -> Iterator[str]:
    """How the rephrasings a run is to be trained with differ from those its examples were scored with."""
    key = plan.run.prompt
    if store is None or not plan.of_train_set or Unit("train", "mix", key) not in units_done(store):
        return
    pool, ids = store.rephrasings[key], store.labels("completions/train/example_id")
    picks = store.read("logprobs/train/rephrasing")[store.token_logprobs("train").prompts.index(key)]
    scored = {name: pool[int(pick)] for name, pick in zip(ids, picks, strict=True) if name in plan.rephrasings}
    other = [name for name, text in scored.items() if plan.rephrasings[name] != text]
    if other:
        yield (
            f"runs.{plan.run.name}.rephrasings: {len(other)} of {len(scored)} scored examples would be trained with "
            f"another; {other[0]!r}: scored with {scored[other[0]]!r}, now {plan.rephrasings[other[0]]!r}"
        )


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


def units_done(store: Store | None) -> set[Unit]:
    """The units whose token-level values are stored."""
    done: set[Unit] = set()
    if store is None:
        return done
    for name in store.completion_sets:
        if "token" in store.levels(name):
            arrays = store.token_logprobs(name)
            done |= {Unit.default(name)} if arrays.default_done else set()
            done |= {Unit(name, arrays.prefix_types[f], arrays.prompts[p]) for f, p in np.argwhere(arrays.done)}
    return done


def probes_done(store: Store) -> set[tuple[str, str, str]]:
    """(probe, prefix type, prompt) of all that is stored inside /probes."""
    found = {
        (name, kind, prompt)
        for name in store.subgroups("probes")
        for kind in store.labels(f"probes/{name}/prefix_type")
        for prompt in store.labels(f"probes/{name}/prompt")
    }
    return found - set(store.pending_probes())


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
    planned: set[tuple[str, int, str]] = set()
    for name in store.runs:
        steps, conditions = store.read(f"runs/{name}/step"), store.labels(f"runs/{name}/condition")
        planned |= {(name, int(steps[s]), conditions[c]) for s, c in np.argwhere(store.planned(name))}
    return planned - set(store.pending_evaluations())


def elicitation_changes(store: Store | None, study: Study) -> list[str]:
    """How traits, instructions, judges and sampling differ from those of the stored elicitation."""
    if store is None:
        return []
    judges = study.judges.identities()
    labels = {"trait": study.judges.scores, "instruction": study.instruction_labels, "judge": tuple(judges.values())}
    return tables.elicitation_changes(store, labels, study.sampling_settings)


def run_changes(store: Store | None, entry: Evaluated, trainer: Mapping[str, object] | None = None) -> list[str]:
    """How a run differs from the one stored; by `trainer` too where it is to be trained, not only evaluated."""
    old = None if store is None else store.runs.get(entry.name)
    if store is None or old is None:
        return []
    return evaluations.run_changes(store, entry.trained_with(old.trained_with if trainer is None else trainer))
