"""Spectra of the prompts: PCA and SVD of the pointwise (w) and tokenwise (delta) matrices, and trait
coordinates.

Everything follows from Gram matrices (`inoc.heuristics.maths.gram`). Variables that start with `token_` are of the
tokenwise matrix (prompts x all tokens), the others of w (prompts x examples).
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int64

from inoc.heuristics.frame.registry import Absent, Heuristic, Level, register
from inoc.heuristics.maths.gram import COMPONENTS, SIGN_RULE, Decomposition, trait_coordinates, z_sum

Coordinates = Float64[np.ndarray, "prefix_type prompt component"]
Shares = Float64[np.ndarray, "prefix_type component"]
TraitFit = tuple[
    Float64[np.ndarray, "trait prefix_type prompt component"],
    Float64[np.ndarray, "trait prefix_type component"],
]


def coordinates(fit: Sequence[Decomposition]) -> Coordinates:
    """Coordinates of the prompts, one decomposition per prefix type."""
    return np.stack([found.coordinates for found in fit])


def shares(fit: Sequence[Decomposition]) -> Shares:
    """s^2 / sum s^2, one decomposition per prefix type."""
    return np.stack([found.share for found in fit])


def variance_ratios(fit: Sequence[Decomposition]) -> Shares:
    """Variance over prompts of the coordinates / total variance: what scikit-learn's TruncatedSVD reports."""
    return np.stack([found.variance_ratio for found in fit])


def trait_fit(
    gram: Float64[np.ndarray, "prefix_type prompt prompt"],
    ph: Float64[np.ndarray, "prefix_type prompt"],
    members: Bool[np.ndarray, "trait prompt"],
    neutral: Bool[np.ndarray, " prompt"],
    row_source: Int64[np.ndarray, " prefix_type"],
    recipe: str,
) -> TraitFit:
    """Per trait: SVD coordinates within its family plus neutral, oriented (NaN for other prompts), and the
    margins.

    `row_source[f]` is the prefix type whose differences serve rows of prefix type f (`published`: always
    fixed).
    """
    if not members.any():
        raise Absent("no prompt belongs to the family of a trait")
    found = [
        [
            trait_coordinates(gram[row], ph[row], member & ~neutral, neutral, published=recipe == "published")
            for row in row_source
        ]
        for member in members
    ]
    return (
        np.stack([np.stack([coordinates for coordinates, _ in rows]) for rows in found]),
        np.stack([np.stack([margin for _, margin in rows]) for rows in found]),
    )


def trait_svd(fit: TraitFit) -> Float64[np.ndarray, "trait prefix_type prompt component"]:
    """The oriented coordinates."""
    return fit[0]


def trait_svd_margin(fit: TraitFit) -> Float64[np.ndarray, "trait prefix_type component"]:
    """How safe the orientation of each trait coordinate is: 0 arbitrary, 1 certain."""
    return fit[1]


def svd_zsum(
    trait_svd: Float64[np.ndarray, "trait prefix_type prompt component"],
) -> Float64[np.ndarray, "trait prefix_type prompt"]:
    """Sum of the z-scores over prompts of the first three trait coordinates."""
    return np.stack([np.stack([z_sum(block) for block in rows]) for rows in trait_svd])


Maker = Callable[..., np.ndarray]


def _register_all() -> None:
    matrices: Sequence[tuple[str, str, Level, str]] = (
        ("", "w (prompts x examples)", "example", "nats per token x sqrt(examples)"),
        ("token_", "delta (prompts x all tokens)", "token", "nats x sqrt(tokens)"),
    )
    for prefix, matrix, level, units in matrices:
        for name, words in (
            (f"{prefix}pca", "unscaled"),
            (f"{prefix}pca_scaled", "columns divided by their std over prompts, ddof = 0"),
        ):
            _coordinates(
                name,
                level,
                f"principal components of {matrix}",
                f"U s, centred over prompts, {words}",
                units if words == "unscaled" else "standard deviations",
                (f"{name}_explained",),
            )
            _shares(
                f"{name}_explained",
                name,
                shares,
                level,
                f"explained variance of {name}",
                "s^2 / sum s^2 of the centred matrix",
            )
        name = f"{prefix}svd"
        ratio = f"{name}_variance_ratio"
        _coordinates(
            name,
            level,
            f"singular coordinates of {matrix}",
            "U s, uncentred, unscaled, exact",
            units,
            (f"{name}_energy", ratio),
        )
        _shares(f"{name}_energy", name, shares, level, f"energy share of {name}", "s^2 / sum s^2")
        _shares(
            ratio,
            name,
            variance_ratios,
            level,
            f"scikit-learn's variance ratio of {name}",
            "var over prompts of U s / total variance (TruncatedSVD.explained_variance_ratio_)",
        )
        _traits(prefix, matrix, level, units)


def _coordinates(
    name: str, level: Level, words: str, formula: str, units: str, companions: tuple[str, ...]
) -> None:
    register(
        Heuristic(
            name,
            "spectra",
            level,
            words,
            f"{formula}; first {COMPONENTS} components",
            units,
            coordinates,
            sign=SIGN_RULE,
            dims=("prefix_type", "prompt", "component"),
            inputs={"fit": f"{name}_fit"},
            companions=companions,
        )
    )


def _shares(name: str, of: str, make: Maker, level: Level, words: str, formula: str) -> None:
    register(
        Heuristic(
            name,
            "spectra",
            level,
            words,
            formula,
            "1",
            make,
            dims=("prefix_type", "component"),
            inputs={"fit": f"{of}_fit"},
        )
    )


def _traits(prefix: str, matrix: str, level: Level, units: str) -> None:
    sign = (
        "corrected: inner product with ph positive; published: a component is flipped if the mean of neutral "
        "prompts exceeds the mean of the others"
    )
    name = f"trait_{prefix}svd"
    needs = {"fit": f"{name}_fit"}
    register(
        Heuristic(
            name,
            "spectra",
            level,
            f"trait-resolved coordinates of {matrix}",
            "svd on the prompts of one trait's family plus neutral (published: of fixed differences)",
            units,
            trait_svd,
            symbol="H4" if prefix else "H3",
            sign=sign,
            inputs=needs,
            dims=("trait", "prefix_type", "prompt", "component"),
            companions=(f"{name}_margin",),
        )
    )
    register(
        Heuristic(
            f"{name}_margin",
            "spectra",
            level,
            f"safety of the orientation of {name}",
            "abs cosine of coordinates and ph (published: difference of means / largest coordinate)",
            "1",
            trait_svd_margin,
            inputs=needs,
            dims=("trait", "prefix_type", "component"),
        )
    )
    register(
        Heuristic(
            f"{prefix}svd_zsum",
            "spectra",
            level,
            f"sum of z-scored {name}",
            f"sum over the first 3 components of z over prompts (ddof = 0) of {name}",
            "1",
            svd_zsum,
            inputs={"trait_svd": name},
            sign=sign,
            dims=("trait", "prefix_type", "prompt"),
        )
    )


_register_all()
