"""Inputs that belong to the prompts: roles, traits, elicitation scores, self-perplexity, embeddings."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from inoc.errors import BadInput
from inoc.heuristics.frame.protocols import Absent, StoreLike, TraitLike
from inoc.names import unknown
from inoc.rates import parse_rate

Mask = Bool[np.ndarray, " prompt"]
Column = Float64[np.ndarray, " prompt"]


class PromptInputs:
    """What a store holds about the prompts that were asked for; NaN where nothing is stored."""

    def __init__(self, store: StoreLike, prompts: Sequence[str]) -> None:
        self._store = store
        self.prompts: tuple[str, ...] = tuple(prompts)
        """Keys of the prompts asked for, in the order of the experiment."""
        self.traits: tuple[TraitLike, ...] = tuple(store.traits)
        """Name, role and family of the traits."""

    @property
    def n_prompts(self) -> Int64[np.ndarray, ""]:
        """Number of prompts asked for."""
        return np.asarray(len(self.prompts), dtype=np.int64)

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """Role of each prompt: positive, negative, neutral."""
        roles = self.prompt_column("role")
        if not set(roles) & {"positive", "negative", "neutral"}:
            raise Absent("the store gives the prompts no roles (positive, negative, neutral)")
        return roles

    @cached_property
    def families(self) -> tuple[str, ...]:
        """Family of each prompt: the trait it asks for, or neutral."""
        return self.prompt_column("family")

    def prompt_column(self, name: str) -> tuple[str, ...]:
        """A stored column of the prompts: text, group, family or role."""
        keys = strings(self._store, "prompts/prompt")
        values = dict(zip(keys, strings(self._store, f"prompts/{name}") or [""] * len(keys), strict=True))
        return tuple(values.get(p, "") for p in self.prompts)

    @cached_property
    def neutral(self) -> Mask:
        """Prompts of role or family neutral."""
        pairs = zip(self.roles, self.families, strict=True)
        return np.array([role == "neutral" or family == "neutral" for role, family in pairs], dtype=bool)

    @cached_property
    def members(self) -> Bool[np.ndarray, "trait prompt"]:
        """Prompts of each trait's family."""
        if not self.traits:
            raise Absent("the store names no traits")
        return np.stack([self._of_family(trait) for trait in self.traits])

    @cached_property
    def trait_names(self) -> tuple[str, ...]:
        """Names of the traits: of the experiment, else of the elicitation scores."""
        return tuple(t.name for t in self.traits) or tuple(strings(self._store, "elicitation/trait"))

    @cached_property
    def trait_roles(self) -> tuple[str, ...]:
        """Role of each trait: positive or negative."""
        if not self.traits:
            raise Absent("the store names no traits")
        return tuple(t.role for t in self.traits)

    @cached_property
    def negative_family(self) -> Mask:
        """Prompts of the family of the negative trait."""
        return self._family_of_role("negative")

    @cached_property
    def positive_family(self) -> Mask:
        """Prompts of the family of the positive trait."""
        return self._family_of_role("positive")

    def _family_of_role(self, role: str) -> Mask:
        found = [self._of_family(t) for t in self.traits if t.role == role]
        if not found:
            raise Absent(f"the store names no {role} trait")
        return np.any(found, axis=0)

    def _of_family(self, trait: TraitLike) -> Mask:
        if trait.family:
            return np.array([family == trait.family for family in self.families], dtype=bool)
        return np.array([role == trait.role for role in self.roles], dtype=bool)

    # elicitation, self-perplexity, embeddings

    @cached_property
    def elicitation_score(self) -> Float[np.ndarray, "trait prompt instruction"]:
        """Trait scores of the base model with each prompt."""
        stored = self._stored("elicitation", "score", "`inoc elicit` or `inoc import --elicitation` adds them")
        return self._by_trait(self._aligned("elicitation", np.swapaxes(stored, 0, 1)).swapaxes(0, 1))

    @cached_property
    def elicitation_baseline(self) -> Float[np.ndarray, "trait instruction"]:
        """Trait scores of the base model without a prompt, same instructions."""
        return self._by_trait(self._stored("elicitation", "baseline", ELICITATION))

    def _by_trait(self, values: Float[np.ndarray, "stored ..."]) -> Float[np.ndarray, "trait ..."]:
        stored = dict(zip(strings(self._store, "elicitation/trait"), values, strict=True))
        if not self.traits:
            return np.stack(list(stored.values()))
        rows = [of_trait(trait, stored) for trait in self.traits]
        if all(row is None for row in rows):
            raise Absent(f"elicitation is stored for {', '.join(stored)}, not for {', '.join(self.trait_names)}")
        return np.stack([np.full(values.shape[1:], np.nan) if row is None else row for row in rows])

    @cached_property
    def self_perplexity_stored_raw(self) -> Column:
        """Stored self-perplexity of the bare prompt."""
        return self._column("self_perplexity", "raw", "`inoc describe` measures it")

    @cached_property
    def self_perplexity_stored_context(self) -> Column:
        """Stored self-perplexity of the prompt as the first words of a user turn."""
        return self._column("self_perplexity", "context", "`inoc describe` measures it")

    @cached_property
    def prompt_vectors(self) -> Float64[np.ndarray, "prompt feature"]:
        """Stored embeddings of the prompt texts."""
        return self._column("embeddings", "prompt_vector", EMBEDDINGS)

    def pool_column(self, name: str) -> Column:
        """A stored column over the rephrasing pools."""
        return self._column("embeddings", name, EMBEDDINGS)

    def _stored(self, group: str, variable: str, fix: str) -> np.ndarray:
        if not self._store.has(group):
            raise Absent(f"the store has no {group.replace('_', '-')}; {fix}")
        if not self._store.has(f"{group}/{variable}"):
            raise Absent(f"the store's {group.replace('_', '-')} have no column {variable}; {fix}")
        return np.asarray(self._store.read(f"{group}/{variable}"), dtype=np.float64)

    def _column(self, group: str, variable: str, fix: str) -> np.ndarray:
        return self._aligned(group, self._stored(group, variable, fix))

    def _aligned(self, group: str, values: np.ndarray) -> np.ndarray:
        """Rows of a stored [prompt, ...] array in the order of the prompts asked for."""
        stored = strings(self._store, f"{group}/prompt")
        out = np.full((len(self.prompts), *values.shape[1:]), np.nan)
        for p, prompt in enumerate(self.prompts):
            if prompt in stored:
                out[p] = values[stored.index(prompt)]
        return out


ELICITATION = "`inoc elicit` measures it, `inoc import --elicitation` adds it"
EMBEDDINGS = "`inoc describe` adds them"


def of_trait(trait: TraitLike, stored: Mapping[str, Float[np.ndarray, "..."]]) -> Float[np.ndarray, "..."] | None:
    """How much of a trait there is: its score or rate, or 100 minus it where a high one means little; None without."""
    values = stored.get(trait.name)
    if trait.rate and set((rate := parse_rate(trait.rate)).names) <= set(stored):
        values = rate.of(stored)
    return values if values is None or not trait.inverted else 100.0 - values


def strings(store: StoreLike, where: str) -> list[str]:
    """A stored column of labels; empty if it is not there."""
    return [str(value) for value in store.read(where)] if store.has(where) else []


def choose(known: Sequence[str], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The wanted prompts in the order of the experiment; an unknown one is a BadInput."""
    if wanted is None:
        return tuple(known)
    for name in wanted:
        if name not in known:
            raise BadInput(unknown("scored prompt", name, known))
    return tuple(name for name in known if name in set(wanted))
