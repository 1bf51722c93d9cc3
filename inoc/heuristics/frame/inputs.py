"""What heuristics can ask for by parameter name, read from a store when first needed.

Every public attribute of `Inputs` is an input. What a store does not have raises `Absent` with the reason.
What is derived from inputs is declared with `@intermediate` in the family that makes it.
"""

from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property, partial

import numpy as np
from jaxtyping import Float64, Int64

from inoc.errors import BadInput, IncompleteStore
from inoc.heuristics.frame.probe_inputs import ProbeInputs
from inoc.heuristics.frame.prompt_inputs import choose, strings
from inoc.heuristics.frame.protocols import Absent, Array, ExampleLike, RunLike, StoreLike, TokenLike
from inoc.heuristics.tokens.engines import EngineName
from inoc.heuristics.tokens.layout import RowLayout, TokenArray, TokenRows
from inoc.heuristics.tokens.one_pass import TokenStatistics, token_statistics
from inoc.heuristics.tokens.terms import PRODUCTS, Product, Term
from inoc.names import unknown
from inoc.values import Recipe

Cube = Float64[np.ndarray, "prefix_type prompt example"]
Index = int | slice


class SelectedPrompts:
    """A stored [prefix_type, prompt, token] array with only some prompts, in another order if asked."""

    def __init__(self, array: Array, index: Int64[np.ndarray, " prompt"]) -> None:
        self._array, self._index = array, index
        self.shape: tuple[int, ...] = (array.shape[0], len(index), array.shape[2])
        self.chunks: tuple[int, ...] = getattr(array, "chunks", self.shape)

    def __getitem__(self, key: Index | tuple[Index, ...], /) -> np.ndarray:
        types, prompts, tokens = (*(key if isinstance(key, tuple) else (key,)), slice(None), slice(None))[:3]
        chosen = int(self._index[prompts]) if isinstance(prompts, int) else self._index[prompts]
        return self._array[types, chosen, tokens]


