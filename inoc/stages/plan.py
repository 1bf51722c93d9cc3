"""What is to be scored: completion sets tokenised once, the units, and the requests of a unit."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from inoc.backends.protocols import ScoreRequest
from inoc.chat import Chat, assign_rephrasings
from inoc.errors import BadInput
from inoc.experiment import Example, Experiment, Prompt, read_completions, read_pools, subset
from inoc.store.schema import Unit
from inoc.values import TokenIds

TEMPLATE_SLACK = 16
"""Tokens by which joining a prefix to an instruction may differ from the sum of both."""


@dataclass(frozen=True)
class SetPlan:
    """One completion set: its examples, the token ids that are scored, and the units it has."""

    name: str
    examples: tuple[Example, ...]
    token_ids: tuple[TokenIds, ...]
    prefix_types: tuple[str, ...]
    """Those of the experiment; room is made for all of them."""
    available: int
    """Rows in the file, before `limit`."""

    @property
    def tokens(self) -> int:
        """Completion tokens of one unit."""
        return sum(len(ids) for ids in self.token_ids)


class UnitRequests(NamedTuple):
    """The requests of a unit, in the order best for sharing contexts, and the rephrasing of every example."""

    requests: tuple[ScoreRequest, ...]
    rephrasing: Int64[np.ndarray, " example"] | None


@dataclass(frozen=True)
class ScorePlan:
    """Everything `inoc score` will ask a backend for."""

    chat: Chat
    seed: int
    prompts: tuple[Prompt, ...]
    prefix_types: tuple[str, ...]
    """Prompts and prefix types asked for; the set's own prefix types may be fewer."""
    sets: tuple[SetPlan, ...]
    pools: Mapping[str, tuple[str, ...]]
    context_length: int

    def units(self) -> Iterator[Unit]:
        """The units asked for: of every set the default first, then prompts under every prefix type."""
        for entry in self.sets:
            yield Unit(entry.name, "none", "")
            for prefix_type in (kind for kind in entry.prefix_types if kind in self.prefix_types):
                for prompt in self.prompts:
                    yield Unit(entry.name, prefix_type, prompt.key)

    def set(self, name: str) -> SetPlan:
        """The plan of one set."""
        return next(entry for entry in self.sets if entry.name == name)

    def requests(self, unit: Unit) -> UnitRequests:
        """The requests of one unit; request ids are positions in the set.

        Raises:
            BadInput: an example does not fit the model's context; it is named, never cut.
        """
        entry = self.set(unit.completion_set)
        prefixes: Sequence[str | None] = [None] * len(entry.examples)
        picks: np.ndarray | None = None
        order = list(range(len(entry.examples)))
        if unit.prefix_type != "none":
            prefixes = [self._text(unit.prompt)] * len(entry.examples)
        if unit.prefix_type == "mix":
            pool = self.pools[unit.prompt]
            names = [example.id for example in entry.examples]
            picks = assign_rephrasings(self.seed, unit.prompt, names, len(pool), self.chat.recipe)
            prefixes = [pool[int(pick)] for pick in picks]
            order.sort(key=lambda k: (int(picks[k]), k))
        requests: list[ScoreRequest] = []
        for k in order:
            example, ids = entry.examples[k], entry.token_ids[k]
            context = self.chat.context(example.instruction, prefixes[k])
            self._fits(entry.name, example, unit.prompt, len(context), len(ids))
            requests.append(ScoreRequest(str(k), context, ids))
        return UnitRequests(tuple(requests), picks)

    def _text(self, key: str) -> str:
        return next(prompt.text for prompt in self.prompts if prompt.key == key)

    def _fits(self, name: str, example: Example, prompt: str, context: int, completion: int) -> None:
        if context + completion > self.context_length:
            under = f" under prompt {prompt!r}" if prompt else ""
            raise BadInput(
                f"completion set {name!r}, example {example.id!r}: {context} tokens of context and "
                f"{completion} of completion{under} exceed the model's {self.context_length}; shorten or "
                "remove the row (inoc never cuts)."
            )

    def check_lengths(self) -> dict[str, int]:
        """Look for examples that do not fit, before anything is scored. Returns the default context tokens of
        every set.

        Every default context is measured; a prefixed one exactly where the sum of its parts comes near the
        limit.
        """
        totals: dict[str, int] = {}
        encode = self.chat.tokenizer.encode
        longest = [prompt.text for prompt in self.prompts] + [
            max(pool, key=len) for pool in self.pools.values()
        ]
        widths = {text: len(encode(text, add_special_tokens=False)) for text in longest}
        widest = max(widths.values(), default=0) + TEMPLATE_SLACK
        for entry in self.sets:
            for example, ids in zip(entry.examples, entry.token_ids, strict=True):
                context = len(self.chat.context(example.instruction))
                totals[entry.name] = totals.get(entry.name, 0) + context
                self._fits(entry.name, example, "", context, len(ids))
                if entry.prefix_types and context + widest + len(ids) > self.context_length:
                    for prompt in self.prompts:
                        length = len(self.chat.context(example.instruction, prompt.text))
                        self._fits(entry.name, example, prompt.key, length, len(ids))
        return totals


