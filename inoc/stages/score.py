"""Stage `score`: every completion's token log-probabilities with and without every prompt, unit by unit."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64

from inoc._version import __version__
from inoc.backends import check_scores
from inoc.backends.protocols import Backend, Scorer, ScoreRequest
from inoc.chat import Chat
from inoc.errors import BackendRejected, BackendUnavailable, BadInput, InocError
from inoc.experiment import Experiment
from inoc.stages.changes import refuse_changes
from inoc.stages.plan import ScorePlan, make_plan
from inoc.store.schema import TraitInfo, Unit
from inoc.store.writer import StoreWriter
from inoc.values import Recipe, Scalar

GIVE_UP_AFTER = 3
"""Calls of the backend that may fail one after the other before the stage stops."""
JOB_TOKENS = 5_000_000
"""Completion tokens handed over at once to a backend whose calls are jobs on another machine."""


@runtime_checkable
class Listener(Protocol):
    """Who is told how it goes: the command line, or nobody."""

    def begin(self, units: int, tokens: int) -> None:
        """So many units and completion tokens are pending."""
        ...

    def advance(self, tokens: int) -> None:
        """So many more completion tokens are scored."""
        ...

    def unit(self, unit: Unit, error: str | None) -> None:
        """A unit is stored, or failed."""
        ...

    def note(self, text: str) -> None:
        """A sentence for the user."""
        ...


class Silent:
    """A listener that does nothing."""

    def begin(self, units: int, tokens: int) -> None: ...
    def advance(self, tokens: int) -> None: ...
    def unit(self, unit: Unit, error: str | None) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass(frozen=True)
class ScoreReport:
    """What a call of `score` did. `left` counts units of the whole store that are still pending."""

    scored: int
    already: int
    left: int
    tokens: int


def open_chat(experiment: Experiment, backend: Backend, recipe: Recipe = "corrected") -> Chat:
    """How this experiment speaks to this backend's model."""
    model = experiment.model
    return Chat(backend.tokenizer, model.system_prompt, experiment.placement, recipe, model.template_options)


def store_identity(experiment: Experiment, backend: Backend, chat: Chat) -> dict[str, Scalar]:
    """The settings that change stored values, as every stage opens the store with.

    Prompt texts, completions and pools are not in it: they are compared one by one, so that a store may grow.
    """
    return {**backend.identity(), **chat.identity(), "seed": experiment.seed}


def open_writer(experiment: Experiment, backend: Backend, chat: Chat, store: Path) -> StoreWriter:
    """The store of this experiment, made or gone on with. None is made for a backend that cannot be used.

    Raises:
        OtherSettings: the store was made with other settings.
        InocError: what `backend.check` says, where the store is new.
    """
    if not (store / "zarr.json").exists():
        backend.check()
    traits = experiment.traits
    return StoreWriter.open(
        store,
        identity=store_identity(experiment, backend, chat),
        experiment=experiment.model_dump(mode="json"),
        provenance={"inoc": __version__, "backend": backend.name},
        traits=[
            TraitInfo(traits.positive.name, "positive", traits.positive.family),
            TraitInfo(traits.negative.name, "negative", traits.negative.family),
        ],
    )


def score(
    experiment: Experiment,
    backend: Backend,
    store: Path,
    *,
    sets: Sequence[str] = (),
    prefix_types: Sequence[str] = (),
    prompts: Sequence[str] = (),
    recipe: Recipe = "corrected",
    listener: Listener | None = None,
) -> ScoreReport:
    """Score what is pending and store it. Called again after any kind of end it goes on where it stopped.

    Raises:
        BadInput: something is wrong with the files, the prompts or the lengths; nothing is scored then.
        OtherSettings: the store was made with other settings or texts.
        InocError: units failed; they stay pending, their errors are in `error_log(store)`.
    """
    listener = listener or Silent()
    scorer = scorer_of(backend)
    chat = open_chat(experiment, backend, recipe)
    plan = make_plan(
        experiment, chat, backend.context_length, sets=sets, prefix_types=prefix_types, prompts=prompts
    )
    plan.check_lengths()
    refuse_changes(store, store_identity(experiment, backend, chat), plan, experiment.prompt_list())
    with open_writer(experiment, backend, chat, store) as writer:
        for note in writer.notes:
            listener.note(note)
        _prepare(writer, experiment, plan)
        pending = set(writer.pending())
        wanted = [unit for unit in plan.units() if unit in pending]
        listener.begin(len(wanted), sum(plan.set(unit.completion_set).tokens for unit in wanted))
        calls = _groups(plan, wanted) if backend.capabilities.jobs else [[unit] for unit in wanted]
        failed = _score_units(writer, scorer, plan, calls, listener, error_log(store))
        left = len(writer.pending())
    if failed:
        raise InocError(
            f"{len(failed)} of {len(wanted)} units failed and stay pending, the first: {failed[0]} All "
            f"errors are in {error_log(store)}; the same command tries them again."
        )
    done = sum(plan.set(unit.completion_set).tokens for unit in wanted)
    return ScoreReport(len(wanted), sum(1 for _ in plan.units()) - len(wanted), left, done)


