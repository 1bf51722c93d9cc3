"""Stage `score`: every completion's token log-probabilities with and without every prompt, unit by unit."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from inoc.backends import check_scores
from inoc.backends.protocols import Parallel, Scorer, ScoreRequest
from inoc.errors import BackendUnavailable, BadInput, InocError
from inoc.plan import ScorePlan, Study, plan_scores
from inoc.plan.scores import UnitRequests
from inoc.plan.texts import sets_to_make
from inoc.stages.capable import capable
from inoc.stages.forecast import Forecast, Row, price_of
from inoc.stages.opening import existing, keep_pools, open_writer
from inoc.stages.progress import UNWATCHED, Watcher
from inoc.stages.side_by_side import side_by_side
from inoc.stages.stored import score_changes, units_done
from inoc.store.fingerprint import refuse
from inoc.store.schema import Unit
from inoc.store.writer import StoreWriter

GIVE_UP_AFTER = 3
"""Calls of the backend that may fail one after the other before the stage stops."""
JOB_TOKENS = 5_000_000
"""Completion tokens of one call of a backend whose calls are jobs on another machine."""


@dataclass(frozen=True)
class ScoreReport:
    """What a call of `score` did. `left` counts units of the whole store that are still pending."""

    scored: int
    already: int
    left: int
    tokens: int


def score(
    study: Study,
    *,
    sets: Sequence[str] = (),
    prefix_types: Sequence[str] = (),
    prompts: Sequence[str] = (),
    watcher: Watcher = UNWATCHED,
) -> ScoreReport:
    """Score what is pending and store it. The same call resumes after any kind of end. `sets`, `prefix_types` and
    `prompts` (by key or group): only these; empty for all.

    Raises:
        BadInput: Something is wrong with the files, the prompts or the lengths; nothing is scored then.
        OtherSettings: The store was made with other settings or texts.
        InocError: Units failed; they stay pending, their errors are in `error_log(study.store)`.
    """
    scorer = capable(study.backend, Scorer, "score")
    plan = plan_scores(study, sets=sets, prefix_types=prefix_types, prompts=prompts)
    store = existing(study, scores=True)
    refuse(study.store, score_changes(store, plan))
    failed: list[str] = []
    with open_writer(study, store, watcher, "score") as writer:
        _make_room(writer, plan)
        pending = set(writer.pending())
        wanted = [unit for unit in plan.units if unit in pending]
        tokens = sum(plan.set(unit.completion_set).tokens for unit in wanted)
        watcher.begin("scoring", len(wanted), tokens)
        failures = 0
        for units, results in _results(scorer, plan, wanted, watcher):
            sentences = _store_call(writer, plan, units, results, watcher)
            failed += sentences
            failures = (failures if len(sentences) == len(units) else 0) + bool(sentences)
            if failures == GIVE_UP_AFTER:
                failed[0] += f" (stopped after {failures} failures in a row.)"
                break
        left = len(writer.pending())
    if failed:
        raise InocError(
            f"{len(failed)} of {len(wanted)} units failed and stay pending, the first: {failed[0]} All errors are in "
            f"{error_log(study.store)}. Fix: run the same command again to retry them."
        )
    return ScoreReport(len(wanted), len(plan.units) - len(wanted), left, tokens)


def forecast_scores(
    study: Study, sets: Sequence[str] = (), prefix_types: Sequence[str] = (), prompts: Sequence[str] = ()
) -> Forecast:
    """What `inoc score` would do: units and completion tokens. Sets that are yet to be made are named, not counted."""
    capable(study.backend, Scorer, "score")
    missing = sets_to_make(study, sets)
    known = [name for name, _ in study.experiment.completion_sets.items() if not sets or name in sets]
    notes = tuple(f"{name} is made by `inoc generate` first and is not counted" for name in missing)
    left = [name for name in (sets or known) if name not in missing]
    if not left:
        return Forecast("score", (), None, notes)
    plan = plan_scores(study, sets=left, prefix_types=prefix_types, prompts=prompts)
    store = existing(study, scores=True)
    refuse(study.store, score_changes(store, plan))
    done = units_done(store)
    rows: list[Row] = []
    for entry in plan.sets:
        units = [unit for unit in plan.units if unit.completion_set == entry.name]
        there = sum(unit in done for unit in units)
        detail = f"{len(entry.examples)}/{entry.available} examples, {entry.context_tokens:,} context tokens"
        rows.append(Row(entry.name, "units", len(units), there, (len(units) - there) * entry.tokens, detail))
    pending = [unit for unit in plan.units if unit not in done]
    return Forecast("score", tuple(rows), price_of(study, plan.tokens(pending), "score"), notes)


def error_log(store: Path) -> Path:
    """Where the errors of failed units go: a JSONL file next to the store."""
    return store.with_name(store.name + ".errors.jsonl")


def _make_room(writer: StoreWriter, plan: ScorePlan) -> None:
    """Put pools and completions into the store and make room for every unit of the experiment."""
    keep_pools(writer, plan.pools)
    for entry in plan.sets:
        writer.put_completions(
            entry.name,
            example_ids=[example.id for example in entry.examples],
            row_size=np.array([len(ids) for ids in entry.token_ids], np.int64),
            token_ids=np.concatenate([np.asarray(ids, np.int32) for ids in entry.token_ids]),
            instructions=[example.instruction for example in entry.examples],
            completions=[example.completion for example in entry.examples],
        )
        writer.plan(entry.name, prefix_types=entry.prefix_types, prompts=plan.study.prompts(), rephrasings=True)


def _calls(plan: ScorePlan, units: Sequence[Unit]) -> list[list[Unit]]:
    """The units of each call of the backend: one, or for a backend of jobs about `JOB_TOKENS` of them."""
    if not plan.study.backend.capabilities.jobs:
        return [[unit] for unit in units]
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


def _results(
    scorer: Scorer, plan: ScorePlan, wanted: Sequence[Unit], watcher: Watcher
) -> Iterator[tuple[list[Unit], Iterator["ScoredUnit"]]]:
    """The units of each call with their scores: as they come, or of a pool when the call is done."""
    backend = plan.study.backend
    calls = ((units, [plan.requests(unit) for unit in units]) for units in _calls(plan, wanted))
    if not isinstance(backend, Parallel):
        yield from ((units, _score_together(scorer, units, asked, watcher)) for units, asked in calls)
        return

    def call(given: tuple[list[Unit], list[UnitRequests]]) -> list[ScoredUnit]:
        return list(_score_together(scorer, *given, watcher))

    for (units, _), scored in side_by_side(backend, call, calls):
        yield units, _scores_of(scored)


def _scores_of(call: Future[list["ScoredUnit"]]) -> Iterator["ScoredUnit"]:
    """The scores of a call that has ended, or its error, when they are asked for."""
    yield from call.result()


def _store_call(
    writer: StoreWriter, plan: ScorePlan, units: Sequence[Unit], results: Iterator["ScoredUnit"], watcher: Watcher
) -> list[str]:
    """Store the units of a call, each once it is complete; returns a sentence for every one that failed."""
    waiting = list(units)
    while waiting:
        try:
            scored = next(results)
        except (BackendUnavailable, BadInput):
            raise  # the next unit would meet the same
        except Exception as error:  # units that fail must not stop the others
            return [_log_failure(plan.study, unit, error, watcher) for unit in waiting]
        writer.put_unit(*scored)
        waiting.remove(scored.unit)
        watcher.step(_name(scored.unit))
    return []


class ScoredUnit(NamedTuple):
    """A unit's log-probabilities in the order of the set, and the rephrasing of every example."""

    unit: Unit
    logprobs: Float32[np.ndarray, " token"]
    rephrasing: Int64[np.ndarray, " example"] | None


