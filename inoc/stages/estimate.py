"""What `inoc score --dry-run` says: units, tokens, and how long it will take here or what it costs elsewhere."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from inoc.backends import check_scores
from inoc.backends.pricing import Price, Priced
from inoc.backends.protocols import Backend, ScoreRequest
from inoc.experiment import Experiment
from inoc.stages.changes import refuse_changes
from inoc.stages.plan import ScorePlan, make_plan
from inoc.stages.score import open_chat, scorer_of, store_identity
from inoc.store.schema import Unit
from inoc.store.store import open_store
from inoc.values import Recipe

PROBE = 32
"""Requests scored to measure the rate."""
POOL_SAMPLE = 32
"""Rephrasings whose mean length stands for a pool's."""


@dataclass(frozen=True)
class SetForecast:
    """One completion set: `pending` of `units` units, `tokens` completion tokens per unit, `context` tokens
    of its default contexts."""

    name: str
    examples: int
    available: int
    units: int
    pending: int
    tokens: int
    context: int


@dataclass(frozen=True)
class Forecast:
    """Pending completion tokens of all sets, the measured rate (completion tokens per second) and seconds to
    go. Nothing is measured where a backend can say its `price` instead: then both are 0."""

    sets: tuple[SetForecast, ...]
    tokens: int
    rate: float
    seconds: float
    price: Price | None = None

    def to_json(self) -> dict[str, object]:
        """As one JSON object."""
        return asdict(self)


def estimate(
    experiment: Experiment,
    backend: Backend,
    store: Path,
    *,
    sets: Sequence[str] = (),
    prefix_types: Sequence[str] = (),
    prompts: Sequence[str] = (),
    recipe: Recipe = "corrected",
) -> Forecast:
    """Plan without writing, and time a few requests or ask the backend for its price.

    Raises:
        OtherSettings: the store exists and was made with other settings.
    """
    chat = open_chat(experiment, backend, recipe)
    plan = make_plan(
        experiment, chat, backend.context_length, sets=sets, prefix_types=prefix_types, prompts=prompts
    )
    context = plan.check_lengths()
    refuse_changes(store, store_identity(experiment, backend, chat), plan, experiment.prompt_list())
    wanted = list(plan.units())
    done = _done(store)
    pending = [unit for unit in wanted if unit not in done]
    forecasts = tuple(
        SetForecast(
            entry.name, len(entry.examples), entry.available,
            sum(unit.completion_set == entry.name for unit in wanted),
            sum(unit.completion_set == entry.name for unit in pending), entry.tokens, context[entry.name],
        )
        for entry in plan.sets
    )  # fmt: skip
    tokens = sum(plan.set(unit.completion_set).tokens for unit in pending)
    if pending and isinstance(backend, Priced):
        return Forecast(forecasts, tokens, 0.0, 0.0, backend.price(_all_tokens(plan, pending, context)))
    rate = _rate(backend, plan, pending) if pending else 0.0
    return Forecast(forecasts, tokens, rate, tokens / rate if rate else 0.0)


def _done(store: Path) -> set[Unit]:
    """Units that are stored. A store that is not there has none."""
    if not store.exists():
        return set()
    run = open_store(store)
    done: set[Unit] = set()
    for name in run.completion_sets:
        arrays = run.token_logprobs(name)
        done |= {Unit(name, "none", "")} if arrays.default_done else set()
        for f, kind in enumerate(arrays.prefix_types):
            done |= {Unit(name, kind, key) for p, key in enumerate(arrays.prompts) if arrays.done[f, p]}
    return done


def _all_tokens(plan: ScorePlan, pending: Sequence[Unit], context: Mapping[str, int]) -> int:
    """Tokens of contexts and completions of all pending units; prefixes by their own length, pools by a few."""
    encode = plan.chat.tokenizer.encode
    texts = {("none", ""): [""]}
    for prompt in plan.prompts:
        texts["fixed", prompt.key] = [prompt.text]
        texts["mix", prompt.key] = list(plan.pools.get(prompt.key, ("",))[:POOL_SAMPLE])
    widths = {
        key: sum(len(encode(text, add_special_tokens=False)) for text in some) / len(some)
        for key, some in texts.items()
    }
    total = 0.0
    for unit in pending:
        entry = plan.set(unit.completion_set)
        prefix = widths[unit.prefix_type, unit.prompt] * len(entry.examples)
        total += entry.tokens + context[entry.name] + prefix
    return round(total)


def _rate(backend: Backend, plan: ScorePlan, pending: Sequence[Unit]) -> float:
    """Completion tokens per second on some requests of the largest pending unit, once the model is loaded."""
    unit = max(reversed(pending), key=lambda unit: plan.set(unit.completion_set).tokens)
    requests = plan.requests(unit).requests[:PROBE]
    scorer = scorer_of(backend)
    first = ScoreRequest("warm-up", requests[0].context, requests[0].completion[:1])
    list(check_scores((first,), scorer.score((first,))))
    start = time.perf_counter()
    done = sum(len(result.logprobs) for result in check_scores(requests, scorer.score(requests)))
    return done / max(time.perf_counter() - start, 1e-9)
