"""Angles between prompts, in degrees: between rows of w or delta as they are, or in their top-2 SVD or PCA
coordinates (centered: misleading across traits, kept for comparison).

Angles use atan2, which stays accurate where arccos loses half the digits. NaN where a norm is below 1e-10.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from inoc.heuristics.frame.declarations import MATRICES, PROMPTS, Companion, interval
from inoc.heuristics.frame.decorators import heuristic, intermediate
from inoc.heuristics.frame.protocols import Absent
from inoc.heuristics.frame.registry import dimension
from inoc.heuristics.maths.gram import Decomposition
from inoc.intervals import bootstrap_counts
from inoc.quantiles import t_tails

Mask = Bool[np.ndarray, " prompt"]
Column = Float64[np.ndarray, " prompt"]
Grams = Float64[np.ndarray, "prefix_type prompt prompt"]
Fits = Sequence[Decomposition]
MINIMUM_NORM = 1e-10
REPRESENTATIONS = ("raw", "svd2", "pca2")
CATEGORIES = ("within_negative", "within_positive", "cross", "negative_neutral", "positive_neutral")
PREDICTORS = (
    "angle_from_pca_axis",
    "angle_from_svd_axis",
    "angle_to_centroid_pca",
    "angle_to_centroid_svd",
    "angle_to_centroid_raw",
)
dimension("representation", REPRESENTATIONS)
dimension("category", CATEGORIES)
dimension("predictor", PREDICTORS)
PER_PROMPT = ("representation", "prefix_type", "prompt")
PER_CATEGORY = ("representation", "prefix_type", "category")
FITS = {"gram": "{token}gram", "svd": "{token}svd_fit", "pca": "{token}pca_fit"}
SHOW_R_FROM = 8
"""Below this many points no correlation is shown."""
RESAMPLES = 1000

Square = Float64[np.ndarray, "prompt prompt"]
Planar = Float64[np.ndarray, "prompt 2"]
Angles = Float64[np.ndarray, "representation prefix_type prompt prompt"]
PromptAngles = Float64[np.ndarray, "representation prefix_type prompt"]
CategoryTable = Float64[np.ndarray, "statistic representation prefix_type category"]


def angles_from_gram(gram: Square) -> Square:
    """Angles between rows from inner products: 2 atan2(|u - v|, |u + v|), unit rows. Diagonal 0."""
    square = np.diagonal(gram)
    norm = np.sqrt(np.where(square > 0, square, 0.0))
    usable = norm >= MINIMUM_NORM
    scale = np.where(usable, norm, 1.0)
    cosine = np.clip(gram / scale[:, None] / scale[None, :], -1.0, 1.0)
    angle = np.degrees(2 * np.arctan2(np.sqrt(1 - cosine), np.sqrt(1 + cosine)))
    np.fill_diagonal(angle, 0.0)
    return np.where(usable[:, None] & usable[None, :] & np.isfinite(gram), angle, np.nan)


def planar_angles(points: Planar, others: Planar | None = None) -> Float64[np.ndarray, "prompt other"]:
    """Angles between points of the plane, seen from the origin: atan2(abs(cross product), inner product)."""
    others = points if others is None else others
    inner = points @ others.T
    cross = np.outer(points[:, 0], others[:, 1]) - np.outer(points[:, 1], others[:, 0])
    usable = np.hypot(*points.T)[:, None] >= MINIMUM_NORM
    usable = usable & (np.hypot(*others.T)[None, :] >= MINIMUM_NORM)
    angle = np.degrees(np.arctan2(np.abs(cross), inner))
    if others is points:
        np.fill_diagonal(angle, 0.0)
    return np.where(usable & np.isfinite(angle), angle, np.nan)


@heuristic(
    family="angles", matrices=MATRICES, long_name="angle between prompts, rows of {matrix}", units="degrees",
    formula="atan2 form; raw rows, their top-2 SVD and PCA coordinates",
    dims=(*PER_PROMPT, "other_prompt"), rests_on=PROMPTS, inputs=FITS,
)  # fmt: skip
def angle(gram: Grams, svd: Fits, pca: Fits) -> Angles:
    """Angles between all prompts.

    Args:
        gram: Inner products of the rows, [prefix_type, prompt, prompt].
        svd: SVD of the rows, one per prefix type.
        pca: PCA of the rows, one per prefix type.

    Returns:
        Degrees in the representations raw, svd2, pca2, [representation, prefix_type, prompt, prompt]; NaN
        where a norm is below 1e-10.
    """
    raw = [angles_from_gram(block) for block in gram]
    planar = [[planar_angles(fit.coordinates[:, :2]) for fit in fits] for fits in (svd, pca)]
    return np.stack([np.stack(raw), *(np.stack(blocks) for blocks in planar)])


def mean_angle_to(
    angle: Float64[np.ndarray, "*batch prompt prompt"], group: Mask
) -> Float64[np.ndarray, "*batch prompt"]:
    """Mean angle of each prompt to the other prompts of a group; NaN if there are none."""
    others = group[None, :] & ~np.eye(len(group), dtype=bool)
    use = others & np.isfinite(angle)
    with np.errstate(invalid="ignore"):
        return np.where(use, angle, 0.0).sum(-1) / use.sum(-1)


def _angle_to(role: str) -> Callable[[Angles, Sequence[str]], PromptAngles]:
    @heuristic(
        name=f"{{token}}angle_to_{role}", family="angles", matrices=MATRICES, dims=PER_PROMPT, rests_on=PROMPTS,
        long_name=f"mean angle to the other {role} prompts", formula=f"over the prompts of role {role}",
        units="degrees", inputs={"angle": "{token}angle"},
    )  # fmt: skip
    def angle_to(angle: Angles, roles: Sequence[str]) -> PromptAngles:
        """Mean angle to the other prompts of one role.

        Args:
            angle: Degrees, [representation, prefix_type, prompt, prompt].
            roles: Role of each prompt.

        Returns:
            Degrees, [representation, prefix_type, prompt]; NaN where there is no other such prompt.
        """
        return mean_angle_to(angle, _role(roles, role))

    return angle_to


angle_to_negative, angle_to_positive = _angle_to("negative"), _angle_to("positive")


class CategoryStatistics(NamedTuple):
    """Statistics of the angles over the pairs of one category."""

    mean: float
    std: float
    n: int
    lower: float
    upper: float


def category_statistics(
    angle: Square, rows: Mask, columns: Mask, *, published: bool, resamples: int = RESAMPLES, seed: int = 0
) -> CategoryStatistics:
    """Mean, std, number of pairs and a 95 % prompt bootstrap interval of the mean angle.

    Pairs are of one prompt in `rows` and one in `columns`, unordered, std with ddof = 1. `published`: ordered
    pairs where both groups are the same (each counts twice, the mean stays), std with ddof = 0. The bootstrap
    draws prompts, not pairs; pairs of a prompt with its own copy are left out.
    """
    within = bool((rows == columns).all())
    pairs = np.outer(rows, columns) & np.isfinite(angle)
    np.fill_diagonal(pairs, False)
    values = angle[np.triu(pairs) if within else pairs]
    n = len(values)
    if n == 0:
        return CategoryStatistics(np.nan, np.nan, 0, np.nan, np.nan)
    mean = float(values.mean())
    ddof = 0 if published else 1
    std = float(values.std(ddof=ddof)) if n > ddof else float("nan")
    drawn = bootstrap_counts(len(angle), resamples, seed).astype(np.float64)
    weight = np.where(pairs, 1.0, 0.0)
    with np.errstate(invalid="ignore"):
        sums = ((drawn @ np.where(pairs, angle, 0.0)) * drawn).sum(1)
        means = sums / ((drawn @ weight) * drawn).sum(1)
    means = means[np.isfinite(means)]
    lower, upper = np.quantile(means, [0.025, 0.975]) if len(means) else (np.nan, np.nan)
    return CategoryStatistics(mean, std, 2 * n if published and within else n, float(lower), float(upper))


def categories(roles: Sequence[str]) -> dict[str, tuple[Mask, Mask]]:
    """The two groups of prompts of each category of pairs."""
    negative, positive, neutral = (_role(roles, role) for role in ("negative", "positive", "neutral"))
    pairs = ((negative, negative), (positive, positive), (negative, positive), (negative, neutral), (positive, neutral))
    return dict(zip(CATEGORIES, pairs, strict=True))


@intermediate(name="{token}angle_category_fit", matrices=MATRICES, inputs={"angle": "{token}angle"})
def category_fit(angle: Angles, roles: Sequence[str], recipe: str) -> CategoryTable:
    """mean, std, n, lower, upper of every category, in every representation and prefix type."""
    table = np.array(
        [
            [
                [
                    category_statistics(block, rows, columns, published=recipe == "published")
                    for rows, columns in categories(roles).values()
                ]
                for block in blocks
            ]
            for blocks in angle
        ],
        dtype=np.float64,
    )
    return np.moveaxis(table, -1, 0)


def angle_category_std(fit: CategoryTable) -> Float64[np.ndarray, "representation prefix_type category"]:
    """Standard deviation over pairs."""
    return fit[1]


def angle_category_n(fit: CategoryTable) -> Int64[np.ndarray, "representation prefix_type category"]:
    """Number of pairs."""
    return fit[2].astype(np.int64)


def angle_category_ci(fit: CategoryTable) -> Float64[np.ndarray, "representation prefix_type category bound"]:
    """95 % prompt bootstrap interval of the mean."""
    return np.moveaxis(fit[3:5], 0, -1)


@heuristic(
    family="angles", matrices=MATRICES, long_name="mean angle of a category of pairs", units="degrees",
    formula="mean over the unordered pairs", dims=PER_CATEGORY, rests_on=PROMPTS,
    inputs={"fit": "{token}angle_category_fit"},
    companions=(
        Companion("{token}angle_category_std", angle_category_std, "spread of the angles of a category",
                  "std, ddof = 1 (published: 0, ordered pairs)"),
        Companion("{token}angle_category_n", angle_category_n, "pairs of a category",
                  "unordered pairs (published: ordered within a role)", "1"),
        interval(angle_category_ci, "prompt bootstrap, percentile", name="{token}angle_category_ci",
                 of="mean angle of a category"),
    ),
)  # fmt: skip
def angle_category_mean(fit: CategoryTable) -> Float64[np.ndarray, "representation prefix_type category"]:
    """Mean angle over the pairs of each category.

    Args:
        fit: What `category_fit` gives.

    Returns:
        Degrees, [representation, prefix_type, category]; NaN for a category without pairs.
    """
    return fit[0]


def centroid_angles(gram: Square, group: Mask) -> Column:
    """Angle of every row to the mean row of a group, from inner products."""
    use = group & np.isfinite(np.diagonal(gram))
    if not use.any():
        return np.full(len(gram), np.nan)
    with_mean = np.empty((len(gram) + 1, len(gram) + 1))
    with_mean[:-1, :-1] = gram
    with_mean[-1, :-1] = with_mean[:-1, -1] = gram[:, use].mean(1)
    with_mean[-1, -1] = gram[np.ix_(use, use)].mean()
    return angles_from_gram(with_mean)[:-1, -1]


@heuristic(
    family="angles", matrices=MATRICES, long_name="Q2 predictors", units="degrees",
    formula="atan2(abs dim 2, abs dim 1) in PCA and SVD; angle to the other role's mean vector",
    dims=("predictor", "prefix_type", "prompt"), rests_on=PROMPTS, inputs=FITS,
)  # fmt: skip
def cross_angle(
    gram: Grams, svd: Fits, pca: Fits, roles: Sequence[str]
) -> Float64[np.ndarray, "predictor prefix_type prompt"]:
    """Five predictors of the suppression of the *other* trait (Q2), in degrees.

    atan2(abs PC2, abs PC1), atan2(abs SV2, abs SV1), and the angle to the mean vector of the prompts of the
    other role in PCA-2, SVD-2 and raw rows; the last three are NaN for neutral prompts. The prompt itself is
    never part of the other group.

    Args:
        gram: Inner products of the rows, [prefix_type, prompt, prompt].
        svd: SVD of the rows, one per prefix type.
        pca: PCA of the rows, one per prefix type.
        roles: Role of each prompt.

    Returns:
        Degrees, [predictor, prefix_type, prompt].

    Raises:
        Absent: No prompt has the role positive or negative.
    """
    negative, positive = _role(roles, "negative"), _role(roles, "positive")
    if not (negative.any() or positive.any()):
        raise Absent("no prompt has the role positive or negative")
    table = np.full((len(PREDICTORS), len(gram), gram.shape[-1]), np.nan)
    for f, (block, singular, principal) in enumerate(zip(gram, svd, pca, strict=True)):
        planes = principal.coordinates[:, :2], singular.coordinates[:, :2]
        for row, plane in enumerate(planes):
            axis_angle = np.degrees(np.arctan2(np.abs(plane[:, 1]), np.abs(plane[:, 0])))
            table[row, f] = np.where(np.hypot(*plane.T) >= MINIMUM_NORM, axis_angle, np.nan)
        for group, other in ((positive, negative), (negative, positive)):
            for row, square in enumerate([plane @ plane.T for plane in planes]):
                table[2 + row, f, group] = centroid_angles(square, other)[group]
            table[4, f, group] = centroid_angles(block, other)[group]
    return table


class Correlation(NamedTuple):
    """Pearson r, its two-sided p, and the number of points."""

    r: float
    p: float
    n: int


def correlation(x: Column, y: Column, *, show_from: int = SHOW_R_FROM) -> Correlation:
    """Pearson r over the pairs finite in both; NaN with fewer than `show_from` points or a constant side."""
    both = np.isfinite(x) & np.isfinite(y)
    n = int(both.sum())
    if n < max(show_from, 3) or np.ptp(x[both]) == 0 or np.ptp(y[both]) == 0:
        return Correlation(np.nan, np.nan, n)
    r = float(np.clip(np.corrcoef(x[both], y[both])[0, 1], -1.0, 1.0))
    t = abs(r) * np.sqrt((n - 2) / (1 - r**2)) if abs(r) < 1 else np.inf
    return Correlation(r, float(t_tails(np.asarray(t), np.asarray(n - 2))), n)


def q1(
    plane: Planar, suppression: Float64[np.ndarray, "trait prompt"], *, show_from: int = SHOW_R_FROM
) -> list[list[Correlation]]:
    """Q1: signed Dim1 and Dim2 (outer list) against the suppression of each trait (inner list)."""
    return [[correlation(plane[:, d], of_trait, show_from=show_from) for of_trait in suppression] for d in (0, 1)]


def _role(roles: Sequence[str], role: str) -> Mask:
    return np.array([given == role for given in roles], dtype=bool)
