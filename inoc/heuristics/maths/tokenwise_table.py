"""The tokenwise heuristics as rows of the table: each is one field of the one pass over tokens.

Formulas on bare arrays are in `inoc.heuristics.maths.tokenwise`; the pass is `inoc.heuristics.tokens.one_pass`.
`published` computes the HB family from fixed differences only; `corrected` uses the row's own prefix type.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64, Int64

from inoc.heuristics.frame.registry import Heuristic, register
from inoc.heuristics.tokens.one_pass import TokenStatistics

Cells = Float64[np.ndarray, "prefix_type prompt"]
Maker = Callable[..., np.ndarray]


def field(name: str) -> Maker:
    """A heuristic that is a field of the statistics, of the row's own prefix type under either recipe."""

    def read(statistics: TokenStatistics) -> Cells:
        return np.asarray(getattr(statistics, name), dtype=np.float64)

    return read


def source_field(name: str) -> Maker:
    """A heuristic of the HB family: `row_source` says whose differences serve each prefix type."""

    def read(statistics: TokenStatistics, row_source: Int64[np.ndarray, " prefix_type"]) -> Cells:
        return np.asarray(getattr(statistics, name), dtype=np.float64)[row_source]

    return read


def spectrum_field(name: str) -> Maker:
    """A field that needs the spectrum of the examples x positions matrix; `published` has its own."""

    def read(spectrum: TokenStatistics, row_source: Int64[np.ndarray, " prefix_type"], recipe: str) -> Cells:
        chosen = f"{name}_published" if recipe == "published" else name
        return np.asarray(getattr(spectrum, chosen), dtype=np.float64)[row_source]

    return read


def abs_minus_signed(mean_abs: Cells, mean_signed: Cells) -> Cells:
    """H12: H11 - H14."""
    return mean_abs - mean_signed


def strength_coherence(ph: Cells, coherence: Cells) -> Cells:
    """HB4: ph times HB1."""
    return ph * coherence


NATS, ONE = "nats", "1"
ROWS: tuple[tuple[str, str, str, str, str, Maker], ...] = (
    ("mean_abs", "H11", "mean absolute token difference", "mean abs(delta)", NATS, field("mean_abs")),
    ("abs_minus_signed", "H12", "absolute minus signed token difference", "H11 - H14", NATS,
     abs_minus_signed),
    ("mean_square", "H13", "mean square token difference", "mean delta^2", "nats^2", field("mean_square")),
    ("mean_signed", "H14", "mean token difference", "mean delta (token-weighted)", NATS,
     field("mean_signed")),
    ("filtered", "HA2", "mean of the strong token differences", "mean(delta * 1[abs(delta) > 0.5])", NATS,
     field("filtered")),
    ("top_quarter", "HA3", "mean of the strongest quarter of tokens",
     "signed mean over the max(1, floor(n/4)) tokens of largest abs(delta), ties averaged", NATS,
     field("top_quarter")),
    ("gradient", "HA4", "mean gradient magnitude", "mean(1 - exp(-abs(delta)))", ONE, field("gradient")),
    ("filtered_gradient", "HA5", "mean gradient magnitude of strong tokens",
     "mean((1 - exp(-abs(delta))) * 1[abs(delta) > 0.5])", ONE, field("filtered_gradient")),
    ("coherence", "HB1", "coherence over examples",
     "leading energy share of the examples x positions matrix, first 512 positions (published: "
     "TruncatedSVD's explained_variance_ratio_[0], fixed differences)", ONE, spectrum_field("coherence")),
    ("loss_decay", "HB2", "simulated loss decay",
     "L = abs(delta); 32 times g = 1 - exp(-L), total += g, L -= 0.01 g; mean total", ONE,
     source_field("loss_decay")),
    ("persistent", "HB3", "share of persistent positions",
     "of positions with >= 10 examples, share where abs(delta) > 0.1 in at least half of them", ONE,
     source_field("persistent")),
    ("strength_coherence", "HB4", "strength times coherence", "ph * HB1", "nats per token",
     strength_coherence),
    ("effective_rank", "HB5", "components for half of the energy",
     "smallest r whose cumulative energy share reaches 0.50, matrix of HB1", ONE,
     spectrum_field("effective_rank")),
    ("residual", "HB6", "residual of the simulated loss decay", "mean final L of HB2 = H11 - 0.01 HB2", NATS,
     source_field("residual")),
    ("recovered", "", "recovered tokens", "of tokens with p_default < 0.1, share with p_prefixed > 0.1", ONE,
     field("recovered")),
    ("recovered_of_all", "", "recovered tokens among all tokens",
     "share of all tokens with p_default < 0.1 and p_prefixed > 0.1", ONE, field("recovered_of_all")),
    ("n_tokens", "", "tokens with a finite difference", "number of finite delta", ONE, field("count")),
)  # fmt: skip
SIGNED = {"mean_signed", "filtered", "top_quarter"}
GROW_WITH_EXAMPLES = {"coherence", "persistent", "effective_rank"}
"""Comparable only at equal n_examples, which therefore comes along."""

for _name, _symbol, _words, _formula, _units, _function in ROWS:
    register(
        Heuristic(
            _name,
            "tokenwise",
            "token",
            _words,
            _formula,
            _units,
            _function,
            symbol=_symbol,
            sign="positive: the prompt makes the tokens more likely" if _name in SIGNED else "",
            companions=("n_examples",) if _name in GROW_WITH_EXAMPLES else (),
        )
    )
