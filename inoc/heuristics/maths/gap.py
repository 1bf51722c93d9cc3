"""Fixed-versus-mix gap heuristics: per prompt, over the examples where both prefix types have a finite w.

Comparisons have a dim `variant`: the raw rows (raw), and both rows after a rank-1 reconstruction fitted on W_fixed of
the prompts asked for (pca1: centered, the mean not added back; svd1: uncentered). After rank 1 many are constant over
prompts by construction; the attribute `constant` says which. Those with `variants=False` have no such dim.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from inspect import cleandoc
from math import prod
from typing import Concatenate, ParamSpec

import numpy as np
from jaxtyping import Float, Float64

from inoc.heuristics.frame.decorators import heuristic, intermediate
from inoc.heuristics.frame.protocols import Absent
from inoc.heuristics.frame.registry import dimension
from inoc.heuristics.maths.pointwise import mald, mean_of_finite, sigma, snr

Rows = Float[np.ndarray, "*cells example"]
Values = Float64[np.ndarray, "*cells"]
Cube = Float64[np.ndarray, "prefix_type prompt example"]
Matrix = Float64[np.ndarray, "prompt example"]
Variants = Float64[np.ndarray, "variant prompt example"]
MINIMUM = 20
"""Fewer shared examples than this give NaN."""
PH_FLOOR, SNR_FLOOR = 1e-9, 1e-6
"""A fixed PH (or SNR) smaller than this in size makes the ratio NaN."""
CONSTANT = 1e-9
NATS = "nats per token"
VARIANTS = ("raw", "pca1", "svd1")
dimension("variant", VARIANTS)


def shared(
    fixed: Rows, mix: Rows
) -> tuple[Float64[np.ndarray, "*cells example"], Float64[np.ndarray, "*cells example"]]:
    """Both rows with NaN wherever either is not finite; all NaN where fewer than 20 examples remain."""
    fixed, mix = np.asarray(fixed, dtype=np.float64), np.asarray(mix, dtype=np.float64)
    both = np.isfinite(fixed) & np.isfinite(mix)
    both &= (both.sum(-1) >= MINIMUM)[..., None]
    return np.where(both, fixed, np.nan), np.where(both, mix, np.nan)


def is_constant(values: Float[np.ndarray, " row"]) -> bool:
    """True if the finite values do not vary: range <= 1e-9 of the largest absolute value, or fewer than two."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    return len(finite) < 2 or bool(np.ptp(finite) <= CONSTANT * np.abs(finite).max())


def constant_over_prompts(values: Float[np.ndarray, "*variant prompt"]) -> int | list[int]:
    """`is_constant` of the values over prompts, 1 or 0; a list with variants."""
    if values.ndim == 1:
        return int(is_constant(values))
    return [int(is_constant(row)) for row in values]


Options = ParamSpec("Options")
RECIPE_LINE = "\n    recipe: corrected or published."
SECTIONS = """Args:
    fixed: w of fixed, nats per token, [*cells, example].
    mix: w of mix, the same shape.{recipe}

Returns:
    In units of {units}, [*cells]; NaN with fewer than 20 examples finite in both."""


