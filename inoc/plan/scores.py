"""What is to be scored: completion sets tokenized once, the units, and the requests of a unit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from inoc.backends.protocols import ScoreRequest
from inoc.chat import assign_rephrasings
from inoc.errors import BadInput
from inoc.experiment import CompletionSet, Example, Prompt, read_completions, read_pools, subset
from inoc.hashing import content_hash
from inoc.names import refuse_unknown
from inoc.plan.identity import store_identity
from inoc.plan.study import Study
from inoc.store.schema import Unit
from inoc.values import TokenIds

TEMPLATE_SLACK = 16
"""Tokens by which a joined prefix and instruction may differ from the sum of both."""
POOL_SAMPLE = 32
"""Rephrasings whose mean length is taken for a whole pool's in an estimate."""


@dataclass(frozen=True)
class SetPlan:
    """One completion set.

    Attributes:
        name: Its name.
        examples: The rows that are scored.
        token_ids: The scored token ids of each row.
        prefix_types: Those of the experiment, whatever is asked for now.
        available: Rows in the file, before `limit`.
        context_tokens: Tokens of all contexts without a prefix.
    """

    name: str
    examples: tuple[Example, ...]
    token_ids: tuple[TokenIds, ...]
    prefix_types: tuple[str, ...]
    available: int
    context_tokens: int

    @property
    def tokens(self) -> int:
        """Completion tokens of one unit."""
        return sum(len(ids) for ids in self.token_ids)

    @cached_property
    def hash(self) -> str:
        """The content hash of instructions and token ids."""
        rows = zip(self.examples, self.token_ids, strict=True)
        return content_hash([[example.id, example.instruction, ids] for example, ids in rows])


class UnitRequests(NamedTuple):
    """The requests of a unit, in the order best for sharing contexts, and the rephrasing of every example."""

    requests: tuple[ScoreRequest, ...]
    rephrasing: Int64[np.ndarray, " example"] | None


@dataclass(frozen=True)
class ScorePlan:
    """Everything `inoc score` asks a backend for.

    Attributes:
        study: The study it was compiled from.
        prompts: The prompts asked for.
        prefix_types: The prefix types asked for; a set may have fewer.
        sets: The completion sets asked for.
        pools: The rephrasings of each prompt key that `mix` needs.
    """

    study: Study
    prompts: tuple[Prompt, ...]
    prefix_types: tuple[str, ...]
    sets: tuple[SetPlan, ...]
    pools: Mapping[str, tuple[str, ...]]

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """The units asked for: of every set the default first, then prompts under every prefix type."""
        units: list[Unit] = []
        for entry in self.sets:
            units.append(Unit.default(entry.name))
            for prefix_type in (kind for kind in entry.prefix_types if kind in self.prefix_types):
                units += [Unit(entry.name, prefix_type, prompt.key) for prompt in self.prompts]
        return tuple(units)

    def set(self, name: str) -> SetPlan:
        """The plan of one set."""
        return next(entry for entry in self.sets if entry.name == name)

    def hash(self, unit: Unit) -> str:
        """The content hash of everything that decides a unit's values: model, template, texts and seed."""
        prefixes = self._prefixes(unit)
        return content_hash(store_identity(self.study), self.set(unit.completion_set).hash, unit, prefixes)

    def requests(self, unit: Unit) -> UnitRequests:
        """The requests of one unit; request ids are positions in the set.

        Raises:
            BadInput: An example does not fit the model's context; it is named, never cut.
        """
        entry = self.set(unit.completion_set)
        prefixes: Sequence[str | None] = self._prefixes(unit) or (None,)
        picks: np.ndarray | None = None
        order = list(range(len(entry.examples)))
        if unit.prefix_type == "mix":
            names = [example.id for example in entry.examples]
            seed, recipe = self.study.experiment.seed, self.study.recipe
            picks = assign_rephrasings(seed, unit.prompt, names, len(prefixes), recipe)
            order.sort(key=lambda k: (int(picks[k]), k))
        requests: list[ScoreRequest] = []
        for k in order:
            example, ids = entry.examples[k], entry.token_ids[k]
            prefix = prefixes[0 if picks is None else int(picks[k])]
            context = self.study.chat.context(example.instruction, prefix)
            _fits(self.study, entry.name, example, unit.prompt, len(context), len(ids))
            requests.append(ScoreRequest(str(k), context, ids))
        return UnitRequests(tuple(requests), picks)

    def _prefixes(self, unit: Unit) -> tuple[str, ...]:
        """The texts put before the instructions of a unit: none, the prompt, or its pool."""
        if unit.prefix_type == "none":
            return ()
        if unit.prefix_type == "mix":
            return self.pools[unit.prompt]
        return (next(prompt.text for prompt in self.prompts if prompt.key == unit.prompt),)

    def tokens(self, units: Sequence[Unit]) -> int:
        """Tokens of contexts and completions of these units; a prefix counts its own length, a pool the mean of a
        few."""
        encode = self.study.chat.tokenizer.encode
        total = 0.0
        for unit in units:
            entry, texts = self.set(unit.completion_set), self._prefixes(unit)[:POOL_SAMPLE]
            widths = [len(encode(text, add_special_tokens=False)) for text in texts]
            prefix = sum(widths) / len(widths) if widths else 0.0
            total += entry.tokens + entry.context_tokens + prefix * len(entry.examples)
        return round(total)