def make_plan(
    experiment: Experiment,
    chat: Chat,
    context_length: int,
    *,
    sets: Sequence[str] = (),
    prefix_types: Sequence[str] = (),
    prompts: Sequence[str] = (),
) -> ScorePlan:
    """Read the files and tokenise the completions, once each.

    Args:
        sets, prefix_types, prompts: restrict what is scored (prompts by key or group); empty: all of it.

    Raises:
        BadInput: an unknown name, a file that cannot be used, a pool that is missing or too small.
    """
    known = dict(experiment.completion_sets.items())
    for name in sets:
        if name not in known:
            raise BadInput(f"the experiment has no completion set {name!r}; it has {', '.join(known)}.")
    try:
        keys = experiment.select(tuple(prompts) or "all")
    except KeyError as error:
        raise BadInput(f"the experiment has no prompt or group {error.args[0]!r}.") from None
    chosen = [name for name in known if not sets or name in sets]
    if "mix" in prefix_types and experiment.rephrasings is None:
        raise BadInput("the experiment has no `rephrasings` section, so there is no prefix type mix.")
    kinds = {name: _kinds(experiment, name) for name in chosen}
    asked = tuple(prefix_types) or ("fixed", "mix")
    pools: dict[str, tuple[str, ...]] = {}
    if experiment.rephrasings and "mix" in asked and any("mix" in kind for kind in kinds.values()):
        folder = experiment.resolve(experiment.rephrasings.path)
        pools, wrong = read_pools(folder, keys, experiment.rephrasings.size)
        if wrong:
            more = f" ({len(wrong) - 1} more like it)" if len(wrong) > 1 else ""
            raise BadInput(f"{wrong[0]}{more} `--prefix-type fixed` scores without rephrasings.")
    planned = tuple(_set_plan(experiment, chat, name, kinds[name]) for name in chosen)
    selected = tuple(experiment.prompt(key) for key in keys)
    return ScorePlan(chat, experiment.seed, selected, asked, planned, pools, context_length)


def _kinds(experiment: Experiment, name: str) -> tuple[str, ...]:
    """Prefix types of a set: its own, or fixed and (with rephrasings) mix."""
    entry = dict(experiment.completion_sets.items())[name]
    default: tuple[str, ...] = ("fixed", "mix") if experiment.rephrasings else ("fixed",)
    return default if entry.prefix_types is None else entry.prefix_types


def _set_plan(experiment: Experiment, chat: Chat, name: str, kinds: tuple[str, ...]) -> SetPlan:
    entry = dict(experiment.completion_sets.items())[name]
    path = experiment.completion_path(name)
    rows = read_completions(path, system_prompt=experiment.model.system_prompt)
    examples = subset(rows, entry.limit, entry.seed)
    ids = tuple(chat.completion(example.completion, example.finish) for example in examples)
    return SetPlan(name, examples, ids, kinds, len(rows))