def scorer_of(backend: Backend) -> Scorer:
    """The backend as a Scorer; BackendRejected where it is none."""
    if not backend.capabilities.score or not isinstance(backend, Scorer):
        raise BackendRejected(
            f"the backend {backend.name!r} cannot score given texts; `inoc backends` lists those that can."
        )
    return backend


def error_log(store: Path) -> Path:
    """Where the errors of failed units go: a JSONL file beside the store."""
    return store.with_name(store.name + ".errors.jsonl")


def _prepare(writer: StoreWriter, experiment: Experiment, plan: ScorePlan) -> None:
    """Put prompts, pools and completions into the store and make room for every unit of the experiment."""
    writer.put_prompts(
        [
            prompt.model_dump(include={"key", "text", "group", "family", "role"})
            for prompt in experiment.prompt_list()
        ]
    )
    stored = writer.run.rephrasings
    new = {key: pool for key, pool in plan.pools.items() if stored.get(key) != pool}
    if new:
        writer.put_rephrasings(new)
    for entry in plan.sets:
        writer.put_completions(
            entry.name,
            example_ids=[example.id for example in entry.examples],
            row_size=np.array([len(ids) for ids in entry.token_ids], np.int64),
            token_ids=np.concatenate([np.asarray(ids, np.int32) for ids in entry.token_ids]),
            instructions=[example.instruction for example in entry.examples],
            completions=[example.completion for example in entry.examples],
        )
        writer.plan(
            entry.name, prefix_types=entry.prefix_types, prompts=experiment.select("all"), rephrasings=True
        )


class ScoredUnit(NamedTuple):
    """A unit's log-probabilities in the order of the set, and the rephrasing of every example."""

    unit: Unit
    logprobs: Float32[np.ndarray, " token"]
    rephrasing: Int64[np.ndarray, " example"] | None


def _groups(plan: ScorePlan, units: Sequence[Unit]) -> list[list[Unit]]:
    """Units by calls of about `JOB_TOKENS`."""
    groups: list[list[Unit]] = []
    room = 0
    for unit in units:
        tokens = plan.set(unit.completion_set).tokens
        if not groups or tokens > room:
            groups.append([])
            room = JOB_TOKENS
        groups[-1].append(unit)
        room -= tokens
    return groups


def _score_units(
    writer: StoreWriter,
    scorer: Scorer,
    plan: ScorePlan,
    calls: Sequence[Sequence[Unit]],
    listener: Listener,
    log: Path,
) -> list[str]:
    """Score and store units, those of a call together; returns a sentence for every one that failed."""
    failed: list[str] = []
    in_a_row = 0
    for units in calls:
        waiting = list(units)
        results = _score_together(scorer, plan, units, listener)
        while waiting:
            try:
                scored = next(results)
            except (BackendUnavailable, BadInput):
                raise  # the next unit would meet the same
            except Exception as error:  # units that fail must not stop the others
                failed += _log_failures(waiting, error, listener, log)
                in_a_row += 1
                break
            in_a_row = 0
            writer.put_unit(*scored)
            waiting.remove(scored.unit)
            listener.unit(scored.unit, None)
        if in_a_row == GIVE_UP_AFTER:
            failed[0] += f" (stopped after {in_a_row} failures in a row.)"
            break
    return failed


def _score_together(
    scorer: Scorer, plan: ScorePlan, units: Sequence[Unit], listener: Listener
) -> Iterator[ScoredUnit]:
    """Units as they become complete, the last one when nothing more has come. Rounding above 0 (at most 1e-4) is
    stored as 0."""
    asked = [plan.requests(unit) for unit in units]
    rows = [[np.empty(0, np.float32)] * len(unit.requests) for unit in asked]
    left = [len(unit.requests) for unit in asked]
    requests: list[ScoreRequest] = [
        replace(request, id=f"{n}/{request.id}") for n, unit in enumerate(asked) for request in unit.requests
    ]
    complete: ScoredUnit | None = None
    for result in check_scores(requests, scorer.score(requests)):
        n, k = (int(part) for part in result.id.split("/"))
        rows[n][k] = result.logprobs
        left[n] -= 1
        listener.advance(len(result.logprobs))
        if not left[n]:
            if complete is not None:
                yield complete
            logprobs = np.minimum(np.concatenate(rows[n]), np.float32(0))
            rows[n] = []
            complete = ScoredUnit(units[n], logprobs, asked[n].rephrasing)
    if complete is not None:
        yield complete


def _log_failures(units: Sequence[Unit], error: Exception, listener: Listener, log: Path) -> list[str]:
    """A sentence per unit, also in the error log."""
    sentences: list[str] = []
    for unit in units:
        name = f"{unit.completion_set}/{unit.prefix_type}/{unit.prompt or 'default'}"
        sentences.append(f"{name}: {type(error).__name__}: {error}")
        with log.open("a", encoding="utf-8") as file:
            row = {"unit": unit._asdict(), "error": sentences[-1]}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        listener.unit(unit, sentences[-1])
    return sentences