def plan_scores(
    study: Study, *, sets: Sequence[str] = (), prefix_types: Sequence[str] = (), prompts: Sequence[str] = ()
) -> ScorePlan:
    """Read the files, tokenize the completions once each, and check that every example fits the model's context.

    Args:
        study: What to compile.
        sets: Only these completion sets; empty for all.
        prefix_types: Only these of "fixed" and "mix"; empty for both.
        prompts: Only these prompts, by key or group; empty for all.

    Returns:
        The units asked for and their texts.

    Raises:
        BadInput: An unknown name, a file that cannot be used, a pool that is missing or too small, or an example
            that is too long.
    """
    experiment = study.experiment
    known = dict(experiment.completion_sets.items())
    refuse_unknown("completion set", sets, known)
    keys = study.prompts(prompts)
    if "mix" in prefix_types and experiment.rephrasings is None:
        raise BadInput("prefix type mix needs rephrasings. Fix: add `rephrasings` to the experiment.")
    default = ("fixed", "mix") if experiment.rephrasings else ("fixed",)
    chosen = {name: entry for name, entry in known.items() if not sets or name in sets}
    kinds = {name: default if entry.prefix_types is None else entry.prefix_types for name, entry in chosen.items()}
    asked = tuple(prefix_types) or ("fixed", "mix")
    pools: dict[str, tuple[str, ...]] = {}
    if experiment.rephrasings and "mix" in asked and any("mix" in kind for kind in kinds.values()):
        folder = experiment.resolve(experiment.rephrasings.path)
        pools, wrong = read_pools(folder, keys, experiment.rephrasings.size)
        if wrong:
            listed = "\n  ".join(wrong)
            raise BadInput(f"{listed}\n  Fix: repair the pools, or score without them: --prefix-type fixed.")
    selected = tuple(experiment.prompt(key) for key in keys)
    texts = [prompt.text for prompt in selected] + [max(pool, key=len) for pool in pools.values()]
    planned = tuple(_set_plan(study, name, entry, kinds[name], selected, texts) for name, entry in chosen.items())
    return ScorePlan(study, selected, asked, planned, pools)


def _set_plan(
    study: Study,
    name: str,
    entry: CompletionSet,
    kinds: tuple[str, ...],
    prompts: Sequence[Prompt],
    texts: Sequence[str],
) -> SetPlan:
    """Every default context is measured, a prefixed one exactly where the sum of its parts comes near the limit."""
    chat, encode = study.chat, study.chat.tokenizer.encode
    path = study.experiment.completion_path(name)
    rows = read_completions(path, system_prompt=study.experiment.model.system_prompt)
    examples = subset(rows, entry.limit, entry.seed)
    token_ids = tuple(chat.completion(example.completion, example.finish) for example in examples)
    widest = max((len(encode(text, add_special_tokens=False)) for text in texts), default=0) + TEMPLATE_SLACK
    total = 0
    for example, ids in zip(examples, token_ids, strict=True):
        context = len(chat.context(example.instruction))
        total += context
        _fits(study, name, example, "", context, len(ids))
        if kinds and context + widest + len(ids) > study.backend.context_length:
            for prompt in prompts:
                length = len(chat.context(example.instruction, prompt.text))
                _fits(study, name, example, prompt.key, length, len(ids))
    return SetPlan(name, examples, token_ids, kinds, len(rows), total)


def _fits(study: Study, name: str, example: Example, prompt: str, context: int, completion: int) -> None:
    limit = study.backend.context_length
    if context + completion > limit:
        under = f" under prompt {prompt!r}" if prompt else ""
        raise BadInput(
            f"completion set {name!r}, example {example.id!r}: {context} tokens of context and {completion} of "
            f"completion{under} exceed the model's {limit}. Fix: shorten or remove the row (inoc never cuts)."
        )