def comparison(
    long_name: str, formula: str, units: str = "1", *, variants: bool = True
) -> Callable[[Callable[Concatenate[Rows, Rows, Options], Values]], Callable[Concatenate[Rows, Rows, Options], Values]]:
    """Register a comparison of fixed and mix, restricted to the examples both rows have (>= 20, else NaN).

    Its arguments and what it returns are the same for all comparisons and are added to its docstring here.
    """
    rows = ("fixed_variants", "mix_variants") if variants else ("w_fixed", "w_mix")
    declare = heuristic(
        family="gap", level="example", long_name=long_name, formula=formula, units=units,
        dims=("variant", "prompt") if variants else ("prompt",), inputs=dict(zip(("fixed", "mix"), rows, strict=True)),
        attributes={"constant": constant_over_prompts},
    )  # fmt: skip

    def decorate(
        function: Callable[Concatenate[Rows, Rows, Options], Values],
    ) -> Callable[Concatenate[Rows, Rows, Options], Values]:
        @wraps(function)
        def compare(fixed: Rows, mix: Rows, *args: Options.args, **kwargs: Options.kwargs) -> Values:
            cells = fixed.shape[:-1]
            fixed, mix = shared(fixed, mix)
            flat = (prod(cells), fixed.shape[-1])
            with np.errstate(invalid="ignore"):
                found = function(fixed.reshape(flat), mix.reshape(flat), *args, **kwargs)
            return np.where(np.isfinite(fixed).any(-1), found.reshape(cells), np.nan)

        recipe = RECIPE_LINE if "recipe" in function.__annotations__ else ""
        compare.__doc__ = f"{cleandoc(function.__doc__ or '')}\n\n{SECTIONS.format(recipe=recipe, units=units)}"
        return declare(compare)

    return decorate


def ratio(numerator: Values, denominator: Values, floor: float = 0.0) -> Values:
    """Quotient; NaN where abs(denominator) <= floor."""
    safe = np.abs(denominator) > floor
    return np.where(safe, numerator / np.where(safe, denominator, 1.0), np.nan)


def snr_abs(w: Rows, recipe: str) -> Values:
    """`published`: mean abs(w) / sigma. `corrected`: abs(mean w) / sigma."""
    return ratio(mald(w) if recipe == "published" else np.abs(mean_of_finite(w)), sigma(w))


@comparison("ratio of the perplexity heuristics", "PH_m / PH_f, NaN if abs(PH_f) <= 1e-9")
def ph_ratio(fixed: Rows, mix: Rows) -> Values:
    """PH_mix / PH_fixed; NaN if abs(PH_fixed) <= 1e-9."""
    return ratio(mean_of_finite(mix), mean_of_finite(fixed), PH_FLOOR)


@comparison("difference of the variances over examples", "s_m^2 - s_f^2, ddof = 1", "nats^2 per token^2")
def variance_diff(fixed: Rows, mix: Rows) -> Values:
    """sigma_mix^2 - sigma_fixed^2 (ddof = 1)."""
    return sigma(mix) ** 2 - sigma(fixed) ** 2


@comparison("coherence of mix", "fraction of examples with w_m > 0")
def gamma_mix(fixed: Rows, mix: Rows) -> Values:
    """Fraction of the shared examples with w_mix > 0."""
    del fixed
    return mean_of_finite(np.where(np.isfinite(mix), (mix > 0).astype(np.float64), np.nan))


@comparison("signal-to-noise ratio of mix", "PH_m / s_m")
def snr_mix(fixed: Rows, mix: Rows) -> Values:
    """PH_mix / sigma_mix."""
    del fixed
    return snr(mix)


@comparison("cosine of fixed and mix", "<f, m> / (|f| |m|)")
def cosine(fixed: Rows, mix: Rows) -> Values:
    """<f, m> / (|f| |m|), computed on rows scaled to unit largest entry."""
    return ratio(_dot(fixed, mix), np.sqrt(_dot(fixed, fixed)) * np.sqrt(_dot(mix, mix)))


@comparison("effective number of examples of mix", "exp(-sum p ln p), p = abs(m) / sum abs(m)")
def effective_rank_mix(fixed: Rows, mix: Rows) -> Values:
    """exp(-sum p ln p) with p = abs(m) / sum abs(m): how many examples carry the mix difference."""
    del fixed
    size = np.abs(mix)
    total = np.nansum(size, -1, keepdims=True)
    share = np.where(np.isfinite(size) & (total > 0), size / np.where(total > 0, total, 1.0), 0.0)
    entropy = -(share * np.log(np.where(share > 0, share, 1.0))).sum(-1)
    return np.where(total[..., 0] > 0, np.exp(entropy), np.nan)


