"""Spectra of the prompts: PCA and SVD of the pointwise (w) and tokenwise (delta) matrices, and trait coordinates.

Everything follows from Gram matrices (`inoc.heuristics.maths.gram`). Variables that start with `token_` are of
the tokenwise matrix (prompts x all tokens), the others of w (prompts x examples).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64

from inoc.heuristics.frame.declarations import MATRICES, PROMPTS, Companion
from inoc.heuristics.frame.decorators import heuristic, intermediate
from inoc.heuristics.frame.protocols import Absent
from inoc.heuristics.maths.gram import COMPONENTS, SIGN_RULE, Decomposition, trait_coordinates, z_sum

Grams = Float64[np.ndarray, "prefix_type prompt prompt"]
TraitCoordinates = Float64[np.ndarray, "trait prefix_type prompt component"]
Coordinates = Float64[np.ndarray, "prefix_type prompt component"]
Shares = Float64[np.ndarray, "prefix_type component"]
TraitFit = tuple[TraitCoordinates, Float64[np.ndarray, "trait prefix_type component"]]
PER_COMPONENT = ("prefix_type", "prompt", "component")
FIRST = f"first {COMPONENTS} components"
TRAIT_SIGN = (
    "corrected: inner product with ph positive; published: a component is flipped if the mean of neutral prompts "
    "exceeds the mean of the others"
)


def coordinates(fit: Sequence[Decomposition]) -> Coordinates:
    """Coordinates of the prompts, one decomposition per prefix type."""
    return np.stack([found.coordinates for found in fit])


def shares(fit: Sequence[Decomposition]) -> Shares:
    """s^2 / sum s^2, one decomposition per prefix type."""
    return np.stack([found.share for found in fit])


def variance_ratios(fit: Sequence[Decomposition]) -> Shares:
    """Variance over prompts of the coordinates / total variance: what scikit-learn's TruncatedSVD reports."""
    return np.stack([found.variance_ratio for found in fit])


def _shares(name: str, formula: str, words: str = "explained variance of") -> Companion:
    return Companion(
        f"{{token}}{name}",
        variance_ratios if name.endswith("_ratio") else shares,
        f"{words} {{token}}{name.rpartition('_')[0].removesuffix('_variance')}",
        formula,
        "1",
        ("prefix_type", "component"),
    )


@heuristic(
    family="spectra", matrices=MATRICES, long_name="principal components of {matrix}", units="{units}",
    formula=f"U s, centered over prompts, unscaled; {FIRST}", sign=SIGN_RULE, dims=PER_COMPONENT, rests_on=PROMPTS,
    inputs={"fit": "{token}pca_fit"}, companions=(_shares("pca_explained", "s^2 / sum s^2 of the centered matrix"),),
)  # fmt: skip
def pca(fit: Sequence[Decomposition]) -> Coordinates:
    """Principal coordinates of the prompts.

    Args:
        fit: PCA of the matrix with prompts as rows, one per prefix type.

    Returns:
        U s in units of the rows times sqrt(columns), [prefix_type, prompt, component]; NaN for a prompt without data.
    """
    return coordinates(fit)


@heuristic(
    family="spectra", matrices=MATRICES, long_name="principal components of {matrix}",
    units="standard deviations", sign=SIGN_RULE, dims=PER_COMPONENT, rests_on=PROMPTS,
    formula=f"U s, centered over prompts, columns divided by their std over prompts, ddof = 0; {FIRST}",
    inputs={"fit": "{token}pca_scaled_fit"},
    companions=(_shares("pca_scaled_explained", "s^2 / sum s^2 of the centered matrix"),),
)  # fmt: skip
def pca_scaled(fit: Sequence[Decomposition]) -> Coordinates:
    """Principal coordinates of the prompts after dividing every column by its std over prompts (ddof = 0).

    Args:
        fit: PCA of the scaled matrix, one per prefix type.

    Returns:
        U s in standard deviations, [prefix_type, prompt, component]; NaN for a prompt without data.
    """
    return coordinates(fit)


