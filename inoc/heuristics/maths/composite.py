"""The composite heuristic H7 and the cross-trait heuristics H9a, H9b, H10."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Float64

from inoc.heuristics.frame.decorators import heuristic
from inoc.heuristics.maths.gram import z_scores

Column = Float64[np.ndarray, " prompt"]
Coordinates = Float64[np.ndarray, "prefix_type prompt component"]
Rows = Float[np.ndarray, " row"]
Cells = Float64[np.ndarray, "trait prefix_type prompt"]
ROW_DIMS = ("trait", "prefix_type", "prompt")


def composite_rows(
    elicitation: Rows, coordinate: Rows, distance: Rows, spread: Rows, is_mix: Bool[np.ndarray, " row"]
) -> Float64[np.ndarray, " row"]:
    """H7 of the rows of a table, as published: z(H1) + z(H4) + z(H5), minus z(H6) on mix rows.

    z has ddof = 1 and runs over all rows given, so the value of a row depends on the table it is in.
    """
    h1, h4, h5, h6 = (z_scores(x, ddof=1) for x in (elicitation, coordinate, distance, spread))
    return h1 + h4 + h5 - np.where(is_mix, h6, 0.0)


@heuristic(
    symbol="H7", family="composite", level="mixed", long_name="composite",
    formula="z(H1) + z(H4) + z(H5), minus z(H6) for mix; z over prompts, ddof = 1 (published: over rows)",
    units="1", dims=ROW_DIMS,
    inputs={"coordinates": "trait_token_svd", "distance": "distance_from_neutral", "spread": "rephrase_std_cos"},
)  # fmt: skip
def composite(
    elicitation: Float64[np.ndarray, "trait prompt"],
    coordinates: Float64[np.ndarray, "trait prefix_type prompt component"],
    distance: Column,
    spread: Column,
    prefix_types: Sequence[str],
    recipe: str,
) -> Cells:
    """H7 with weights of 1.

    `corrected`: each z over the prompts, within trait and prefix type, so that repeated rows change nothing.
    `published`: over all rows (trait, prefix type, prompt) that have a coordinate.

    Args:
        elicitation: H1, [trait, prompt].
        coordinates: H4 (the first component is used), [trait, prefix_type, prompt, component].
        distance: H5, [prompt].
        spread: H6, [prompt].
        prefix_types: Labels of the prefix types; H6 counts for mix only.
        recipe: corrected or published.

    Returns:
        A sum of z-scores, [trait, prefix_type, prompt]; NaN where one of them is.
    """
    h4 = coordinates[..., 0]
    is_mix = np.broadcast_to((np.array(list(prefix_types)) == "mix")[None, :, None], h4.shape)
    h1 = np.broadcast_to(elicitation[:, None, :], h4.shape)
    h5, h6 = (np.broadcast_to(x, h4.shape) for x in (distance, spread))
    if recipe == "published":
        r1, r4, r5, r6 = (np.where(np.isfinite(h4), x, np.nan).ravel() for x in (h1, h4, h5, h6))
        return composite_rows(r1, r4, r5, r6, is_mix.ravel()).reshape(h4.shape)

    def z(values: Float64[np.ndarray, "trait prefix_type prompt"]) -> Cells:
        within = np.where(np.isfinite(h4), values, np.nan)
        return np.apply_along_axis(lambda row: z_scores(row, ddof=1), -1, within)

    return z(h1) + z(h4) + z(h5) - np.where(is_mix, z(h6), 0.0)


@heuristic(
    symbol="H9a", family="composite", level="prompt", long_name="closeness to the other trait",
    formula="embedding cosine to the centroid of the other trait's family", units="1", dims=("trait", "prompt"),
)  # fmt: skip
def cross_cosine(
    cos_to_negative: Column, cos_to_positive: Column, trait_roles: Sequence[str]
) -> Float64[np.ndarray, "trait prompt"]:
    """H9a: for rows of the positive trait the cosine to the negative family, and the reverse.

    Args:
        cos_to_negative: Cosine to the negative family, [prompt].
        cos_to_positive: Cosine to the positive family, [prompt].
        trait_roles: Role of each trait.

    Returns:
        In [-1, 1], [trait, prompt].
    """
    return np.stack([cos_to_negative if role == "positive" else cos_to_positive for role in trait_roles])


def _signed_second(
    name: str, symbol: str, source: str, words: str, units: str
) -> Callable[[Coordinates, Sequence[str]], Cells]:
    @heuristic(
        name=name, symbol=symbol, family="composite", level="token", units=units, dims=ROW_DIMS,
        long_name=f"second {words} coordinate, signed by trait",
        formula=f"{source} component 2; + on negative-trait rows, - on positive-trait rows",
        inputs={"coordinates": source},
    )  # fmt: skip
    def signed_second(coordinates: Coordinates, trait_roles: Sequence[str]) -> Cells:
        """The second coordinate, sign + on rows of the negative trait and - on rows of the positive trait.

        Args:
            coordinates: Tokenwise coordinates, [prefix_type, prompt, component].
            trait_roles: Role of each trait.

        Returns:
            In the units of the coordinates, [trait, prefix_type, prompt].
        """
        sign = np.array([1.0 if role == "negative" else -1.0 for role in trait_roles])
        return sign[:, None, None] * coordinates[None, :, :, 1]

    return signed_second


cross_token_svd = _signed_second("cross_token_svd", "H9b", "token_svd", "tokenwise svd", "nats x sqrt(tokens)")
cross_token_pca = _signed_second(
    "cross_token_pca", "H10", "token_pca_scaled", "scaled tokenwise pca", "standard deviations"
)