@comparison("ratio of the signal-to-noise ratios", "SNR_m / SNR_f, NaN if abs(SNR_f) <= 1e-6")
def snr_ratio(fixed: Rows, mix: Rows) -> Values:
    """SNR_mix / SNR_fixed; NaN if abs(SNR_fixed) <= 1e-6."""
    return ratio(snr(mix), snr(fixed), SNR_FLOOR)


@comparison("ratio of the mean absolute differences", "MALD_m / MALD_f")
def mald_ratio(fixed: Rows, mix: Rows) -> Values:
    """MALD_mix / MALD_fixed."""
    return ratio(mald(mix), mald(fixed))


@comparison("absolute signal-to-noise ratio of mix", "abs(PH_m) / s_m (published: MALD_m / s_m)")
def snr_abs_mix(fixed: Rows, mix: Rows, recipe: str) -> Values:
    """`snr_abs` of the mix row."""
    del fixed
    return snr_abs(mix, recipe)


@comparison("ratio of the absolute signal-to-noise ratios", "snr_abs of m / snr_abs of f")
def snr_abs_ratio(fixed: Rows, mix: Rows, recipe: str) -> Values:
    """`snr_abs` of mix / of fixed; NaN if abs(snr_abs fixed) <= 1e-6."""
    return ratio(snr_abs(mix, recipe), snr_abs(fixed, recipe), SNR_FLOOR)


@comparison("drop of the perplexity heuristic", "PH_f - PH_m", NATS, variants=False)
def ph_drop(fixed: Rows, mix: Rows) -> Values:
    """PH_fixed - PH_mix: the difference form of `ph_ratio`, which explodes where PH_fixed is near 0."""
    return mean_of_finite(fixed) - mean_of_finite(mix)


@comparison("drop of the signal-to-noise ratio", "SNR_f - SNR_m", variants=False)
def snr_drop(fixed: Rows, mix: Rows) -> Values:
    """SNR_fixed - SNR_mix."""
    return snr(fixed) - snr(mix)


@comparison("mean difference of mix and fixed", "mean_k (w_m - w_f)", NATS, variants=False)
def spread_mean(fixed: Rows, mix: Rows) -> Values:
    """Mean of w_mix - w_fixed."""
    return mean_of_finite(np.asarray(mix - fixed, dtype=np.float64))


@comparison(
    "spread of the difference of mix and fixed", "std_k (w_m - w_f), ddof = 1 (published: 0)", NATS, variants=False
)
def spread_std(fixed: Rows, mix: Rows, recipe: str) -> Values:
    """Standard deviation of w_mix - w_fixed (ddof = 1; `published`: ddof = 0)."""
    return sigma(np.asarray(mix - fixed, dtype=np.float64), ddof=0 if recipe == "published" else 1)


@comparison("correlation of fixed and mix", "Pearson r of w_f and w_m over examples", variants=False)
def w_cor(fixed: Rows, mix: Rows) -> Values:
    """Pearson correlation of w_fixed and w_mix over examples; NaN if either is constant."""
    f = fixed - mean_of_finite(fixed)[..., None]
    m = mix - mean_of_finite(mix)[..., None]
    usable = np.isfinite(snr(fixed)) & np.isfinite(snr(mix))
    return np.where(usable, np.clip(cosine(f, m), -1.0, 1.0), np.nan)


@comparison("sign agreement of fixed and mix", "fraction of examples with equal sign", variants=False)
def sign_agreement(fixed: Rows, mix: Rows) -> Values:
    """Fraction of examples where w_fixed and w_mix have the same sign (both zero counts)."""
    finite = np.isfinite(fixed) & np.isfinite(mix)
    return mean_of_finite(np.where(finite, (np.sign(fixed) == np.sign(mix)).astype(np.float64), np.nan))


