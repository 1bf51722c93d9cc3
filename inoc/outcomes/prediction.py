"""Predicting the suppression of prompts without a run, with an interval and an error on what was left out."""

# pyright: reportUnknownMemberType=false

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float64

from inoc.errors import BadInput, IncompleteStore
from inoc.intervals import prediction_interval
from inoc.outcomes.learning import COVERED, FEATURES, FEWEST, RELATIONS, Model, errors_of, learn
from inoc.outcomes.performance_table import choose
from inoc.outcomes.selection import far_outside, outside
from inoc.outcomes.tidy import as_list, base_model, candidate_rows, experiment_names, full_names, prompt_column, rows
from inoc.store.store import Store
from inoc.values import Recipe


def predict(
    stores: Store | Sequence[Store],
    untrained: Store | None = None,
    *,
    heuristics: Sequence[str] | None = None,
    recipe: Recipe = "corrected",
    step: int | None = None,
    include_flagged: bool = False,
) -> xr.Dataset:
    """Predict the suppression of prompts that have no run.

    Learns from the trained prompts, separately per prefix type and for the trait a prompt asks for and the other one:
    the mean, a monotone curve of one heuristic, or a ridge on a few, the one that errs least on left-out families.

    Args:
        stores: One store or several with evaluated runs and logprobs: what is learned from.
        untrained: The store whose prompts are predicted; the untrained prompts of `stores` if not given.
        heuristics: What a predictor may read, by name or symbol; a short list if not given.
        recipe: "corrected" or "published".
        step: The step to use for every run; None for the final one.
        include_flagged: Keep runs whose late steps contradict each other.

    Returns:
        Dims prompt, prefix_type, trait: `predicted`, `lower`, `upper` (pp, 95 %: t x left-out residuals, of left-out
        families where the prompt's family was never trained; cut to what the control's score allows), `control` (pp),
        `outside` (why a prompt is beyond the calibration), `far` (beyond it by more than a tenth of a heuristic's
        trained range), `reason` (why there is no number), `on_target`. Dims relation, prefix_type, left_out, predictor:
        `error` (pp, RMSE), and per relation and prefix type `prompts`, `rows`, `model`.

    Raises:
        IncompleteStore: Fewer than 4 distinct trained prompts; a store has no logprobs or no control run.
        BadInput: An unknown heuristic; a trait of `untrained` that was never trained.

    Examples:
        >>> inoc.outcomes.predict(store)["predicted"].dims
        ('prompt', 'prefix_type', 'trait')
    """
    given = as_list(stores)
    wanted = None if heuristics is None else full_names(heuristics)
    computed = [base_model(store, wanted or FEATURES, recipe=recipe) for store in given]
    table = rows(given, computed, recipe=recipe, step=step, include_flagged=include_flagged)
    if untrained is not None:
        given, computed = [untrained], [base_model(untrained, wanted or FEATURES, recipe=recipe)]
    traits = list(dict.fromkeys(table["trait"].values.astype(str).tolist()))
    parts: list[xr.Dataset] = []
    for store, name, columns in zip(given, experiment_names(given), computed, strict=True):
        unknown = [trait.name for trait in store.traits if trait.name not in traits]
        if unknown:
            raise BadInput(
                f"the trait '{unknown[0]}' of {name} was never trained in the stores that are learned from "
                f"(they have {', '.join(traits)}). Fix: add a store with runs for it."
            )
        prompts, kinds = (columns[dim].values.astype(str).tolist() for dim in ("prompt", "prefix_type"))
        cells = [(p, kind, trait.name) for p in prompts for kind in kinds for trait in store.traits]
        parts.append(candidate_rows(cells, columns, name, prompt_column(store, "family"), store.traits))
    return predict_of(table, xr.concat(parts, dim="row", join="outer"), wanted)


def predict_of(table: xr.Dataset, new: xr.Dataset, heuristics: Sequence[str] | None = None) -> xr.Dataset:
    """`predict` from tidy rows.

    Args:
        table: Rows with outcomes, as `rows` returns them.
        new: Rows without outcomes: the prompts to predict.
        heuristics: What a predictor may read, by name in the table; a short list if not given.

    Returns:
        The Dataset of `predict`.

    Raises:
        IncompleteStore: Fewer than 4 distinct trained prompts.
    """
    trained = np.unique(table["prompt"].values[np.isfinite(table["suppression"].values)].astype(str)).size
    if trained < FEWEST:
        said = "prompt was" if trained == 1 else "prompts were"
        raise IncompleteStore(
            f"only {trained} distinct {said} trained and evaluated; predicting needs at least {FEWEST} "
            "(and is rough below 20). Fix: train more prompts, or add a store that has them with --store."
        )
    names = [str(name) for name in table["heuristic"].values]
    if heuristics is None:
        features = [names.index(name) for name in FEATURES if name in names]
    else:
        features = choose(names, heuristics, table.attrs.get("absent", ()))
    new = _untrained(table, new)
    offered = new["heuristic_value"].reindex(heuristic=names).values.astype(np.float64)
    features = [i for i in features if not offered.size or np.isfinite(offered[i]).mean() >= COVERED]
    kinds = [kind for kind in ("fixed", "mix") if kind in set(table["prefix_type"].values.astype(str))]
    models: dict[tuple[str, str], Model | str] = {
        (relation, kind): learn(table, relation, kind, features) for relation in RELATIONS for kind in kinds
    }
    return _labeled(table, new, names, models, kinds)


