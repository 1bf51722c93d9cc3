"""Decompositions from Gram matrices: G[n, m] = <row n, row m> is all that PCA, SVD, subsets and angles need.

Rows are prompts. Missing entries count as zero difference (they are masked, never shifted), so every subset
of prompts is a sub-block of G, and the result equals a fresh decomposition of the sub-matrix. A prompt
without any data has NaN in its row of G; it takes no part and its coordinates are NaN.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from inoc.heuristics.frame.declarations import MATRICES
from inoc.heuristics.frame.decorators import intermediate
from inoc.heuristics.frame.registry import dimension

Square = Float64[np.ndarray, "prompt prompt"]
Coordinates = Float64[np.ndarray, "prompt component"]
Shares = Float64[np.ndarray, " component"]
Mask = Bool[np.ndarray, " prompt"]
Column = Float64[np.ndarray, " prompt"]
COMPONENTS = 5
dimension("component", tuple(range(1, COMPONENTS + 1)))
TIE = 1e-9
"""Relative difference below which two coordinates count as equally large in the sign rule."""
SIGN_RULE = "the coordinate of largest absolute value of each component is positive (first prompt among equals)"


Rows = Float64[np.ndarray, "prefix_type prompt example"]
Grams = Float64[np.ndarray, "prefix_type prompt prompt"]


class Decomposition(NamedTuple):
    """Leading components of a matrix with prompts as rows; strongest first."""

    coordinates: Coordinates
    """U s: the projection of each prompt on each component, in the units of the rows times sqrt(columns)."""
    share: Shares
    """s^2 / sum s^2: explained variance for PCA, energy share for SVD."""
    singular_values: Shares
    variance_ratio: Shares
    """var over prompts of the coordinates / total variance: scikit-learn's `explained_variance_ratio_`."""


def gram_matrix(rows: Float[np.ndarray, "*batch prompt column"]) -> Float64[np.ndarray, "*batch prompt prompt"]:
    """Inner products of rows in float64, missing entries as 0; rows without any finite entry give NaN."""
    rows = np.asarray(rows, dtype=np.float64)
    finite = np.isfinite(rows)
    filled = np.where(finite, rows, 0.0)
    empty = ~np.any(finite, axis=-1, keepdims=True)
    gram = filled @ np.swapaxes(filled, -1, -2)
    return np.where(empty | np.swapaxes(empty, -1, -2), np.nan, gram)


def standardized(rows: Float[np.ndarray, "*batch prompt column"]) -> Float64[np.ndarray, "*batch prompt column"]:
    """Columns divided by their std over prompts (ddof=0) after centering; constant columns become 0.

    Missing entries are left out of mean and std and stay NaN.
    """
    rows = np.asarray(rows, dtype=np.float64)
    finite = np.isfinite(rows)
    n = np.maximum(finite.sum(-2, keepdims=True), 1)
    mean = np.where(finite, rows, 0.0).sum(-2, keepdims=True) / n
    centered = rows - mean
    std = np.sqrt((np.where(finite, centered, 0.0) ** 2).sum(-2, keepdims=True) / n)
    constant = std <= 1e-12 * np.abs(mean)
    return np.where(constant, np.where(finite, 0.0, np.nan), centered / np.where(constant, 1.0, std))


def fix_signs(coordinates: Coordinates) -> Coordinates:
    """Flip columns so that the entry of largest absolute value is positive."""
    if coordinates.shape[0] == 0:
        return coordinates
    size = np.abs(coordinates)
    leader = (size >= (1 - TIE) * size.max(0)).argmax(0)
    return coordinates * np.where(np.take_along_axis(coordinates, leader[None], 0)[0] < 0, -1.0, 1.0)


def decompose(gram: Square, *, centered: bool, components: int = COMPONENTS) -> Decomposition:
    """PCA (`centered`: double-centered Gram) or SVD of the rows behind a Gram matrix, exact.

    Components beyond the number of prompts with data are NaN; a component whose energy is rounding error has
    coordinates 0.
    """
    use = np.isfinite(np.diagonal(gram))
    n = int(use.sum())
    coordinates = np.full((len(use), components), np.nan)
    share, singular, ratio = (np.full(components, np.nan) for _ in range(3))
    if n == 0:
        return Decomposition(coordinates, share, singular, ratio)
    block = gram[np.ix_(use, use)]
    block = (block + block.T) / 2
    plain = double_centered(block)
    working = plain if centered else block
    values, vectors = np.linalg.eigh(working)
    values, vectors = values[::-1], vectors[:, ::-1]
    values = np.where(values > n * np.finfo(np.float64).eps * max(values[0], 0.0), values, 0.0)
    kept = min(components, n)
    total = np.trace(working)
    found = fix_signs(vectors[:, :kept] * np.sqrt(values[:kept]))
    coordinates[use, :kept] = found
    singular[:kept] = np.sqrt(values[:kept])
    if values[0] > 0 and total > 0:
        share[:kept] = values[:kept] / total
    if (variance := np.trace(plain) / n) > 0:
        ratio[:kept] = found.var(0) / variance
    return Decomposition(coordinates, share, singular, ratio)