def _score_together(
    scorer: Scorer, units: Sequence[Unit], asked: Sequence[UnitRequests], watcher: Watcher
) -> Iterator[ScoredUnit]:
    """Units as they become complete, the last one when nothing more has come. Rounding above 0 (at most 1e-4) is
    stored as 0."""
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
        watcher.advance(len(result.logprobs))
        if not left[n]:
            if complete is not None:
                yield complete
            logprobs = np.minimum(np.concatenate(rows[n]), np.float32(0))
            rows[n] = []
            complete = ScoredUnit(units[n], logprobs, asked[n].rephrasing)
    if complete is not None:
        yield complete


def _log_failure(study: Study, unit: Unit, error: Exception, watcher: Watcher) -> str:
    """A sentence, also in the error log."""
    name = f"{unit.completion_set}/{unit.prefix_type}/{unit.prompt or 'default'}"
    sentence = f"{name}: {type(error).__name__}: {error}"
    with error_log(study.store).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"unit": unit._asdict(), "error": sentence}, ensure_ascii=False) + "\n")
    watcher.step(_name(unit), "failed")
    watcher.note(f"failed: {sentence}")
    return sentence


def _name(unit: Unit) -> str:
    return f"{unit.completion_set} {unit.prefix_type} {unit.prompt}".rstrip()
