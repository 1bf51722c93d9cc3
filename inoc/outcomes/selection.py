"""Choosing among candidates by their leave-one-family-out error, and saying honestly how wrong the choice is.

Choosing looks at errors, so the error of the chosen one is too good. The errors reported here are nested:
whatever is left out plays no part in the choice either.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Shaped

from inoc.outcomes.candidates import MEAN, Candidate
from inoc.outcomes.estimators import Estimator

Column = Float64[np.ndarray, " row"]
Labels = Shaped[np.ndarray, " row"]
Mask = Bool[np.ndarray, " row"]
ENOUGH = 10
"""Distinct prompts below which the first candidate is taken: a choice between them would follow noise."""
CLEARLY = 1.0
"""Standard errors by which a candidate must beat the one before it to take its place."""


@dataclass(frozen=True)
class Sample:
    """Rows to learn from: features `x` (NaN where unknown), the share of the control score that was taken away, the
    control score in pp, and labels; `kind` is the prefix type."""

    names: tuple[str, ...]
    x: Float64[np.ndarray, "row feature"]
    share: Column
    control: Column
    prompt: Labels
    family: Labels
    store: Labels
    kind: Labels

    def take(self, rows: Shaped[np.ndarray, " row"]) -> "Sample":
        """The rows of a mask."""
        parts = ("x", "share", "control", "prompt", "family", "store", "kind")
        return replace(self, **{part: getattr(self, part)[rows] for part in parts})

    def groups(self, left_out: str) -> Labels:
        """The labels of one grouping: "prompt", "family" or "store"."""
        return {"prompt": self.prompt, "family": self.family, "store": self.store}[left_out]

    def columns(self, reads: Sequence[str]) -> Float64[np.ndarray, "row column"]:
        """The features of these names; an unknown one is NaN."""
        missing = np.full(self.share.size, np.nan)
        found = [self.x[:, self.names.index(n)] if n in self.names else missing for n in reads]
        return np.column_stack(found) if found else np.empty((self.share.size, 0))

    @property
    def prompts(self) -> int:
        """Distinct prompts."""
        return int(np.unique(self.prompt).size)


@dataclass(frozen=True)
class Fitted:
    """A candidate fitted to the rows that have all it reads: an estimator per prefix type (the same one if pooled), and
    how many distinct prompts and rows are behind each (if pooled, in all)."""

    candidate: Candidate
    parts: dict[str, Estimator]
    prompts: dict[str, int]
    rows: dict[str, int]

    def predict(self, sample: Sample) -> Column:
        """Shares; NaN where a row lacks a feature or its prefix type was not fitted."""
        x = sample.columns(self.candidate.reads)
        result = np.full(sample.share.size, np.nan)
        for kind, estimator in self.parts.items():
            here = (sample.kind == kind) & np.isfinite(x).all(axis=1)
            if here.any():
                result[here] = estimator.predict(x[here])
        return result


def fit(candidate: Candidate, sample: Sample) -> Fitted:
    """Fit a candidate to the rows it can use: at least 2 per fit, else it has no part for that prefix type."""
    x = sample.columns(candidate.reads)
    used = np.isfinite(x).all(axis=1) & np.isfinite(sample.share)
    kinds = [str(kind) for kind in np.unique(sample.kind)]
    parts: dict[str, Estimator] = {}
    prompts: dict[str, int] = {}
    rows: dict[str, int] = {}
    for kinds_together in [kinds] if candidate.pooled else [[kind] for kind in kinds]:
        mine = used & np.isin(sample.kind, kinds_together)
        if mine.sum() < 2:
            continue
        estimator = candidate.make()
        estimator.fit(x[mine], sample.share[mine])
        for kind in kinds_together:
            parts[kind] = estimator
            prompts[kind], rows[kind] = int(np.unique(sample.prompt[mine]).size), int(mine.sum())
    return Fitted(candidate, parts, prompts, rows)


def left_out(candidate: Candidate, sample: Sample, groups: Labels) -> Column:
    """Every row predicted (share) by a fit without its group; NaN where nothing can be learned."""
    result = np.full(sample.share.size, np.nan)
    for label in np.unique(groups):
        inside = groups == label
        if not inside.all():
            result[inside] = fit(candidate, sample.take(~inside)).predict(sample.take(inside))
    return result


def rank(sample: Sample, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates in the order in which they are asked for a prediction, the chosen one first.

    The first candidate is chosen unless another one errs less on left-out families (pp) by more than one standard
    error of the difference, prompts as sample; then that one must be beaten in turn. Where no family can be left
    out, prompts are. A row that a candidate cannot predict counts with the error of the mean. Below 10 distinct
    prompts nothing is compared. The mean is asked only where it is chosen: it answers for every prompt.
    """
    others = [c for c in candidates if c is not MEAN]
    if sample.prompts < ENOUGH and others:
        return others
    groups = sample.family if np.unique(sample.family).size > 1 else sample.prompt
    mean = left_out(MEAN, sample, groups)
    chosen, least = MEAN, np.empty(0)
    for candidate in candidates if len(candidates) > 1 else ():
        predicted = mean if candidate is MEAN else left_out(candidate, sample, groups)
        wrong = squares_by_prompt(sample, np.where(np.isfinite(predicted), predicted, mean))
        if not least.size or _clearly_less(wrong, least):
            chosen, least = candidate, wrong
    if len(candidates) == 1:
        return list(candidates)
    return [MEAN] if chosen is MEAN else [chosen, *(c for c in others if c is not chosen)]


