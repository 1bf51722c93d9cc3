"""Choosing a predictor by its leave-one-family-out error, and saying honestly how wrong the chosen one is.

Choosing looks at errors, so the error of the chosen one is too good. The errors reported here are nested:
whatever is left out plays no part in the choice either.
"""

# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Shaped

from inoc.outcomes import calibration
from inoc.outcomes.calibration import Predictor, error, fit, left_out_predictions

Columns = tuple[int, ...]
"""Heuristics a candidate reads, as rows of the heuristics matrix; none is the constant."""

ENOUGH = 10
"""Distinct prompts below which only candidates of at most one heuristic are tried."""


@dataclass(frozen=True)
class Sample:
    """Rows to learn from: heuristics, share of the control's score, control score (pp), and their labels."""

    x: Float64[np.ndarray, "heuristic row"]
    share: Float64[np.ndarray, " row"]
    control: Float64[np.ndarray, " row"]
    prompt: Shaped[np.ndarray, " row"]
    family: Shaped[np.ndarray, " row"]
    store: Shaped[np.ndarray, " row"]

    def take(self, rows: Shaped[np.ndarray, " row"]) -> "Sample":
        """The rows of a mask."""
        labels = (self.prompt, self.family, self.store)
        return Sample(self.x[:, rows], self.share[rows], self.control[rows], *(column[rows] for column in labels))

    def groups(self, left_out: str) -> Shaped[np.ndarray, " row"]:
        """The labels of one grouping: "prompt", "family" or "store"."""
        return {"prompt": self.prompt, "family": self.family, "store": self.store}[left_out]

    @property
    def prompts(self) -> int:
        """Distinct prompts."""
        return int(np.unique(self.prompt).size)


def select(sample: Sample, candidates: Sequence[Columns]) -> Columns:
    """The candidate with the smallest leave-one-family-out error (pp, RMSE); the first of equals.

    Where no family can be left out (there is one, or too few rows remain), leave-one-prompt-out. Below 10 distinct
    prompts candidates of several heuristics are not tried. Errors are compared over the rows that the mean can
    predict; a candidate that cannot predict them all is passed over. With one candidate there is nothing to choose.
    """
    if len(candidates) == 1:
        return candidates[0]
    tried = [c for c in candidates if len(c) < 2 or sample.prompts >= ENOUGH]
    observed = sample.share * sample.control
    best, best_error = (), np.inf
    for groups in (sample.family, sample.prompt):
        rows = np.isfinite(left_out_predictions(sample.x, sample.share, groups))
        if not rows.any():
            continue
        for columns in tried:
            predicted = left_out_predictions(sample.x, sample.share, groups, columns) * sample.control
            if np.isfinite(predicted[rows]).all():
                wrong = error(predicted[rows], observed[rows])
                if wrong < best_error:
                    best, best_error = columns, wrong
        break
    return best


def chosen_fit(sample: Sample, candidates: Sequence[Columns]) -> tuple[Columns, Predictor | None]:
    """Select and fit on all rows."""
    columns = select(sample, candidates)
    return columns, fit(sample.x, sample.share, columns)


def nested_predictions(sample: Sample, left_out: str, candidates: Sequence[Columns]) -> Float64[np.ndarray, " row"]:
    """Every row (share) predicted by a predictor chosen and fitted without its group; NaN where none can be.

    One candidate means no choice: then it is plain leave-one-group-out.
    """
    return calibration.left_out(
        sample.x, sample.groups(left_out), lambda rows: chosen_fit(sample.take(rows), candidates)[1]
    )


def rms_by_prompt(sample: Sample, predicted: Float64[np.ndarray, " row"]) -> Float64[np.ndarray, " prompt"]:
    """Root mean square residual (share) of each prompt: one number per prompt, as its rows err together."""
    residual = predicted - sample.share
    found = [residual[(sample.prompt == label) & np.isfinite(residual)] for label in np.unique(sample.prompt)]
    return np.array([np.sqrt(np.mean(r**2)) for r in found if r.size], dtype=np.float64)


SLACK = 0.1
"""Share of a heuristic's trained range by which a prompt may lie beyond it and still be given a number."""


def far_outside(sample: Sample, columns: Columns, new: Float64[np.ndarray, " heuristic"]) -> bool:
    """Whether a new prompt lies beyond the trained range of a heuristic by more than `SLACK` of its width."""
    return bool(_beyond(sample, columns, new, SLACK))


def _beyond(
    sample: Sample, columns: Columns, new: Float64[np.ndarray, " heuristic"], slack: float
) -> list[tuple[int, float, float]]:
    """Heuristics whose trained range a new prompt leaves by more than this share of its width, with the range."""
    found: list[tuple[int, float, float]] = []
    for c in columns:
        low, high = float(np.nanmin(sample.x[c])), float(np.nanmax(sample.x[c]))
        room = slack * (high - low)
        if new[c] < low - room or new[c] > high + room:
            found.append((c, low, high))
    return found


def outside(sample: Sample, columns: Columns, names: Sequence[str], new: Float64[np.ndarray, " heuristic"]) -> str:
    """Why a new prompt lies outside the calibration, or "": a heuristic beyond the trained range, or too
    high a leverage.

    Leverage h = 1/n + z' (Z Z' )^+ z of the standardized heuristics; outside when above the largest of the trained.
    """
    reasons = [
        f"{names[c]} {new[c]:.3g} is outside [{low:.3g}, {high:.3g}]"
        for c, low, high in _beyond(sample, columns, new, 0.0)
    ]
    if reasons or len(columns) < 2:
        return "; ".join(reasons)
    x = sample.x[list(columns)]
    center, scale = x.mean(axis=1, keepdims=True), x.std(axis=1, keepdims=True)
    z = (x - center) / np.where(scale > 0, scale, 1.0)
    z_new = (new[list(columns)][:, None] - center) / np.where(scale > 0, scale, 1.0)
    inverse = np.linalg.pinv(z @ z.T)
    leverage, largest = (float(np.max(np.sum(v * (inverse @ v), axis=0))) for v in (z_new, z))
    if leverage > largest:
        n = x.shape[1]
        return f"unusual combination (leverage {leverage + 1 / n:.2f}, trained at most {largest + 1 / n:.2f})"
    return ""