@heuristic(
    family="spectra", matrices=MATRICES, long_name="singular coordinates of {matrix}", units="{units}",
    formula=f"U s, uncentered, unscaled, exact; {FIRST}", sign=SIGN_RULE, dims=PER_COMPONENT,
    rests_on=PROMPTS, inputs={"fit": "{token}svd_fit"},
    companions=(
        _shares("svd_energy", "s^2 / sum s^2", "energy share of"),
        _shares(
            "svd_variance_ratio",
            "var over prompts of U s / total variance (TruncatedSVD.explained_variance_ratio_)",
            "scikit-learn's variance ratio of",
        ),
    ),
)  # fmt: skip
def svd(fit: Sequence[Decomposition]) -> Coordinates:
    """Singular coordinates of the prompts.

    Args:
        fit: SVD of the matrix with prompts as rows, one per prefix type.

    Returns:
        U s in units of the rows times sqrt(columns), [prefix_type, prompt, component]; NaN for a prompt without data.
    """
    return coordinates(fit)


@intermediate(name="trait_{token}svd_fit", matrices=MATRICES, inputs={"gram": "{token}gram"})
def trait_fit(
    gram: Grams,
    ph: Float64[np.ndarray, "prefix_type prompt"],
    members: Bool[np.ndarray, "trait prompt"],
    neutral: Bool[np.ndarray, " prompt"],
    recipe: str,
) -> TraitFit:
    """Per trait: SVD coordinates within its family plus neutral, oriented (NaN for other prompts), and the margins."""
    if not members.any():
        raise Absent("no prompt belongs to the family of a trait")
    found = [
        [
            trait_coordinates(block, signal, member & ~neutral, neutral, published=recipe == "published")
            for block, signal in zip(gram, ph, strict=True)
        ]
        for member in members
    ]
    return (
        np.stack([np.stack([coordinates for coordinates, _ in rows]) for rows in found]),
        np.stack([np.stack([margin for _, margin in rows]) for rows in found]),
    )


def margins(fit: TraitFit) -> Float64[np.ndarray, "trait prefix_type component"]:
    """How safe the orientation of each trait coordinate is: 0 arbitrary, 1 certain."""
    return fit[1]


@heuristic(
    name="trait_{token}svd", symbol=("H3", "H4"), family="spectra", matrices=MATRICES,
    long_name="trait-resolved coordinates of {matrix}", units="{units}", sign=TRAIT_SIGN,
    formula="svd on the prompts of one trait's family plus neutral (published: of fixed differences)",
    dims=("trait", *PER_COMPONENT), rests_on=PROMPTS, published_rows="fixed", inputs={"fit": "trait_{token}svd_fit"},
    companions=(
        Companion(
            "trait_{token}svd_margin", margins, "safety of the orientation of trait_{token}svd",
            "abs cosine of coordinates and ph (published: difference of means / largest coordinate)", "1",
            ("trait", "prefix_type", "component"),
        ),
    ),
)  # fmt: skip
def trait_svd(fit: TraitFit) -> TraitCoordinates:
    """H3 (w) and H4 (delta): singular coordinates within one trait's family plus the neutral prompts.

    Args:
        fit: Oriented coordinates and margins of `trait_fit`.

    Returns:
        Coordinates, [trait, prefix_type, prompt, component]; NaN for prompts of another family.
    """
    return fit[0]


@heuristic(
    name="{token}svd_zsum", family="spectra", matrices=MATRICES, long_name="sum of z-scored trait_{token}svd",
    formula="sum over the first 3 components of z over prompts (ddof = 0) of trait_{token}svd", units="1",
    sign=TRAIT_SIGN, dims=("trait", "prefix_type", "prompt"), rests_on=PROMPTS,
    inputs={"trait_svd": "trait_{token}svd"},
)  # fmt: skip
def svd_zsum(trait_svd: TraitCoordinates) -> Float64[np.ndarray, "trait prefix_type prompt"]:
    """Sum of the z-scores over prompts of the first three trait coordinates.

    Args:
        trait_svd: Trait coordinates, [trait, prefix_type, prompt, component].

    Returns:
        A pure number, [trait, prefix_type, prompt]; NaN for prompts of another family.
    """
    return np.stack([np.stack([z_sum(block) for block in rows]) for rows in trait_svd])