def predict_ranked(fitted: Sequence[Fitted], sample: Sample) -> Column:
    """Every row predicted (share) by the first that can; NaN where none can."""
    result = np.full(sample.share.size, np.nan)
    for each in fitted:
        result = np.where(np.isfinite(result), result, each.predict(sample))
    return result


def nested_predictions(
    sample: Sample, grouping: str, candidates: Sequence[Candidate], *, choose: bool = True
) -> Column:
    """Every row (share) predicted by what is chosen and fitted without its group; NaN where nothing can be.

    `grouping`: "prompt", "family" or "store". Without `choose` the candidates are asked in the order given.
    """
    groups = sample.groups(grouping)
    result = np.full(sample.share.size, np.nan)
    for label in np.unique(groups):
        inside = groups == label
        if not inside.all():
            rest = sample.take(~inside)
            fitted = [fit(candidate, rest) for candidate in (rank(rest, candidates) if choose else candidates)]
            result[inside] = predict_ranked(fitted, sample.take(inside))
    return result


def squares_by_prompt(sample: Sample, predicted: Column) -> Float64[np.ndarray, " prompt"]:
    """Mean squared error (pp^2) of each prompt, NaN without a row."""
    wrong = ((predicted - sample.share) * sample.control) ** 2
    finite = np.isfinite(wrong)
    _, place = np.unique(sample.prompt, return_inverse=True)
    total = np.bincount(place, np.where(finite, wrong, 0.0))
    count = np.bincount(place, finite.astype(np.float64))
    return np.divide(total, count, out=np.full(total.size, np.nan), where=count > 0)


def _clearly_less(wrong: Float64[np.ndarray, " prompt"], least: Float64[np.ndarray, " prompt"]) -> bool:
    """Whether squared errors are smaller by more than `CLEARLY` standard errors of their difference."""
    gain = (least - wrong)[np.isfinite(least - wrong)]
    if gain.size < 2:
        return False
    return bool(gain.mean() > CLEARLY * gain.std(ddof=1) / np.sqrt(gain.size))


def rms_by_prompt(sample: Sample, predicted: Column) -> Float64[np.ndarray, " prompt"]:
    """Root mean square residual (share) of each prompt: one number per prompt, as its rows err together."""
    residual = predicted - sample.share
    found = [residual[(sample.prompt == label) & np.isfinite(residual)] for label in np.unique(sample.prompt)]
    return np.array([np.sqrt(np.mean(r**2)) for r in found if r.size], dtype=np.float64)
