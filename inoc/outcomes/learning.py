"""Models of suppression, one per relation of prompt and trait, and how wrong they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float64

from inoc.outcomes.calibration import error, share
from inoc.outcomes.candidates import ELICITATION, MEAN, Candidate
from inoc.outcomes.domain import Domain
from inoc.outcomes.selection import Fitted, Sample, fit, nested_predictions, rank, rms_by_prompt

FEWEST = 4
"""Distinct trained prompts of a prefix type below which nothing is learned."""
RELATIONS = ("on_target", "other_trait")
"""A prompt's effect on the trait it asks for (neutral prompts: on any), and on the other trait."""
LEFT_OUT = ("prompt", "family", "store")
PREDICTORS = ("chosen", "elicitation", "constant")


@dataclass(frozen=True)
class Model:
    """What is learned for one relation: the rows, and the candidates fitted to them, the chosen one first.

    Attributes:
        sample: The rows.
        fitted: In the order in which they are asked for a prediction.
        left_out: Nested predictions (share) by grouping: "prompt", "family", "store".
    """

    sample: Sample
    fitted: tuple[Fitted, ...]
    left_out: Mapping[str, Float64[np.ndarray, " row"]]

    def residuals(self, left_out: str, kind: str) -> Float64[np.ndarray, " prompt"]:
        """Honest errors (share) of a prefix type, one per prompt."""
        here = self.sample.kind == kind
        return rms_by_prompt(self.sample.take(here), self.left_out[left_out][here])

    def lacks(self, kind: str) -> str:
        """Why nothing is predicted for a prefix type, or ""."""
        prompts = int(np.unique(self.sample.prompt[self.sample.kind == kind]).size)
        if prompts >= FEWEST:
            return ""
        said = "prompt" if prompts == 1 else "prompts"
        return f"only {prompts} distinct trained {said} for {kind} runs; {FEWEST} are needed"

    def domain(self, fitted: Fitted, kind: str) -> Domain:
        """Where a fitted candidate was calibrated, in the rows of a prefix type."""
        reads = fitted.candidate.reads
        x = self.sample.columns(reads)
        complete = np.isfinite(x).all(axis=1)
        own = complete & (self.sample.kind == kind)
        return Domain.of(reads, x[own if own.any() else complete])


def sample_of(table: xr.Dataset, names: Sequence[str], x: Float64[np.ndarray, "row feature"], relation: str) -> Sample:
    """The rows of a relation that can calibrate, with features `x`: both prefix types, control above 5 pp."""
    control = table["control"].values.astype(np.float64)
    part = share(table["suppression"].values.astype(np.float64), control)
    used = np.isfinite(part) & related(table, relation)
    labels = (table[n].values[used].astype(str) for n in ("prompt", "family", "experiment", "prefix_type"))
    return Sample(tuple(names), x[used], part[used], control[used], *labels)


def related(table: xr.Dataset, relation: str) -> Bool[np.ndarray, " row"]:
    """The rows of a relation."""
    on_target = table["on_target"].values.astype(bool)
    return on_target if relation == "on_target" else ~on_target


def learn(sample: Sample, candidates: Sequence[Candidate]) -> Model:
    """The model of a sample; nothing is fitted where no prefix type has at least 4 distinct prompts."""
    enough = [k for k in np.unique(sample.kind) if np.unique(sample.prompt[sample.kind == k]).size >= FEWEST]
    if not enough:
        return Model(sample, (), {name: np.full(sample.share.size, np.nan) for name in LEFT_OUT})
    fitted = tuple(fit(candidate, sample) for candidate in rank(sample, candidates))
    return Model(sample, fitted, {name: nested_predictions(sample, name, candidates) for name in LEFT_OUT})


def errors_of(models: Mapping[str, Model], kinds: Sequence[str]) -> xr.Dataset:
    """Nested errors on left-out prompts, families and stores; the same of elicitation alone and of the mean.

    Dims relation, prefix_type, left_out, predictor: `error` (pp, RMSE); per relation and prefix type `model`,
    `prompts`, `rows`.
    """
    wrong = np.full((len(RELATIONS), len(kinds), len(LEFT_OUT), len(PREDICTORS)), np.nan)
    count = {name: np.zeros((len(RELATIONS), len(kinds)), dtype=np.int64) for name in ("prompts", "rows")}
    described = np.full((len(RELATIONS), len(kinds)), "", dtype=object)
    for i, relation in enumerate(RELATIONS):
        model = models[relation]
        sample = model.sample
        observed = sample.share * sample.control
        for k, left_out in enumerate(LEFT_OUT if model.fitted else ()):
            predicted = {"chosen": model.left_out[left_out]}
            same = np.isfinite(predicted["chosen"])
            if np.isfinite(sample.columns(["elicitation"])).any():
                predicted["elicitation"] = nested_predictions(sample, left_out, (ELICITATION, MEAN), choose=False)
            predicted["constant"] = nested_predictions(sample, left_out, (MEAN,), choose=False)
            for j, kind in enumerate(kinds):
                here = same & (sample.kind == kind)
                for m, predictor in enumerate(PREDICTORS):
                    if predictor in predicted and not model.lacks(kind):
                        found = predicted[predictor] * sample.control
                        wrong[i, j, k, m] = error(found[here], observed[here])
        for j, kind in enumerate(kinds):
            here = sample.kind == kind
            count["prompts"][i, j], count["rows"][i, j] = np.unique(sample.prompt[here]).size, int(here.sum())
            able = [f for f in model.fitted if kind in f.parts]
            described[i, j] = model.lacks(kind) or able[0].candidate.name
    dims = ("relation", "prefix_type", "left_out", "predictor")
    labels = (RELATIONS, kinds, LEFT_OUT, PREDICTORS)
    return xr.Dataset(
        {
            "error": (dims, wrong, {"units": "pp", "long_name": "RMSE on what was left out"}),
            "model": (dims[:2], described),
            **{name: (dims[:2], values) for name, values in count.items()},
        },
        coords={dim: list(names) for dim, names in zip(dims, labels, strict=True)},
    )