def _untrained(table: xr.Dataset, new: xr.Dataset) -> xr.Dataset:
    """The rows of `new` whose prompt and prefix type no calibrating run was trained with."""
    key = ("experiment", "prompt", "prefix_type")
    done = set(zip(*(table[name].values[np.isfinite(table["suppression"].values)] for name in key), strict=True))
    keep = [cell not in done for cell in zip(*(new[name].values for name in key), strict=True)]
    return new.isel(row=np.flatnonzero(keep))


def _control(table: xr.Dataset, trait: str, experiment: str) -> float:
    """The control's score of a trait: of the same experiment, else the mean over those that have it."""
    control = table["control"].values.astype(np.float64)
    same = (table["trait"].values.astype(str) == trait) & np.isfinite(control)
    own = same & (table["experiment"].values.astype(str) == experiment)
    found = control[own if own.any() else same]
    return float(found.mean()) if found.size else np.nan


def _one(model: Model, new: Float64[np.ndarray, " heuristic"], family: str, control: float) -> tuple[float, ...]:
    """Predicted, lower, upper in pp."""
    center = float(model.predictor(new[:, None])[0])
    known = family in model.sample.family.tolist()
    found = prediction_interval(center, model.residuals("prompt" if known else "family"))
    values = np.array([found.estimate, found.lower, found.upper]) * control
    return tuple(float(v) for v in np.clip(values, control - 100.0, control))


def _labeled(
    table: xr.Dataset,
    new: xr.Dataset,
    names: Sequence[str],
    models: dict[tuple[str, str], Model | str],
    kinds: Sequence[str],
) -> xr.Dataset:
    columns = ("experiment", "prompt", "family", "prefix_type", "trait")
    labels = list(zip(*(new[name].values.astype(str).tolist() for name in columns), strict=True))
    x = new["heuristic_value"].reindex(heuristic=list(names)).values.astype(np.float64)
    prompts = list(dict.fromkeys(label[:3] for label in labels))
    traits = list(dict.fromkeys(label[4] for label in labels))
    shape = (len(prompts), len(kinds), len(traits))
    cells: dict[str, np.ndarray] = {
        **{name: np.full(shape, np.nan) for name in ("predicted", "lower", "upper", "control")},
        "outside": np.full(shape, "", dtype=object),
        "reason": np.full(shape, "trained", dtype=object),
        **{name: np.zeros(shape, dtype=bool) for name in ("on_target", "far")},
    }
    for row, (experiment, prompt, family, kind, trait) in enumerate(labels):
        if kind not in kinds:
            continue
        at = (prompts.index((experiment, prompt, family)), list(kinds).index(kind), traits.index(trait))
        asked = cells["on_target"][at] = bool(new["on_target"].values[row])
        control = cells["control"][at] = _control(table, trait, experiment)
        model = models[RELATIONS[0] if asked else RELATIONS[1], kind]
        if isinstance(model, str):
            cells["reason"][at] = model
            continue
        missing = [names[c] for c in model.columns if not np.isfinite(x[c, row])]
        cells["reason"][at] = f"the store lacks {', '.join(missing)} for it" if missing else ""
        if not missing:
            values = _one(model, x[:, row], family, control)
            for name, value in zip(("predicted", "lower", "upper"), values, strict=True):
                cells[name][at] = value
            cells["outside"][at] = outside(model.sample, model.columns, names, x[:, row])
            cells["far"][at] = far_outside(model.sample, model.columns, x[:, row])
    dims = ("prompt", "prefix_type", "trait")
    result = xr.Dataset(
        {name: (dims, v, {"units": "pp"} if v.dtype.kind == "f" else {}) for name, v in cells.items()},
        coords={
            "prompt": [prompt for _, prompt, _ in prompts],
            "prefix_type": list(kinds),
            "trait": traits,
            "experiment": ("prompt", [experiment for experiment, _, _ in prompts]),
            "family": ("prompt", [family for _, _, family in prompts]),
        },
    )
    return xr.merge([result, errors_of(models, kinds)], join="outer", compat="no_conflicts").assign_attrs(
        left_out=list(table.attrs.get("left_out", [])), recipe=str(table.attrs.get("recipe", "corrected"))
    )
