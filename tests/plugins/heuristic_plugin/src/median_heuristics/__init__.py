"""Heuristics of every kind that a package can add: of examples, of others, of tokens, of whole rows, of runs."""

from collections.abc import Sequence

import numpy as np

from inoc.heuristics import heuristic, token_mean, token_row
from inoc.heuristics.frame.protocols import RunLike
from inoc.heuristics.tokens.layout import TokenRows
from inoc.heuristics.tokens.terms import Tokens


@heuristic(
    symbol="MED",
    family="pointwise",
    level="example",
    long_name="median difference",
    formula="median_k w",
    units="nats per token",
)
def median_difference(w: np.ndarray) -> np.ndarray:
    """A robust cousin of the perplexity heuristic."""
    return np.nanmedian(w, axis=-1)


@heuristic(
    family="robust",
    level="example",
    long_name="mean minus median",
    formula="ph - median_difference",
    units="nats per token",
)
def skew(ph: np.ndarray, median_difference: np.ndarray) -> np.ndarray:
    """Built on one of inoc's and one of its own."""
    return ph - median_difference


@token_mean(long_name="mean root difference", formula="mean sqrt(abs(delta))", units="nats^1/2")
def mean_root(size: Tokens, xp: object) -> Tokens:
    """A term of the one pass over tokens; `size` is inoc's abs(delta), computed once for all terms."""
    return xp.sqrt(size)  # type: ignore[attr-defined]


@token_row(long_name="median token difference", formula="median of delta", units="nats")
def median_token(delta: np.ndarray) -> float:
    """A number of one whole row: no sum over tokens gives a median."""
    finite = delta[np.isfinite(delta)]
    return float(np.median(finite)) if finite.size else float("nan")


@heuristic(
    family="robust",
    level="token",
    long_name="mean difference of first tokens",
    formula="mean delta at position 0",
    units="nats",
)
def first_token(token_rows: TokenRows, prefix_types: Sequence[str], prompts: Sequence[str]) -> np.ndarray:
    """From the stream of whole rows, with the layout of examples along the tokens."""
    found = np.full((len(prefix_types), len(prompts)), np.nan)
    for row in token_rows:
        first = row.delta[row.layout.position == 0]
        found[prefix_types.index(row.prefix_type), prompts.index(row.prompt)] = np.nanmean(first)
    return found


@heuristic(
    family="robust",
    level="prompt",
    long_name="runs trained with the prompt",
    formula="number of runs",
    units="1",
    dims=("prompt",),
)
def n_runs(runs: Sequence[RunLike], prompts: Sequence[str]) -> np.ndarray:
    """From facts about runs."""
    return np.array([sum(run.prompt == prompt for run in runs) for prompt in prompts])
