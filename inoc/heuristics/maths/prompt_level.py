"""Heuristics of the prompt alone: elicitation, self-perplexity, and where its embedding lies."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from inoc.heuristics.frame.declarations import Companion, RestsOn, interval
from inoc.heuristics.frame.decorators import heuristic
from inoc.heuristics.maths.pointwise import mean_of_finite
from inoc.intervals import mean_interval

PP = "pp"
Scores = Float[np.ndarray, "trait prompt instruction"]
Baseline = Float[np.ndarray, "trait instruction"]
Vectors = Float[np.ndarray, "prompt feature"]
Group = Bool[np.ndarray, " prompt"]
Column = Float64[np.ndarray, " prompt"]


def elicitation_ci(score: Scores, baseline: Baseline) -> Float64[np.ndarray, "trait prompt bound"]:
    """95 % paired t interval over the instructions scored with and without the prompt.

    Args:
        score: Trait scores with each prompt, 0-100, [trait, prompt, instruction].
        baseline: Trait scores without a prompt, [trait, instruction].

    Returns:
        Percentage points, [trait, prompt, bound]; NaN with fewer than two pairs.
    """
    return mean_interval(np.asarray(score, dtype=np.float64) - np.asarray(baseline)[:, None, :])


def elicitation_n(score: Scores, baseline: Baseline) -> Int64[np.ndarray, "trait prompt"]:
    """Number of instructions scored with and without the prompt."""
    return np.isfinite(np.asarray(score) - np.asarray(baseline)[:, None, :]).sum(-1).astype(np.int64)


@heuristic(
    symbol="H1", family="prompt_level", level="prompt", long_name="elicitation",
    formula="mean trait score with the prompt minus mean without, base model, same instructions", units=PP,
    dims=("trait", "prompt"), inputs={"score": "elicitation_score", "baseline": "elicitation_baseline"},
    rests_on=RestsOn("instructions", "elicitation_n"),
    companions=(
        interval(elicitation_ci, "paired t interval over instructions"),
        Companion("elicitation_n", elicitation_n, "instructions behind the elicitation",
                  "instructions with a finite score with and without the prompt", "1"),
    ),
)  # fmt: skip
def elicitation(score: Scores, baseline: Baseline, recipe: str) -> Float64[np.ndarray, "trait prompt"]:
    """H1: mean of the paired differences (`published`: difference of the two means).

    Args:
        score: Trait scores with each prompt, 0-100, [trait, prompt, instruction].
        baseline: Trait scores without a prompt, [trait, instruction].
        recipe: corrected or published.

    Returns:
        Percentage points, [trait, prompt]; NaN without a pair.
    """
    score, baseline = np.asarray(score, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    if recipe == "published":
        return mean_of_finite(score) - mean_of_finite(baseline)[:, None]
    return mean_of_finite(score - baseline[:, None, :])


def _as_stored(name: str, words: str, formula: str, units: str = "1", column: str = "", symbol: str = "") -> None:
    def read(column: Float[np.ndarray, " prompt"]) -> Column:
        return np.asarray(column, dtype=np.float64)

    read.__doc__ = f"As stored: {formula}."
    heuristic(
        name=name, symbol=symbol, family="prompt_level", level="prompt", long_name=words, formula=formula,
        units=units, dims=("prompt",), inputs={"column": column or name + "_stored"},
    )(read)  # fmt: skip


_as_stored("self_perplexity_raw", "self-perplexity of the bare prompt", "-logprob per token of the prompt text alone",
           "nats per token", "self_perplexity_stored_raw")  # fmt: skip
_as_stored("self_perplexity_context", "self-perplexity of the prompt in its place",
           "-logprob per token as the first words of a user turn after the system message",
           "nats per token", "self_perplexity_stored_context")  # fmt: skip


def unit(vectors: Float[np.ndarray, "*cells feature"]) -> Float64[np.ndarray, "*cells feature"]:
    """Vectors scaled to length 1; NaN for a vector of length 0."""
    vectors = np.asarray(vectors, dtype=np.float64)
    norm = np.sqrt((vectors**2).sum(-1, keepdims=True))
    return np.where(norm > 0, vectors / np.where(norm > 0, norm, 1.0), np.nan)


def centroids(
    vectors: Vectors, group: Bool[np.ndarray, " prompt"], *, leave_out: bool
) -> Float64[np.ndarray, "prompt feature"]:
    """For every prompt the renormalized mean vector of a group, itself left out if asked; NaN if none is left."""
    vectors = np.asarray(vectors, dtype=np.float64)
    group = group & np.isfinite(vectors).all(-1)
    total = vectors[group].sum(0)
    sums = np.broadcast_to(total, vectors.shape)
    left = np.full(len(vectors), int(group.sum()))
    if leave_out:
        sums = sums - np.where(group[:, None], vectors, 0.0)
        left = left - group
    return unit(np.where((left > 0)[:, None], sums, np.nan))


@heuristic(
    symbol="H5", family="prompt_level", level="prompt", long_name="distance from the neutral prompts",
    formula="L2 to the renormalized neutral centroid of unit embeddings, the prompt itself left out",
    units="1", dims=("prompt",), inputs={"vectors": "prompt_vectors"},
)  # fmt: skip
def distance_from_neutral(vectors: Vectors, neutral: Bool[np.ndarray, " prompt"]) -> Float64[np.ndarray, " prompt"]:
    """H5: L2 distance to the renormalized centroid of the neutral prompts, the prompt itself left out.

    Args:
        vectors: Embeddings of the prompt texts, [prompt, feature]; scaled to length 1 here.
        neutral: Which prompts are neutral.

    Returns:
        In [0, 2], [prompt]; NaN without a vector or another neutral prompt.
    """
    vectors = unit(vectors)
    difference = vectors - centroids(vectors, neutral, leave_out=True)
    return np.sqrt((difference**2).sum(-1))


def cosine_to_group(vectors: Vectors, group: Group, recipe: str) -> Column:
    """Cosine to the centroid of a family; the prompt itself is left out unless `published`."""
    vectors = unit(vectors)
    return (vectors * centroids(vectors, group, leave_out=recipe != "published")).sum(-1)


def _cosine_to(role: str) -> Callable[[Vectors, Group, str], Column]:
    @heuristic(
        name=f"cos_to_{role}", family="prompt_level", level="prompt", long_name=f"cosine to the {role} trait's prompts",
        formula="cosine of the unit embedding to the family centroid, itself left out (published: included)",
        units="1", dims=("prompt",), inputs={"vectors": "prompt_vectors", "group": f"{role}_family"},
    )  # fmt: skip
    def cosine_to(vectors: Vectors, group: Group, recipe: str) -> Column:
        """Cosine to the centroid of the family of one trait.

        Args:
            vectors: Embeddings of the prompt texts, [prompt, feature]; scaled to length 1 here.
            group: Which prompts belong to the family.
            recipe: corrected (the prompt itself left out) or published (included).

        Returns:
            In [-1, 1], [prompt]; NaN without a vector or another prompt of the family.
        """
        return cosine_to_group(vectors, group, recipe)

    return cosine_to


cos_to_negative, cos_to_positive = _cosine_to("negative"), _cosine_to("positive")


def pool_statistics(
    prompt: Float[np.ndarray, " feature"], pool: Float[np.ndarray, "rephrasing feature"]
) -> dict[str, float]:
    """The `rephrase_*` columns of one prompt from the unit embeddings of its rephrasing pool.

    Cosines of each rephrasing with the prompt (mean, std with ddof = 0, minimum) and the effective rank of
    the pool, exp(entropy of the normalized singular values of the centered pool). NaN for an empty pool.
    """
    names = ("rephrase_mean_cos", "rephrase_std_cos", "rephrase_min_cos", "rephrase_effective_rank")
    if len(pool) == 0:
        return dict.fromkeys(names, float("nan"))
    vectors = unit(pool)
    cosines = vectors @ unit(prompt)
    s = np.linalg.svd(vectors - vectors.mean(0), compute_uv=False)
    p = s[s > s.max() * 1e-12] / s.sum() if s.sum() > 0 else np.ones(1)
    rank = float(np.exp(-(p * np.log(p)).sum()))
    return dict(zip(names, (float(cosines.mean()), float(cosines.std()), float(cosines.min()), rank), strict=True))


_as_stored("rephrase_mean_cos", "mean closeness of the rephrasings", "mean cosine of pool and prompt")
_as_stored("rephrase_std_cos", "spread of the rephrasings", "std of the cosines of pool and prompt", symbol="H6")
_as_stored("rephrase_min_cos", "closeness of the farthest rephrasing", "smallest cosine of pool and prompt")
_as_stored("rephrase_effective_rank", "diversity of the rephrasings",
           "exp(entropy of the normalized singular values of the centered pool)")  # fmt: skip
