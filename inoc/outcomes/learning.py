"""Models of suppression, one per prefix type and relation of prompt and trait, and how wrong they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float64

from inoc.outcomes.calibration import Predictor, error, share
from inoc.outcomes.selection import ENOUGH, Columns, Sample, chosen_fit, nested_predictions, rms_by_prompt
from inoc.outcomes.tidy import BASELINE

FEWEST = 4
"""Distinct trained prompts below which nothing is predicted."""
FEATURES = ("elicitation", "ph", "mean_square", "trait_svd[1]")
"""Heuristics a predictor may read unless others are named: few, and each close to what is trained for."""
COVERED = 0.75
"""Share of the trained rows, and of the rows to predict, that a heuristic must cover to be used."""
RELATIONS = ("on_target", "other_trait")
"""A prompt's effect on the trait it asks for (neutral prompts: on any), and on the other trait."""
LEFT_OUT = ("prompt", "family", "store")
PREDICTORS = ("chosen", "elicitation", "constant")


@dataclass(frozen=True)
class Model:
    """What is learned for one relation and prefix type: the rows, the candidates, and the one chosen."""

    sample: Sample
    names: tuple[str, ...]
    candidates: tuple[Columns, ...]
    columns: Columns
    predictor: Predictor
    left_out: dict[str, Float64[np.ndarray, " row"]]
    """Nested predictions (share) by grouping: "prompt", "family", "store"."""

    def residuals(self, left_out: str) -> Float64[np.ndarray, " prompt"]:
        """Honest errors (share), one per prompt."""
        return rms_by_prompt(self.sample, self.left_out[left_out])

    @property
    def description(self) -> str:
        used = [self.names[c] for c in self.columns]
        return f"{'monotone in' if len(used) == 1 else 'ridge on'} {', '.join(used)}" if used else "the mean"


def learn(table: xr.Dataset, relation: str, kind: str, features: Sequence[int]) -> Model | str:
    """The model of one relation and prefix type, or one sentence why there is none.

    Below 10 distinct prompts there is no choice, which would follow noise: a monotone curve of the first feature.
    """
    y = table["suppression"].values.astype(np.float64)
    control = table["control"].values.astype(np.float64)
    on_target = table["on_target"].values.astype(bool)
    part = share(y, control)
    used = (table["prefix_type"].values.astype(str) == kind) & np.isfinite(part)
    used = used & (on_target if relation == "on_target" else ~on_target)
    x = np.asarray(table["heuristic_value"].values, dtype=np.float64)
    kept = [c for c in features if used.any() and np.isfinite(x[c, used]).mean() >= COVERED]
    used = used & np.asarray(np.isfinite(x[kept]).all(axis=0))
    prompts = np.unique(table["prompt"].values[used].astype(str)).size
    if prompts < FEWEST:
        said = "prompt" if prompts == 1 else "prompts"
        return f"only {prompts} distinct trained {said} with heuristics for {kind} runs; {FEWEST} are needed"
    varied = [c for c in kept if np.ptp(x[c, used]) > 1e-9 * np.abs(x[c, used]).max()]
    labels = (table[name].values[used].astype(str) for name in ("prompt", "family", "experiment"))
    sample = Sample(x[:, used], part[used], control[used], *labels)
    names = tuple(str(name) for name in table["heuristic"].values)
    candidates = _candidates(varied, names) if prompts >= ENOUGH else (tuple(varied[:1]),)
    columns, predictor = chosen_fit(sample, candidates)
    if predictor is None:
        return "no predictor could be fitted"
    left_out = {name: nested_predictions(sample, name, candidates) for name in LEFT_OUT}
    return Model(sample, names, candidates, columns, predictor, left_out)


def _candidates(columns: Sequence[int], names: Sequence[str]) -> tuple[Columns, ...]:
    """The mean, each heuristic alone, elicitation with each other one, and all together."""
    single: list[Columns] = [(c,) for c in columns]
    first = [c for c in columns if names[c] == BASELINE]
    pairs: list[Columns] = [(first[0], c) for c in columns if first and c != first[0]]
    whole: list[Columns] = [tuple(columns)] if len(columns) > 2 else []
    return ((), *single, *pairs, *whole)


def errors_of(models: Mapping[tuple[str, str], Model | str], kinds: Sequence[str]) -> xr.Dataset:
    """Nested errors on left-out prompts, families and stores; the same of elicitation alone and of the mean."""
    wrong = np.full((len(RELATIONS), len(kinds), len(LEFT_OUT), len(PREDICTORS)), np.nan)
    count = {name: np.zeros((len(RELATIONS), len(kinds)), dtype=np.int64) for name in ("prompts", "rows")}
    described = np.full((len(RELATIONS), len(kinds)), "", dtype=object)
    for i, relation in enumerate(RELATIONS):
        for j, kind in enumerate(kinds):
            model = models[relation, kind]
            if isinstance(model, str):
                described[i, j] = model
                continue
            sample = model.sample
            count["prompts"][i, j], count["rows"][i, j] = sample.prompts, sample.share.size
            described[i, j] = model.description
            base = model.names.index(BASELINE) if BASELINE in model.names else None
            baselines: dict[str, tuple[Columns, ...]] = {"constant": ((),)}
            if base is not None and np.isfinite(sample.x[base]).all():
                baselines["elicitation"] = ((base,),)
            for k, left_out in enumerate(LEFT_OUT):
                predicted = {"chosen": model.left_out[left_out]}
                for name, candidates in baselines.items():
                    predicted[name] = nested_predictions(sample, left_out, candidates)
                for m, predictor in enumerate(PREDICTORS):
                    if predictor in predicted:
                        found = predicted[predictor] * sample.control
                        wrong[i, j, k, m] = error(found, sample.share * sample.control)
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