Fit = list[Decomposition]


@intermediate()
def gram(w: Rows) -> Grams:
    """Inner products of the rows of w, per prefix type."""
    return gram_matrix(w)


@intermediate()
def gram_scaled(w: Rows) -> Grams:
    """Inner products of the rows of w after dividing every column by its std over prompts."""
    return gram_matrix(standardized(w))


@intermediate(inputs={"gram": "statistics.gram", "count": "n_tokens"})
def token_gram(gram: Grams, count: Int64[np.ndarray, "prefix_type prompt"]) -> Grams:
    """Inner products of the rows of delta, per prefix type; NaN for a prompt without data."""
    return _without_empty(gram, count)


@intermediate(inputs={"gram": "statistics.gram_scaled", "count": "n_tokens"})
def token_gram_scaled(gram: Grams, count: Int64[np.ndarray, "prefix_type prompt"]) -> Grams:
    """Inner products of the rows of delta after dividing every column by its std over prompts."""
    return _without_empty(gram, count)


def _without_empty(gram: Grams, count: Int64[np.ndarray, "prefix_type prompt"]) -> Grams:
    empty = count == 0
    return np.where(empty[:, :, None] | empty[:, None, :], np.nan, gram)


@intermediate(matrices=MATRICES, inputs={"gram": "{token}gram"})
def pca_fit(gram: Grams) -> Fit:
    """PCA, per prefix type."""
    return [decompose(block, centered=True) for block in gram]


@intermediate(matrices=MATRICES, inputs={"gram": "{token}gram_scaled"})
def pca_scaled_fit(gram: Grams) -> Fit:
    """PCA with scaled columns, per prefix type."""
    return [decompose(block, centered=True) for block in gram]


@intermediate(matrices=MATRICES, inputs={"gram": "{token}gram"})
def svd_fit(gram: Grams) -> Fit:
    """SVD, per prefix type."""
    return [decompose(block, centered=False) for block in gram]


def double_centered(gram: Square) -> Square:
    """The Gram matrix of the rows minus their mean row."""
    mean = gram.mean(0)
    return gram - mean[None, :] - mean[:, None] + mean.mean()


def trait_coordinates(
    gram: Square, ph: Column, member: Mask, neutral: Mask, *, published: bool, components: int = COMPONENTS
) -> tuple[Coordinates, Shares]:
    """SVD coordinates within one trait's family plus the neutral prompts, oriented; NaN for all other prompts.

    `published` flips component j if the mean of the neutral prompts exceeds the mean of the others. Otherwise each
    component is oriented along `ph`. The margin says how safe the orientation is: the absolute cosine between the
    component's coordinates and `ph` (`published`: the difference of means over the largest absolute coordinate).
    """
    chosen = member | neutral
    coordinates = np.full((len(ph), components), np.nan)
    margin = np.full(components, np.nan)
    if not chosen.any():
        return coordinates, margin
    found = decompose(gram[np.ix_(chosen, chosen)], centered=False, components=components).coordinates
    for j in range(components):
        column = found[:, j]
        if published:
            lead = _mean(column[~neutral[chosen]]) - _mean(column[neutral[chosen]])
            scale = np.nanmax(np.abs(column)) if np.isfinite(column).any() else np.nan
        else:
            both = np.isfinite(column) & np.isfinite(ph[chosen])
            lead = float(column[both] @ ph[chosen][both])
            scale = float(np.linalg.norm(column[both]) * np.linalg.norm(ph[chosen][both]))
        if lead < 0:
            found[:, j] = -column
        margin[j] = abs(lead) / scale if scale > 0 else np.nan
    coordinates[chosen] = found
    return coordinates, margin


def _mean(values: Float64[np.ndarray, " n"]) -> float:
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")


def z_sum(coordinates: Coordinates, components: int = 3) -> Column:
    """Sum over the first components of z-scores over the prompts with data (ddof=0); a constant component adds 0."""
    total = np.zeros(len(coordinates))
    for j in range(min(components, coordinates.shape[1])):
        total = total + z_scores(coordinates[:, j], ddof=0)
    return total


def z_scores(values: Float64[np.ndarray, " row"], *, ddof: int) -> Float64[np.ndarray, " row"]:
    """(x - mean) / std over the finite values; NaN stays NaN; constant values give 0."""
    values = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(values)
    if int(finite.sum()) <= ddof:
        return np.full(values.shape, np.nan)
    centered = values - values[finite].mean()
    spread = float(values[finite].std(ddof=ddof))
    scale = float(np.abs(values[finite]).max())
    return centered / spread if spread > 1e-14 * scale else np.where(finite, 0.0, np.nan)
