"""What is said about one prompt: by the user's own runs, else by the shipped calibration, and how surely."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from inoc.intervals import prediction_interval
from inoc.outcomes.domain import Domain
from inoc.outcomes.learning import Model
from inoc.outcomes.selection import Fitted, Sample
from inoc.outcomes.shipped import ShippedGate

Residuals = Float64[np.ndarray, " left_out"]
FEWEST_ERRORS = 3
"""Prompts with an error below which an interval is made of errors on something farther left out."""


@dataclass(frozen=True)
class Answer:
    """What is said about one prompt, prefix type and trait.

    Attributes:
        share, lower, upper: Share of the control's score that is taken away, with its 95 % interval.
        used: The model behind it.
        basis: What the interval is made of: errors on left-out prompts, families, stores, or on left-out published
            studies ("study").
        outside: Why it lies outside the calibration, "" inside.
        far: Too far outside for a number.
        reason: Why there is no number, "" where there is one.
    """

    share: float = np.nan
    lower: float = np.nan
    upper: float = np.nan
    used: str = ""
    basis: str = ""
    outside: str = ""
    far: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Source:
    """One predictor that may answer."""

    name: str
    reads: tuple[str, ...]
    value: float
    domain: Domain | None


@dataclass(frozen=True)
class Knowledge:
    """Everything that can answer for one relation of prompt and trait: the model learned from the user's runs, else the
    shipped gate updated by the few there are (`updated`), and the shipped gates, the preferred first."""

    model: Model
    updated: Fitted | None = None
    gates: tuple[ShippedGate, ...] = field(default=())

    def answer(self, one: Sample, *, familiar: bool) -> Answer:
        """The answer for a sample of one row without an outcome; `familiar`: trait and settings are among the
        calibrating ones."""
        kind = str(one.kind[0])
        for source in self._sources(one, kind):
            if not np.isfinite(source.value):
                continue
            residuals, basis = self._residuals(one, kind, familiar)
            found = prediction_interval(source.value, residuals)
            row = one.columns(source.reads)[0]
            inside = source.domain.select(source.reads, row) if source.domain else np.empty(0)
            outside = source.domain.outside(inside) if source.domain else ""
            far = source.domain.far(inside) if source.domain else False
            return Answer(found.estimate, found.lower, found.upper, source.name, basis, outside, far)
        return Answer(reason=self._reason(one, kind))

    def _learned(self, kind: str) -> Model | None:
        return None if self.model.lacks(kind) else self.model

    def _sources(self, one: Sample, kind: str) -> Iterator[Source]:
        model = self._learned(kind)
        for fitted in model.fitted if model is not None else ():
            if kind not in fitted.parts:
                continue
            reads = fitted.candidate.reads
            domain = model.domain(fitted, kind) if model is not None and reads else None
            yield Source(fitted.candidate.name, reads, float(fitted.predict(one)[0]), domain)
        for gate in self.gates:
            name = "shipped curve of elicitation" if gate.reads == ("elicited",) else "shipped gate"
            if self.updated is not None and model is None and gate.reads == self.updated.candidate.reads[:-1]:
                own = float(self.updated.predict(one)[0])
                yield Source(f"{name}, updated by the runs there are", gate.reads, own, gate.domain(kind))
            yield Source(name, gate.reads, gate.predict(one.columns(gate.reads)[0], kind), gate.domain(kind))

    def _residuals(self, one: Sample, kind: str, familiar: bool) -> tuple[Residuals, str]:
        """Errors that the interval is made of: on what was left out, and is as unlike the rest as this row."""
        model = self._learned(kind)
        study = _study(self.gates, kind)
        if model is None:
            return study, "study"
        basis = "prompt" if one.family[0] in model.sample.family else "family"
        if not familiar or one.store[0] not in model.sample.store:
            basis = "store"
        own = model.residuals(basis, kind)
        if np.isfinite(own).sum() >= FEWEST_ERRORS:
            return own, basis
        family = model.residuals("family", kind) if basis == "store" else np.empty(0)
        wide = [(r, n) for r, n in ((family, "family"), (study, "study")) if np.isfinite(r).sum() >= FEWEST_ERRORS]
        return max(wide, key=lambda pair: float(np.nanmean(pair[0] ** 2)), default=(own, basis))

    def _reason(self, one: Sample, kind: str) -> str:
        """Why there is no number."""
        model = self._learned(kind)
        if model is None and not self.gates:
            return self.model.lacks(kind)
        wanted = [f.candidate.reads for f in model.fitted] if model is not None else [g.reads for g in self.gates]
        missing = dict.fromkeys(
            name for reads in wanted for name, x in zip(reads, one.columns(reads)[0], strict=True) if not np.isfinite(x)
        )
        return f"the store lacks {', '.join(missing)} for it"


def _study(gates: tuple[ShippedGate, ...], kind: str) -> Residuals:
    """The errors of the preferred shipped gate on a study it had not seen, as residuals of equal size."""
    errors = [gate.error[kind]["study"] for gate in gates if kind in gate.error]
    return np.full(errors[0].prompts, errors[0].share) if errors else np.empty(0)