class Inputs(ProbeInputs):
    """The inputs of one store, one completion set, one recipe, one choice of prompts.

    Args:
        store: The store.
        recipe: corrected or published.
        prompts: Keys of the prompts asked for; all by default.
        completion_set: The set whose differences `w` and `statistics` are of.
        engine: Where the work per token runs.
        terms: Token terms that the pass averages.
        row_terms: Functions of whole rows that the pass evaluates.
        products: Inner products of rows that the pass sums.
        tasks: Of the pass, for dask's client; 0 makes it here.
    """

    def __init__(
        self,
        store: StoreLike,
        *,
        recipe: Recipe = "corrected",
        prompts: Sequence[str] | None = None,
        completion_set: str = "train",
        engine: EngineName = "auto",
        terms: Sequence[Term] = (),
        row_terms: Sequence[Term] = (),
        products: Sequence[Product] = PRODUCTS,
        tasks: int = 0,
    ) -> None:
        self._tasks = tasks
        self._engine: EngineName = engine
        self._terms, self._row_terms = tuple(terms), tuple(row_terms)
        self._products = tuple(products)
        self._tokens, self._examples = logprobs(store, completion_set)
        stored = self._tokens or self._examples
        order = strings(store, "prompts/prompt")
        scored = stored.prompts if stored else tuple(order)
        known = [p for p in order if p in set(scored)] + [p for p in scored if p not in set(order)]
        super().__init__(store, choose(known, prompts))
        if not self.prompts:
            raise IncompleteStore("the store has no prompts yet. Fix: run `inoc score` or `inoc import`.")
        self.recipe: Recipe = recipe
        """corrected or published."""
        self.completion_set = completion_set
        """The set whose differences are computed."""
        self.prefix_types: tuple[str, ...] = stored.prefix_types if stored else ()
        """fixed, mix, as stored."""
        self.left_out: tuple[str, ...] = ()
        """Prompts that are stored at example level only while others have tokens."""
        if self._tokens and self._examples:
            self.left_out = tuple(p for p in self._examples.prompts if p not in set(scored))

    def get(self, name: str) -> object:
        """The input of that name; `<column>_stored` is a stored column over the rephrasing pools."""
        if name.endswith("_stored"):
            return self.pool_column(name.removesuffix("_stored"))
        return getattr(self, name)

    @classmethod
    def names(cls) -> frozenset[str]:
        """Names of all inputs."""
        methods = {"get", "names", "fields", "pool_column", "prompt_column"}
        here = {name for name in dir(cls) if not name.startswith("_")} - methods
        return frozenset(here | {"recipe", "prompts", "prefix_types", "completion_set", "left_out", "traits"})

    @classmethod
    def fields(cls, name: str) -> tuple[str, ...]:
        """What can follow the name and a dot: the fields of `statistics`."""
        return tuple(field.name for field in fields(TokenStatistics)) if name == "statistics" else ()

    # differences

    @cached_property
    def w(self) -> Cube:
        """Example differences, nats per token: mean over tokens of logprob with minus without the prompt."""
        return self._w(self.completion_set, self._tokens, self._examples, self)

    def _w(self, name: str, tokens: TokenLike | None, examples: ExampleLike | None, of: "Inputs | None" = None) -> Cube:
        if tokens is not None:
            statistics = of.statistics if of else self._pass(tokens, (), (), ())
            found, prompts, prefix_types = statistics.w, statistics.prompts, statistics.prefix_types
        elif examples is not None:
            found = np.asarray(examples.prefixed, dtype=np.float64) - np.asarray(examples.default)
            prompts, prefix_types = examples.prompts, examples.prefix_types
        else:
            raise Absent(f"the store holds no logprobs of the set '{name}'; `inoc score` adds them")
        if prompts == self.prompts and prefix_types == self.prefix_types:
            return found
        out = np.full((len(self.prefix_types), len(self.prompts), found.shape[-1]), np.nan)
        for f, prefix_type in enumerate(self.prefix_types):
            for p, prompt in enumerate(self.prompts):
                if prefix_type in prefix_types and prompt in prompts:
                    out[f, p] = found[prefix_types.index(prefix_type), prompts.index(prompt)]
        return out

    @cached_property
    def other_sets(self) -> tuple[str, ...]:
        """Completion sets that are not trained on."""
        found = tuple(name for name in self._store.completion_sets if name != "train")
        if not found:
            raise Absent("only train completions are scored (no control, positive or negative set)")
        return found

    @cached_property
    def w_other_sets(self) -> Float64[np.ndarray, "completion_set prefix_type prompt example"]:
        """w of every set but train, padded with NaN to the same number of examples."""
        if not self.prefix_types:
            raise Absent("the store holds no logprobs; `inoc score` adds them")
        found = [
            self.w if name == self.completion_set else self._w(name, *logprobs(self._store, name))
            for name in self.other_sets
        ]
        width = max(w.shape[-1] for w in found)
        return np.stack([np.pad(w, ((0, 0), (0, 0), (0, width - w.shape[-1])), constant_values=np.nan) for w in found])

    # tokens

    @cached_property
    def statistics(self) -> TokenStatistics:
        """What the pass over tokens gives: counts, means, Gram matrices (fields of `TokenStatistics`)."""
        return self._pass(self._token_level(), self._terms, self._row_terms, self._products)

    def _token_level(self) -> TokenLike:
        if not self.prefix_types:
            raise Absent("the store holds no logprobs; `inoc score` adds them")
        if self._tokens is None:
            raise Absent(
                f"the set '{self.completion_set}' is stored as means over examples, without tokens; "
                "`inoc score` keeps every token"
            )
        return self._tokens

    def _chosen(self, tokens: TokenLike) -> tuple[list[str], TokenArray]:
        """Those of the prompts asked for that a set has, and its logprobs of them."""
        here = [p for p in self.prompts if p in set(tokens.prompts)]
        if here == list(tokens.prompts):  # reading a selection costs four times as much
            return here, tokens.prefixed
        return here, SelectedPrompts(tokens.prefixed, np.array([tokens.prompts.index(p) for p in here], dtype=np.int64))

    def _pass(
        self, tokens: TokenLike, terms: Sequence[Term], row_terms: Sequence[Term], products: Sequence[Product]
    ) -> TokenStatistics:
        here, prefixed = self._chosen(tokens)
        compute = partial(token_statistics, engine=self._engine)
        if self._tasks:
            from inoc.heuristics.tokens.distributed import map_reduce

            compute = partial(map_reduce, tasks=self._tasks)
        return compute(
            tokens.default,
            prefixed,
            tokens.row_size,
            prefix_types=tokens.prefix_types,
            prompts=here,
            terms=terms,
            row_terms=row_terms,
            products=products,
            recipe=self.recipe,
        )

    @property
    def token_rows(self) -> TokenRows:
        """Token differences as a stream of whole rows (`TokenRow`): prefix type, prompt, delta, layout."""
        tokens = self._token_level()
        here, prefixed = self._chosen(tokens)
        where = f"completions/{self.completion_set}/token_id"
        ids = self._store.read(where).astype(np.int64) if self._store.has(where) else None
        layout = RowLayout(np.asarray(tokens.row_size, dtype=np.int64), ids)
        return TokenRows(tokens.default, prefixed, layout, prefix_types=tokens.prefix_types, prompts=here)

    # runs

    @cached_property
    def runs(self) -> tuple[RunLike, ...]:
        """The runs of the store: name, prompt, prefix type, seed and settings of each fine-tuning."""
        if not self._store.runs:
            raise Absent("the store holds no runs; `inoc train` adds them")
        return tuple(self._store.runs.values())


def logprobs(store: StoreLike, completion_set: str) -> tuple[TokenLike | None, ExampleLike | None]:
    """Token level and example level of a set; both None in a store without any logprobs."""
    if not store.completion_sets:
        return None, None
    if completion_set not in store.completion_sets:
        raise BadInput(unknown("completion set", completion_set, store.completion_sets))
    levels = store.levels(completion_set)
    return (
        store.token_logprobs(completion_set) if "token" in levels else None,
        store.example_logprobs(completion_set) if "example" in levels else None,
    )