@comparison("distance of fixed and mix", "|w_m - w_f|", "nats per token x sqrt(examples)", variants=False)
def w_l2(fixed: Rows, mix: Rows) -> Values:
    """Euclidean distance |w_mix - w_fixed| over examples."""
    difference = np.asarray(mix - fixed, dtype=np.float64)
    return np.where(np.isfinite(difference).any(-1), np.sqrt(_dot(difference, difference)), np.nan)


@comparison("projection of mix on fixed", "<f, m> / |f|^2", variants=False)
def projection(fixed: Rows, mix: Rows) -> Values:
    """<f, m> / |f|^2."""
    return ratio(_dot(fixed, mix), _dot(fixed, fixed))


def _dot(a: Rows, b: Rows) -> Values:
    product = np.asarray(a * b, dtype=np.float64)
    return np.where(np.isfinite(product), product, 0.0).sum(-1)


def _of_type(w: Cube, prefix_types: Sequence[str], completion_set: str, prefix_type: str) -> Matrix:
    if prefix_type not in prefix_types:
        raise Absent(f"the set '{completion_set}' has no logprobs of prefix type {prefix_type}")
    return w[list(prefix_types).index(prefix_type)]


@intermediate()
def w_fixed(w: Cube, prefix_types: Sequence[str], completion_set: str) -> Matrix:
    """w of fixed."""
    return _of_type(w, prefix_types, completion_set, "fixed")


@intermediate()
def w_mix(w: Cube, prefix_types: Sequence[str], completion_set: str) -> Matrix:
    """w of mix."""
    return _of_type(w, prefix_types, completion_set, "mix")


@intermediate()
def rank_one_variants(w_fixed: Matrix, w_mix: Matrix) -> tuple[Variants, Variants]:
    """fixed and mix of every variant."""
    pairs = [(w_fixed, w_mix), *(rank_one(w_fixed, w_mix, centered=centered) for centered in (True, False))]
    return np.stack([fixed for fixed, _ in pairs]), np.stack([mix for _, mix in pairs])


@intermediate(inputs={"pair": "rank_one_variants"})
def fixed_variants(pair: tuple[Variants, Variants]) -> Variants:
    """w of fixed in every variant."""
    return pair[0]


@intermediate(inputs={"pair": "rank_one_variants"})
def mix_variants(pair: tuple[Variants, Variants]) -> Variants:
    """w of mix in every variant."""
    return pair[1]


def rank_one(
    fixed: Float[np.ndarray, "prompt example"], mix: Float[np.ndarray, "prompt example"], *, centered: bool
) -> tuple[Float64[np.ndarray, "prompt example"], Float64[np.ndarray, "prompt example"]]:
    """Both matrices projected on the first component of W_fixed: (W - mu) v v' (`centered`, PCA) or W v v' (SVD).

    Missing entries count as 0 in the fit and stay NaN; prompts without a fixed row take no part in the fit.
    """
    fixed, mix = np.asarray(fixed, dtype=np.float64), np.asarray(mix, dtype=np.float64)
    rows = fixed[np.isfinite(fixed).any(-1)]
    if len(rows) == 0:
        return np.full_like(fixed, np.nan), np.full_like(mix, np.nan)
    filled = np.where(np.isfinite(rows), rows, 0.0)
    mu = filled.mean(0) if centered else np.zeros(fixed.shape[1])
    center = filled - mu
    direction = center.T @ np.linalg.eigh(center @ center.T)[1][:, -1]
    length = np.linalg.norm(direction)
    direction = direction / length if length > 0 else direction

    def project(w: Float64[np.ndarray, "prompt example"]) -> Float64[np.ndarray, "prompt example"]:
        finite = np.isfinite(w)
        coordinate = np.where(finite, w - mu, 0.0) @ direction
        return np.where(finite, coordinate[:, None] * direction[None, :], np.nan)

    return project(fixed), project(mix)
