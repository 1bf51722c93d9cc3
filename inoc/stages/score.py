"""Stage `score`: every completion's token log-probabilities with and without every prompt, unit by unit."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from inoc._version import __version__
from inoc.backends import check_scores
from inoc.backends.protocols import Backend, Scalar, Scorer
from inoc.chat import Alignment, Chat
from inoc.errors import BackendRejected, BackendUnavailable, BadInput, InocError
from inoc.experiment import Experiment
from inoc.stages.changes import refuse_changes
from inoc.stages.plan import ScorePlan, UnitRequests, make_plan
from inoc.store.schema import TraitInfo, Unit
from inoc.store.writer import RunWriter

GIVE_UP_AFTER = 3
"""Units that may fail one after the other before the stage stops."""


@runtime_checkable
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


def open_chat(experiment: Experiment, backend: Backend, alignment: Alignment = "corrected") -> Chat:
    """How this experiment speaks to this backend's model."""
    model = experiment.model
    return Chat(
        backend.tokenizer, model.system_prompt, experiment.placement, alignment, model.template_options
    )


def store_identity(experiment: Experiment, backend: Backend, chat: Chat) -> dict[str, Scalar]:
    """The settings that change stored values, as every stage opens the store with.

    Prompt texts, completions and pools are not in it: they are compared one by one, so that a store may grow.
    """
    return {**backend.identity(), **chat.identity(), "seed": experiment.seed}


def open_writer(experiment: Experiment, backend: Backend, chat: Chat, store: Path) -> RunWriter:
    """The store of this experiment, made or gone on with.

    Raises:
        OtherSettings: the store was made with other settings.
    """
    traits = experiment.traits
    return RunWriter.open(
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
    alignment: Alignment = "corrected",
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
    chat = open_chat(experiment, backend, alignment)
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
        failed = _score_units(writer, scorer, plan, wanted, listener, error_log(store))
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


def _prepare(writer: RunWriter, experiment: Experiment, plan: ScorePlan) -> None:
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
            entry.name,
            prefix_types=entry.prefix_types,
            prompts=experiment.select("all"),
            rephrasings=True,
        )


def _score_units(
    writer: RunWriter,
    scorer: Scorer,
    plan: ScorePlan,
    units: Sequence[Unit],
    listener: Listener,
    log: Path,
) -> list[str]:
    """Score and store units; returns a sentence for every one that failed."""
    failed: list[str] = []
    in_a_row = 0
    for unit in units:
        name = f"{unit.completion_set}/{unit.prefix_type}/{unit.prompt or 'default'}"
        asked = plan.requests(unit)
        try:
            values = _score_unit(scorer, plan, unit, asked, listener)
        except (BackendUnavailable, BadInput):
            raise  # the next unit would meet the same
        except Exception as error:  # a unit that fails must not stop the others
            sentence = f"{name}: {type(error).__name__}: {error}"
            failed.append(sentence)
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"unit": unit._asdict(), "error": sentence}, ensure_ascii=False) + "\n")
            listener.unit(unit, sentence)
            in_a_row += 1
            if in_a_row == GIVE_UP_AFTER:
                failed[0] += f" (stopped after {in_a_row} failures in a row.)"
                return failed
            continue
        in_a_row = 0
        writer.put_unit(unit, values, asked.rephrasing)
        listener.unit(unit, None)
    return failed


def _score_unit(
    scorer: Scorer, plan: ScorePlan, unit: Unit, asked: UnitRequests, listener: Listener
) -> Float32[np.ndarray, " token"]:
    """The log-probabilities of a unit in the order of the set. Rounding above 0 (at most 1e-4) is stored as
    0."""
    rows: list[np.ndarray] = [np.empty(0, np.float32)] * len(asked.requests)
    for result in check_scores(asked.requests, scorer.score(asked.requests)):
        rows[int(result.id)] = result.logprobs
        listener.advance(len(result.logprobs))
    return np.minimum(np.concatenate(rows), np.float32(0))
