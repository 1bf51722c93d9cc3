"""Predicting the suppression of prompts nobody has trained on, with an interval and an honest error."""

# pyright: reportUnknownMemberType=false

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float64

from inoc.errors import BadInput, IncompleteStore
from inoc.intervals import prediction_interval
from inoc.outcomes.learning import COVERED, FEATURES, FEWEST, RELATIONS, Model, errors_of, learn
from inoc.outcomes.performance_table import choose
from inoc.outcomes.selection import far_outside, outside
from inoc.outcomes.tidy import base_model, experiment_names, full_names, heuristic_columns, rows
from inoc.store.store import Store
from inoc.values import Recipe


def predict(
    runs: Store | Sequence[Store],
    untrained: Store | None = None,
    *,
    heuristics: Sequence[str] | None = None,
    recipe: Recipe = "corrected",
    step: int | None = None,
    include_flagged: bool = False,
) -> xr.Dataset:
    """Predicted suppression of the prompts of `untrained` (default: of the stores themselves) that have no
    run.

    Learns from the trained prompts of `runs`, separately per prefix type and for the trait a prompt asks for
    and the other one: the mean, a monotone curve of one heuristic, or a ridge on a few, whichever errs least
    on left-out families. Dims prompt, prefix_type, trait: `predicted`, `lower`, `upper` (pp, 95 %: t x
    left-out residuals, of left-out families where the prompt's family was never trained; cut to what the
    control's score allows), `outside` (why a prompt is beyond the calibration), `far` (beyond it by more than a
    tenth of a heuristic's trained range), `reason` (why there is no number), `on_target`. Dims relation,
    prefix_type, left_out, predictor: `error` (pp, RMSE), and `prompts`, `rows`, `model` per relation and
    prefix type. Raises IncompleteStore below 4 distinct trained prompts.
    """
    stores = [runs] if isinstance(runs, Store) else list(runs)
    wanted = None if heuristics is None else full_names(heuristics)
    computed = [base_model(run, wanted or FEATURES, recipe=recipe) for run in stores]
    table = rows(stores, computed, recipe=recipe, step=step, include_flagged=include_flagged)
    if untrained is None:
        sources = list(zip(stores, experiment_names(stores), computed, strict=True))
    else:
        sources = [
            (
                untrained,
                experiment_names([untrained])[0],
                base_model(untrained, wanted or FEATURES, recipe=recipe),
            )
        ]
    traits = [str(name) for name in dict.fromkeys(table["trait"].values.astype(str).tolist())]
    parts: list[xr.Dataset] = []
    for run, name, columns in sources:
        known = [trait.name for trait in run.traits]
        unknown = [trait for trait in known if trait not in traits]
        if unknown:
            raise BadInput(
                f"the trait '{unknown[0]}' of {name} was never trained in the calibrating stores "
                f"(they have {', '.join(traits)}), so there is nothing to learn its suppression from."
            )
        families = dict(
            zip(map(str, run.prompts["prompt"].values), map(str, run.prompts["family"].values), strict=True)
        )
        parts.append(candidates_of(columns, families, {t.name: t.family for t in run.traits}, name))
    return predict_of(table, xr.concat(parts, dim="row", join="outer"), wanted)


def candidates_of(
    heuristics: xr.Dataset, families: dict[str, str], traits: dict[str, str], experiment: str
) -> xr.Dataset:
    """Rows without outcome, one per scored prompt, prefix type and trait: what a prediction is made from."""
    kinds = [str(kind) for kind in heuristics["prefix_type"].values]
    cells = [
        (str(prompt), kind, trait)
        for prompt in heuristics["prompt"].values
        for kind in kinds
        for trait in traits
    ]
    names, matrix = heuristic_columns(heuristics, cells)
    family = [families.get(prompt, "") for prompt, _, _ in cells]
    return xr.Dataset(
        {"heuristic_value": (("heuristic", "row"), matrix)},
        coords={
            "heuristic": np.array(names, dtype=object),
            "experiment": ("row", np.full(len(cells), experiment, dtype=object)),
            "prompt": ("row", np.array([p for p, _, _ in cells], dtype=object)),
            "prefix_type": ("row", np.array([k for _, k, _ in cells], dtype=object)),
            "trait": ("row", np.array([t for _, _, t in cells], dtype=object)),
            "family": ("row", np.array(family, dtype=object)),
            "on_target": (
                "row",
                np.array([f in ("neutral", traits[t]) for f, (_, _, t) in zip(family, cells, strict=True)]),
            ),
        },
    )


