"""Experimental: what the inside of the base model says about a prompt (`inoc probe`), and what that must beat.

`benchmarks/prediction.py` measures how well each predicts; none is a default.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64, Int

from inoc.heuristics.frame.declarations import RestsOn
from inoc.heuristics.frame.decorators import heuristic
from inoc.heuristics.maths.pointwise import ph

FAMILY = "experimental"
Cells = Float[np.ndarray, "*cells"]
GRADIENTS = RestsOn("examples", "n_gradient_examples")
SHIFTS = RestsOn("examples", "n_shift_examples")
FIRST_TOKENS = RestsOn("examples", "n_first_tokens")
BY_TRAIT = ("trait", "prefix_type", "prompt")
STEM = 5
"""Letters of a word that count: its stem, roughly."""
STOP = frozenset(
    re.findall(
        r"\w+",
        """a an the and or but if of to in on at for with is are am was were be been being it its this that these those
        i me my we our you your he she they them their as by from so do does did not no nor have has had will would can
        could should may might must just very really quite all any some what which who whom how when where why than then
        there here about into over under again more most such only own same too s t don now""",
    )
)
"""Words that say nothing of what a prompt is about."""


def _quotient(above: Float[np.ndarray, "..."], below: Float[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
    """above / below; NaN where below is 0."""
    below = np.asarray(below, np.float64)
    return np.asarray(above, np.float64) / np.where(below == 0, np.nan, below)


@heuristic(
    family=FAMILY, level="probe", long_name="gradient cosine", units="1", rests_on=GRADIENTS,
    formula="<g_p, g_0> / (|g_p| |g_0|), gradients of the training loss with and without the prompt",
    sign="1: the prompt changes nothing of the first update",
)  # fmt: skip
def gradient_cosine(
    gradient_product: Cells, gradient_norm: Cells, default_gradient_norm: Float[np.ndarray, ""]
) -> Float64[np.ndarray, "*cells"]:
    """Cosine of the gradients of the mean training loss with and without the prompt.

    Args:
        gradient_product: Their inner product, nats squared.
        gradient_norm: Norm of the gradient with the prompt, nats.
        default_gradient_norm: Norm of the gradient without a prompt, nats.

    Returns:
        In [-1, 1]; NaN where a gradient is 0.
    """
    return _quotient(gradient_product, np.asarray(gradient_norm, np.float64) * default_gradient_norm)


@heuristic(
    family=FAMILY, level="probe", long_name="gradient influence", units="1", dims=BY_TRAIT, rests_on=GRADIENTS,
    formula="1 - <sign g_p, d> / <sign g_0, d>, d: gradient on the trait's set minus on the control set",
    sign="0: the first update teaches the trait as without the prompt; 1: not at all",
)  # fmt: skip
def gradient_influence(
    gradient_sign_product: Float[np.ndarray, "trait *cells"], default_gradient_sign_product: Float[np.ndarray, " trait"]
) -> Float64[np.ndarray, "trait *cells"]:
    """Share of what a first sign update would teach of a trait that the prompt takes away.

    Args:
        gradient_sign_product: Sign of the gradient with the prompt times the trait's gradient, nats.
        default_gradient_sign_product: The same without a prompt, nats.

    Returns:
        A share, below 0 where the prompt teaches more of it; NaN where nothing is taught without a prompt.
    """
    values = np.asarray(gradient_sign_product, np.float64)
    default = np.asarray(default_gradient_sign_product).reshape(-1, *(1,) * (values.ndim - 1))
    return 1 - _quotient(values, default)


@heuristic(
    family=FAMILY, level="probe", long_name="shift along the trait", units="1", rests_on=SHIFTS,
    dims=("trait", "layer", "prefix_type", "prompt"),
    formula="v . mean_i d_i, d_i: last prompt token's hidden state with minus without the prompt; "
    "v: unit difference of the mean answer states of the trait's set and the control set",
)  # fmt: skip
def prompt_shift_projection(
    prompt_shift: Float[np.ndarray, "*cells layer feature"], persona_vectors: Float[np.ndarray, "trait layer feature"]
) -> Float64[np.ndarray, "trait layer *cells"]:
    """How far a prompt moves the hidden state towards a trait.

    Args:
        prompt_shift: Mean over examples of the hidden state with the prompt minus without.
        persona_vectors: Mean hidden state of the trait's answers minus that of control answers.

    Returns:
        In units of the hidden state; NaN for a vector of length 0.
    """
    vectors = np.asarray(persona_vectors, np.float64)
    unit = _quotient(vectors, np.sqrt((vectors**2).sum(-1, keepdims=True)))
    return np.einsum("...lf,tlf->tl...", np.asarray(prompt_shift, np.float64), unit)


@heuristic(
    family=FAMILY, level="probe", long_name="consistency of the shift", units="1", rests_on=SHIFTS,
    dims=("layer", "prefix_type", "prompt"),
    formula="(N |mean d|^2 / mean |d|^2 - 1) / (N - 1), d as in prompt_shift_projection, N examples",
    sign="1: every example moves alike; 0: as at random",
)  # fmt: skip
def prompt_shift_consistency(
    prompt_shift: Float[np.ndarray, "*cells layer feature"],
    prompt_shift_square: Float[np.ndarray, "*cells layer"],
    n_shift_examples: Int[np.ndarray, ""],
) -> Float64[np.ndarray, "layer *cells"]:
    """How alike the shifts of different examples are: their mean pairwise inner product over their mean square.

    Args:
        prompt_shift: Mean over examples of the hidden state with the prompt minus without.
        prompt_shift_square: Mean over examples of its squared length.
        n_shift_examples: Examples.

    Returns:
        In [-1 / (N - 1), 1]; NaN with one example or where nothing moves.
    """
    n = float(n_shift_examples)
    length = (np.asarray(prompt_shift, np.float64) ** 2).sum(-1)
    alike = (n * _quotient(length, prompt_shift_square) - 1) / (n - 1 if n > 1 else np.nan)
    return np.moveaxis(alike, -1, 0)


@heuristic(
    family=FAMILY, level="probe", long_name="divergence of the first token", units="nats", rests_on=FIRST_TOKENS,
    formula="mean over examples of KL(first answer token with the prompt || without)",
)  # fmt: skip
def first_token_kl(first_token_divergence: Float[np.ndarray, "*cells example"]) -> Float64[np.ndarray, "*cells"]:
    """How far a prompt changes the distribution of the answer's first token.

    Args:
        first_token_divergence: KL by example, nats.

    Returns:
        Nats; NaN for a unit that is not probed.
    """
    return np.asarray(first_token_divergence, np.float64).mean(-1)


@heuristic(
    family=FAMILY, level="example", long_name="perplexity heuristic on the trait's set", units="nats per token",
    dims=BY_TRAIT, formula="ph over the completions of the trait's own set: texts with that trait alone",
)  # fmt: skip
def trait_set_ph(
    w_other_sets: Float64[np.ndarray, "completion_set prefix_type prompt example"],
    other_sets: Sequence[str],
    trait_roles: Sequence[str],
) -> Float64[np.ndarray, "trait prefix_type prompt"]:
    """`ph` on the set that shows one trait only: elicitation without sampling and without a judge.

    Args:
        w_other_sets: Example differences of the sets that are not trained on, nats per token.
        other_sets: Their names.
        trait_roles: Role of each trait, which is the name of its set.

    Returns:
        Nats per token; NaN for a trait whose set is not scored.
    """
    missing = np.full(w_other_sets.shape[1:3], np.nan)
    sets = list(other_sets)
    return np.stack([ph(w_other_sets[sets.index(role)]) if role in sets else missing for role in trait_roles])


@heuristic(
    family=FAMILY, level="prompt", long_name="largest elicitation", units="pp", dims=("prompt",),
    formula="largest elicitation of a prompt over the traits of the study",
)  # fmt: skip
def max_elicitation(elicitation: Float[np.ndarray, "trait prompt"]) -> Float64[np.ndarray, " prompt"]:
    """The larger elicitation over the traits: what a claim about other traits must beat.

    Args:
        elicitation: Percentage points, [trait, prompt].

    Returns:
        Percentage points; NaN where a trait was not measured.
    """
    return np.asarray(elicitation, np.float64).max(0)


@heuristic(
    family=FAMILY, level="prompt", long_name="lexical anchor of the pool", units="1", dims=("prompt",),
    formula="share of the rephrasings that hold the pool's most frequent content stem (first 5 letters)",
)  # fmt: skip
def pool_anchor(pools: Sequence[Sequence[str]]) -> Float64[np.ndarray, " prompt"]:
    """How alike the rephrasings of each prompt are, by their words.

    Args:
        pools: Rephrasings of each prompt.

    Returns:
        In [0, 1]; NaN for an empty pool.
    """
    return np.array([lexical_anchor(pool) for pool in pools], np.float64)


def lexical_anchor(pool: Sequence[str]) -> float:
    """The share of rephrasings that hold the most frequent content stem, 0-1; NaN for an empty pool."""
    if not pool:
        return np.nan
    stems = [{w[:STEM] for w in re.findall(r"[^\W\d_]+", text.lower()) if w not in STOP} for text in pool]
    count = Counter(stem for each in stems for stem in each)
    return max(count.values(), default=0) / len(pool)
