"""Where a predictor was calibrated: ranges of what it reads, and combinations of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

Row = Float64[np.ndarray, " column"]
SLACK = 0.1
"""Share of a feature's calibrated range by which a prompt may lie beyond it and still be given a number."""
UNBOUNDED = ("cell", "relevant", "relevant_consistency")
"""Features that are labels, or 0 for neutral prompts: a range of them says nothing."""


@dataclass(frozen=True)
class Domain:
    """The range, `low` to `high`, of the calibrating rows of one prefix type in the features that a candidate reads,
    and the rows themselves for the leverage; none where only ranges are known."""

    names: tuple[str, ...]
    low: Row
    high: Row
    rows: Float64[np.ndarray, "row column"]

    @classmethod
    def of(cls, names: Sequence[str], x: Float64[np.ndarray, "row column"]) -> "Domain":
        """The domain of rows that have all features, at least one."""
        kept = _bounded(names)
        rows = x[:, kept]
        return cls(tuple(names[i] for i in kept), rows.min(axis=0), rows.max(axis=0), rows)

    @classmethod
    def of_ranges(cls, names: Sequence[str], low: Row, high: Row) -> "Domain":
        """The domain where only the range of each feature is known."""
        kept = _bounded(names)
        return cls(tuple(names[i] for i in kept), low[kept], high[kept], np.empty((0, len(kept))))

    def outside(self, new: Row) -> str:
        """Why a prompt lies outside, or "": a feature beyond its range, or too high a leverage.

        Leverage h = 1/n + z' (Z Z')^+ z of the standardized features; outside when above the largest calibrated.
        """
        reasons = [
            f"{name} {value:.3g} is outside [{low:.3g}, {high:.3g}]"
            for name, value, low, high in zip(self.names, new, self.low, self.high, strict=True)
            if value < low or value > high
        ]
        if reasons or len(self.names) < 2 or len(self.rows) < 2:
            return "; ".join(reasons)
        scale = self.rows.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        z = (self.rows - self.rows.mean(axis=0)) / scale
        z_new = (new - self.rows.mean(axis=0)) / scale
        inverse = np.asarray(np.linalg.pinv(z.T @ z), dtype=np.float64)  # pyright: ignore[reportUnknownMemberType]
        leverage, largest = float(z_new @ inverse @ z_new), float(np.max(np.sum((z @ inverse) * z, axis=1)))
        if leverage > largest:
            n = len(self.rows)
            return f"unusual combination (leverage {leverage + 1 / n:.2f}, calibrated at most {largest + 1 / n:.2f})"
        return ""

    def far(self, new: Row) -> bool:
        """Whether a feature lies beyond its range by more than `SLACK` of the range's width."""
        room = SLACK * (self.high - self.low)
        return bool(np.any((new < self.low - room) | (new > self.high + room)))

    def select(self, names: Sequence[str], row: Float64[np.ndarray, " named"]) -> Row:
        """The values of the domain's features among the named ones."""
        return row[[list(names).index(name) for name in self.names]]


def _bounded(names: Sequence[str]) -> list[int]:
    return [i for i, name in enumerate(names) if name not in UNBOUNDED]
