"""What heuristics can ask for by parameter name, read from a run when first needed. Nothing else here
touches a run.

Every public attribute of `Inputs` is an input. What a run does not have raises `Absent` with the reason.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64

from inoc.errors import BadInput, IncompleteStore
from inoc.heuristics.frame.prompt_inputs import PromptInputs, choose, strings
from inoc.heuristics.frame.protocols import Array, ExampleLike, StoreLike, TokenLike
from inoc.heuristics.frame.registry import Absent
from inoc.heuristics.maths import gap, pointwise, spectra
from inoc.heuristics.maths.angles import Angles, angle, category_fit
from inoc.heuristics.maths.gram import Decomposition, decompositions, gram_matrix, standardised
from inoc.heuristics.tokens.engine import EngineName
from inoc.heuristics.tokens.one_pass import TokenStatistics, token_statistics
from inoc.values import Recipe

Cube = Float64[np.ndarray, "prefix_type prompt example"]
Matrix = Float64[np.ndarray, "prompt example"]
Grams = Float64[np.ndarray, "prefix_type prompt prompt"]
Fit = list[Decomposition]
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


class Inputs(PromptInputs):
    """The inputs of one run, one completion set, one recipe, one choice of prompts."""

    def __init__(
        self,
        store: StoreLike,
        *,
        recipe: Recipe = "corrected",
        prompts: Sequence[str] | None = None,
        completion_set: str = "train",
        engine: EngineName = "auto",
    ) -> None:
        self._set = completion_set
        self._engine: EngineName = engine
        self._tokens, self._examples = logprobs(store, completion_set)
        stored = self._tokens or self._examples
        order = strings(store, "prompts/prompt")
        scored = stored.prompts if stored else tuple(order)
        known = [p for p in order if p in set(scored)] + [p for p in scored if p not in set(order)]
        super().__init__(store, choose(known, prompts))
        if not self.prompts:
            raise IncompleteStore("the store has no prompts yet; `inoc score` or `inoc import` adds them")
        self.recipe: Recipe = recipe
        """corrected or published."""
        self.prefix_types: tuple[str, ...] = stored.prefix_types if stored else ()
        """fixed, mix, as stored."""
        self.left_out: tuple[str, ...] = ()
        if self._tokens and self._examples:
            self.left_out = tuple(p for p in self._examples.prompts if p not in set(scored))

    @cached_property
    def row_source(self) -> Int64[np.ndarray, " prefix_type"]:
        """Whose differences serve each prefix type where recipes differ: its own, or fixed (`published`)."""
        own = np.arange(len(self.prefix_types), dtype=np.int64)
        if self.recipe == "corrected":
            return own
        if "fixed" not in self.prefix_types:
            raise Absent("published computes this from fixed differences and the store has none")
        return np.full_like(own, self.prefix_types.index("fixed"))

    def get(self, name: str) -> object:
        """The input of that name; `<column>_stored` is a stored column over the rephrasing pools."""
        if name.endswith("_stored"):
            return self.pool_column(name.removesuffix("_stored"))
        return getattr(self, name)

    @classmethod
    def names(cls) -> frozenset[str]:
        """Names of all inputs."""
        methods = {"get", "names", "pool_column", "prompt_column"}
        here = {name for name in dir(cls) if not name.startswith("_")} - methods
        return frozenset(here | {"recipe", "prompts", "prefix_types", "traits"})

    # differences

    @cached_property
    def w(self) -> Cube:
        """Example differences: mean over tokens of logprob with minus without the prompt."""
        return self._w(self._set, self._tokens, self._examples, self)

    def _w(
        self, name: str, tokens: TokenLike | None, examples: ExampleLike | None, of: "Inputs | None" = None
    ) -> Cube:
        if tokens is not None:
            statistics = of.statistics if of else statistics_of(tokens, self.prompts, self._engine, False)
            found, prompts, prefix_types = statistics.w, statistics.prompts, statistics.prefix_types
        elif examples is not None:
            found = np.asarray(examples.prefixed, dtype=np.float64) - np.asarray(examples.default)
            prompts, prefix_types = examples.prompts, examples.prefix_types
        else:
            raise Absent(f"the store holds no logprobs of the set '{name}'; `inoc score` makes them")
        if prompts == self.prompts and prefix_types == self.prefix_types:
            return found
        out = np.full((len(self.prefix_types), len(self.prompts), found.shape[-1]), np.nan)
        for f, prefix_type in enumerate(self.prefix_types):
            for p, prompt in enumerate(self.prompts):
                if prefix_type in prefix_types and prompt in prompts:
                    out[f, p] = found[prefix_types.index(prefix_type), prompts.index(prompt)]
        return out

    def _of_type(self, prefix_type: str) -> Matrix:
        if prefix_type not in self.prefix_types:
            raise Absent(f"the set '{self._set}' has no logprobs of prefix type {prefix_type}")
        return self.w[self.prefix_types.index(prefix_type)]

    @cached_property
    def w_fixed(self) -> Matrix:
        """w of fixed."""
        return self._of_type("fixed")

    @cached_property
    def w_mix(self) -> Matrix:
        """w of mix."""
        return self._of_type("mix")

    @cached_property
    def _pca1(self) -> tuple[Matrix, Matrix]:
        return gap.rank_one(self.w_fixed, self.w_mix, centred=True)

    @cached_property
    def _svd1(self) -> tuple[Matrix, Matrix]:
        return gap.rank_one(self.w_fixed, self.w_mix, centred=False)

    @property
    def w_fixed_pca1(self) -> Matrix:
        """w of fixed on the first principal component of W_fixed."""
        return self._pca1[0]

    @property
    def w_mix_pca1(self) -> Matrix:
        """w of mix on the first principal component of W_fixed."""
        return self._pca1[1]

    @property
    def w_fixed_svd1(self) -> Matrix:
        """w of fixed on the first right singular vector of W_fixed."""
        return self._svd1[0]

    @property
    def w_mix_svd1(self) -> Matrix:
        """w of mix on the first right singular vector of W_fixed."""
        return self._svd1[1]

    @cached_property
    def other_sets(self) -> tuple[str, ...]:
        """Completion sets that are not trained on."""
        found = tuple(name for name in self._run.completion_sets if name != "train")
        if not found:
            raise Absent("only train completions are scored (no control, positive or negative set)")
        return found

    @cached_property
    def w_other_sets(self) -> Float64[np.ndarray, "completion_set prefix_type prompt example"]:
        """w of every set but train, padded with NaN to the same number of examples."""
        if not self.prefix_types:
            raise Absent("the store holds no logprobs; `inoc score` makes them")
        found = [
            self.w if name == self._set else self._w(name, *logprobs(self._run, name))
            for name in self.other_sets
        ]
        width = max(w.shape[-1] for w in found)
        return np.stack(
            [np.pad(w, ((0, 0), (0, 0), (0, width - w.shape[-1])), constant_values=np.nan) for w in found]
        )

    @cached_property
    def ppd_other_trait(self) -> Float64[np.ndarray, "trait prefix_type prompt"]:
        """For each trait, ppd on the completions of the other trait."""
        other = ["negative" if role == "positive" else "positive" for role in self.trait_roles]
        if not set(other) & set(self.other_sets):
            raise Absent("neither positive nor negative completions are scored")
        ppd = pointwise.ppd(self.w_other_sets)
        missing = np.full(ppd.shape[1:], np.nan)
        return np.stack([ppd[self.other_sets.index(s)] if s in self.other_sets else missing for s in other])

    # tokens

    @cached_property
    def statistics(self) -> TokenStatistics:
        """Token statistics of the one pass, without the position spectrum."""
        return self.__dict__.get("spectrum") or self._pass(False)

    @cached_property
    def spectrum(self) -> TokenStatistics:
        """Token statistics with the position spectrum of the recipe."""
        return self._pass(self.recipe)

    def _pass(self, spectrum: Literal[False] | Recipe) -> TokenStatistics:
        if self._tokens is None:
            reason = "stored as means over examples, without tokens" if self._examples else "not scored"
            raise Absent(f"the set '{self._set}' is {reason}; `inoc score` keeps every token")
        return statistics_of(self._tokens, self.prompts, self._engine, spectrum)

    # Gram matrices and decompositions

    @cached_property
    def gram(self) -> Grams:
        """Inner products of the rows of w, per prefix type."""
        return gram_matrix(self.w)

    @cached_property
    def gram_scaled(self) -> Grams:
        """Inner products of the rows of w after dividing every column by its std over prompts."""
        return gram_matrix(standardised(self.w))

    @cached_property
    def token_gram(self) -> Grams:
        """Inner products of the rows of delta, per prefix type."""
        if not self.prefix_types:
            raise Absent("the store holds no logprobs; `inoc score` makes them")
        n = len(self.prompts)
        blocks = [self.statistics.gram[i : i + n, i : i + n] for i in range(0, len(self.prefix_types) * n, n)]
        return self._without_empty(np.stack(blocks))

    @cached_property
    def token_gram_scaled(self) -> Grams:
        """Inner products of the rows of delta after dividing every column by its std over prompts."""
        return self._without_empty(self.statistics.gram_scaled)

    def _without_empty(self, gram: Grams) -> Grams:
        empty = self.statistics.count == 0
        return np.where(empty[:, :, None] | empty[:, None, :], np.nan, gram)

    @cached_property
    def pca_fit(self) -> Fit:
        """PCA of w, per prefix type."""
        return decompositions(self.gram, centred=True)

    @cached_property
    def pca_scaled_fit(self) -> Fit:
        """PCA of w with scaled columns."""
        return decompositions(self.gram_scaled, centred=True)

    @cached_property
    def svd_fit(self) -> Fit:
        """SVD of w."""
        return decompositions(self.gram, centred=False)

    @cached_property
    def token_pca_fit(self) -> Fit:
        """PCA of delta."""
        return decompositions(self.token_gram, centred=True)

    @cached_property
    def token_pca_scaled_fit(self) -> Fit:
        """PCA of delta with scaled columns."""
        return decompositions(self.token_gram_scaled, centred=True)

    @cached_property
    def token_svd_fit(self) -> Fit:
        """SVD of delta."""
        return decompositions(self.token_gram, centred=False)

    @cached_property
    def trait_svd_fit(self) -> spectra.TraitFit:
        """Trait-resolved SVD of w: coordinates and margins."""
        return self._trait_fit(self.gram)

    @cached_property
    def trait_token_svd_fit(self) -> spectra.TraitFit:
        """Trait-resolved SVD of delta: coordinates and margins."""
        return self._trait_fit(self.token_gram)

    def _trait_fit(self, gram: Grams) -> spectra.TraitFit:
        ph = pointwise.ph(self.w)
        return spectra.trait_fit(gram, ph, self.members, self.neutral, self.row_source, self.recipe)

    @cached_property
    def angle_category_fit(self) -> Float64[np.ndarray, "statistic representation prefix_type category"]:
        """Statistics of the pointwise angles by category of pairs."""
        return self._category_fit(angle(self.gram, self.svd_fit, self.pca_fit))

    @cached_property
    def token_angle_category_fit(
        self,
    ) -> Float64[np.ndarray, "statistic representation prefix_type category"]:
        """Statistics of the tokenwise angles by category of pairs."""
        return self._category_fit(angle(self.token_gram, self.token_svd_fit, self.token_pca_fit))

    def _category_fit(
        self, angles: Angles
    ) -> Float64[np.ndarray, "statistic representation prefix_type category"]:
        return category_fit(angles, self.roles, self.recipe)


def logprobs(store: StoreLike, completion_set: str) -> tuple[TokenLike | None, ExampleLike | None]:
    """Token level and example level of a set; both None in a store without any logprobs."""
    if not store.completion_sets:
        return None, None
    if completion_set not in store.completion_sets:
        raise BadInput(
            f"no completion set '{completion_set}' in this store: it has {', '.join(store.completion_sets)}."
        )
    levels = store.levels(completion_set)
    return (
        store.token_logprobs(completion_set) if "token" in levels else None,
        store.example_logprobs(completion_set) if "example" in levels else None,
    )


def statistics_of(
    tokens: TokenLike, prompts: Sequence[str], engine: EngineName, spectrum: Literal[False] | Recipe
) -> TokenStatistics:
    """One pass over the tokens of those of the prompts that this set has."""
    here = [p for p in prompts if p in set(tokens.prompts)]
    index = np.array([tokens.prompts.index(p) for p in here], dtype=np.int64)
    everything = here == list(tokens.prompts)  # reading a selection costs four times as much
    return token_statistics(
        tokens.default,
        tokens.prefixed if everything else SelectedPrompts(tokens.prefixed, index),
        tokens.row_size,
        prefix_types=tokens.prefix_types,
        prompts=here,
        engine=engine,
        spectrum=spectrum,
    )
