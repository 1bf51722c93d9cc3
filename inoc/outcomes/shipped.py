"""The shipped calibration: gates fitted to published studies, as parameters with covariance; no texts, no rows.

`benchmarks/shipped_calibration.py` makes the file beside this module. It predicts where a user has no runs, is the
prior of the gates where there are some, and says how far off it was on what it had not seen.
"""

import json
from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files

import numpy as np
from jaxtyping import Float64
from pydantic import BaseModel

from inoc.hashing import content_hash
from inoc.outcomes.domain import Domain
from inoc.outcomes.features import Features
from inoc.outcomes.gate import Prior

FILE = "shipped_calibration.json"
"""The file beside this module."""
WIDER = 2.0
"""The covariance is multiplied by this as a prior: one study cannot say how much studies differ."""


class Error(BaseModel):
    """Error on what was left out: RMSE in pp, root mean square of the share by prompt, and distinct prompts."""

    pp: float
    share: float
    prompts: int


class ShippedGate(BaseModel):
    """One fitted gate: its columns and the heuristics behind two of them, mean and covariance of level and slopes
    (logits), and per prefix type its intercept, the range of each column, and errors by grouping (prompt, family,
    study)."""

    reads: tuple[str, ...]
    salience: str
    consistency: str
    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    cell: dict[str, float]
    low: dict[str, tuple[float, ...]]
    high: dict[str, tuple[float, ...]]
    error: dict[str, dict[str, Error]]

    def predict(self, row: Float64[np.ndarray, " column"], kind: str) -> float:
        """The share that a prompt takes away in a study of its own, from the columns of `reads`."""
        mean = np.array(self.mean)
        return float(1 / (1 + np.exp(-(mean[0] + mean[1:] @ row + self.cell[kind]))))

    def prior(self) -> Prior:
        """What it says of level and slopes before a user's own data."""
        return Prior(np.array(self.mean), WIDER * np.array(self.covariance))

    def domain(self, kind: str) -> Domain:
        """The range of each column."""
        bounds = np.array(self.low[kind]), np.array(self.high[kind])
        return Domain.of_ranges(self.reads, *bounds)


class Shipped(BaseModel):
    """The gates of both relations (the preferred first), the studies behind them in words and numbers, and hashes of
    the prompts' texts: a store that has them is not predicted from its own runs twice."""

    source: str
    settings: str
    studies: int
    prompts: int
    rows: int
    digests: tuple[str, ...]
    gates: dict[str, tuple[ShippedGate, ...]]

    def usable(self, relation: str, features: Features) -> list[ShippedGate]:
        """The gates of a relation whose columns are made of the same heuristics as these, the preferred first."""
        return [
            gate
            for gate in self.gates[relation]
            if gate.salience in ("", features.salience) and gate.consistency in ("", features.consistency)
        ]

    def priors(self, relation: str, features: Features) -> dict[str, Prior]:
        """Priors of the gates by feature names joined with commas."""
        return {",".join(gate.reads): gate.prior() for gate in reversed(self.usable(relation, features))}

    @property
    def words(self) -> str:
        """What it is fitted to."""
        said = "study" if self.studies == 1 else "studies"
        return f"{self.prompts} prompts ({self.rows} rows) of {self.studies} published {said}: {self.source}"

    def holds(self, texts: Iterable[str]) -> bool:
        """Whether any of these prompts is among those it was fitted to."""
        return bool({digest(text) for text in texts} & set(self.digests))


def digest(text: str) -> str:
    """The short hash a prompt's text is known by."""
    return content_hash(text)


@lru_cache(maxsize=1)
def shipped() -> Shipped:
    """The calibration that comes with inoc."""
    return Shipped.model_validate(json.loads(files("inoc.outcomes").joinpath(FILE).read_text(encoding="utf-8")))