def predict_of(table: xr.Dataset, new: xr.Dataset, heuristics: Sequence[str] | None = None) -> xr.Dataset:
    """`predict` from tidy rows: `table` with outcomes (see `rows`), `new` without (see `candidates_of`)."""
    trained = np.unique(table["prompt"].values[np.isfinite(table["suppression"].values)].astype(str)).size
    if trained < FEWEST:
        said = "prompt was" if trained == 1 else "prompts were"
        raise IncompleteStore(
            f"only {trained} distinct {said} trained and evaluated; predicting needs at least {FEWEST} "
            "(and is rough below 20). Train more prompts, or add a store that has them with --store."
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
    return _labelled(table, new, names, models, kinds)


def _untrained(table: xr.Dataset, new: xr.Dataset) -> xr.Dataset:
    """The rows of `new` whose prompt and prefix type no calibrating run was trained with."""
    key = ("experiment", "prompt", "prefix_type")
    done = set(
        zip(*(table[name].values[np.isfinite(table["suppression"].values)] for name in key), strict=True)
    )
    keep = [cell not in done for cell in zip(*(new[name].values for name in key), strict=True)]
    return new.isel(row=np.flatnonzero(keep))


def _control(table: xr.Dataset, trait: str, experiment: str) -> float:
    """The control's score of a trait: of the same experiment, else the mean over those that have it."""
    control = table["control"].values.astype(np.float64)
    same = (table["trait"].values.astype(str) == trait) & np.isfinite(control)
    own = same & (table["experiment"].values.astype(str) == experiment)
    found = control[own if own.any() else same]
    return float(found.mean()) if found.size else np.nan


def _one(
    model: Model, new: Float64[np.ndarray, " heuristic"], family: str, control: float
) -> tuple[float, ...]:
    """Predicted, lower, upper in pp."""
    centre = float(model.predictor(new[:, None])[0])
    known = family in set(model.sample.family.tolist())
    found = prediction_interval(centre, model.residuals("prompt" if known else "family"))
    values = np.array([found.estimate, found.lower, found.upper]) * control
    return tuple(float(v) for v in np.clip(values, control - 100.0, control))


def _labelled(
    table: xr.Dataset,
    new: xr.Dataset,
    names: Sequence[str],
    models: dict[tuple[str, str], Model | str],
    kinds: Sequence[str],
) -> xr.Dataset:
    label = {
        name: new[name].values.astype(str)
        for name in ("experiment", "prompt", "prefix_type", "trait", "family")
    }
    asked = new["on_target"].values.astype(bool)
    x = new["heuristic_value"].reindex(heuristic=list(names)).values.astype(np.float64)
    keys = list(zip(label["experiment"].tolist(), label["prompt"].tolist(), strict=True))
    family = dict(zip(keys, label["family"].tolist(), strict=True))
    prompts, traits = list(family), list(dict.fromkeys(label["trait"].tolist()))
    place = {key: i for i, key in enumerate(prompts)}
    shape = (len(prompts), len(kinds), len(traits))
    numbers = {name: np.full(shape, np.nan) for name in ("predicted", "lower", "upper", "control")}
    text = {name: np.full(shape, "", dtype=object) for name in ("outside", "reason")}
    on_target: Bool[np.ndarray, "prompt prefix_type trait"] = np.zeros(shape, dtype=bool)
    far: Bool[np.ndarray, "prompt prefix_type trait"] = np.zeros(shape, dtype=bool)
    text["reason"][:] = "trained"
    for row in range(new.sizes["row"]):
        kind, trait = str(label["prefix_type"][row]), str(label["trait"][row])
        if kind not in kinds:
            continue
        at = (place[keys[row]], list(kinds).index(kind), traits.index(trait))
        on_target[at] = asked[row]
        control = numbers["control"][at] = _control(table, trait, keys[row][0])
        model = models[RELATIONS[0] if asked[row] else RELATIONS[1], kind]
        if isinstance(model, str):
            text["reason"][at] = model
            continue
        missing = [names[c] for c in model.columns if not np.isfinite(x[c, row])]
        text["reason"][at] = f"the store lacks {', '.join(missing)} for it" if missing else ""
        if not missing:
            values = _one(model, x[:, row], family[keys[row]], control)
            for name, value in zip(("predicted", "lower", "upper"), values, strict=True):
                numbers[name][at] = value
            text["outside"][at] = outside(model.sample, model.columns, names, x[:, row])
            far[at] = far_outside(model.sample, model.columns, x[:, row])
    dims = ("prompt", "prefix_type", "trait")
    result = xr.Dataset(
        {name: (dims, values, {"units": "pp"}) for name, values in numbers.items()}
        | {name: (dims, values) for name, values in text.items()}
        | {"on_target": (dims, on_target), "far": (dims, far)},
        coords={
            "prompt": [prompt for _, prompt in prompts],
            "prefix_type": list(kinds),
            "trait": traits,
            "experiment": ("prompt", [experiment for experiment, _ in prompts]),
            "family": ("prompt", [family[key] for key in prompts]),
        },
    )
    return xr.merge([result, errors_of(models, kinds)], join="outer", compat="no_conflicts").assign_attrs(
        left_out=list(table.attrs.get("left_out", [])), recipe=str(table.attrs.get("recipe", "corrected"))
    )
