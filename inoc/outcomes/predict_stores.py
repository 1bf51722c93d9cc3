"""Predicting prompts of a store that have no run, from the runs of stores and the shipped calibration."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from inoc.errors import IncompleteStore
from inoc.outcomes.effects import control_levels, suppression
from inoc.outcomes.prediction import KINDS, predict_of
from inoc.outcomes.results_table import pooled
from inoc.outcomes.settings import settings_of, unlike
from inoc.outcomes.shipped import Shipped, shipped
from inoc.outcomes.tidy import (
    as_list,
    base_model,
    candidate_rows,
    experiment_names,
    full_names,
    of_prompts,
    prompt_column,
    rows,
)  # fmt: skip
from inoc.store.store import Store
from inoc.values import Recipe

READS = ("elicitation", "ph", "mean_square", "sigma", "cosine", "pool_anchor")
"""Heuristics that the features of the candidates are made of."""


def predict(
    stores: Store | Sequence[Store],
    untrained: Store | None = None,
    *,
    tables: Sequence[xr.Dataset] = (),
    heuristics: Sequence[str] | None = None,
    prompts: Sequence[str] | None = None,
    model: str | None = None,
    control: Mapping[str, float] | None = None,
    prior: bool = True,
    recipe: Recipe = "corrected",
    step: int | None = None,
    include_flagged: bool = False,
) -> xr.Dataset:
    """Predict the suppression of prompts that have no run.

    Learns from the trained prompts, for the trait a prompt asks for and for the other one. Traits are compared by
    role, so that stores with other traits calibrate too. Without runs the shipped calibration answers; with runs it is
    the prior of the gates.

    Args:
        stores: One store or several: what is learned from, as far as they have runs.
        untrained: The store whose prompts are predicted; the untrained prompts of `stores` if not given.
        tables: More rows to learn from, as `read_rows` reads them.
        heuristics: What a predictor may read, by name or symbol; the candidates of inoc if not given.
        prompts: Only these prompts are predicted, by key or group.
        model: Only this candidate ("gate", ...), or an estimator of yours as "package:estimator".
        control: Trait -> score of the control run (0-100), where no control run tells.
        prior: Use the shipped calibration. It is left out where a store holds a prompt it was fitted to, and with
            `tables`, which may.
        recipe: "corrected" or "published".
        step: The step to use for every run; None for the final one.
        include_flagged: Keep runs whose late steps contradict each other.

    Returns:
        Dims prompt, prefix_type, trait: `share` of the control's score with `share_lower`, `share_upper`; `predicted`,
        `lower`, `upper` (pp, NaN where the control's score is unknown), `control` (pp); `used` (the model), `basis`
        (what the 95 % interval is made of: errors on left-out prompts, families, stores or studies), `outside` (why a
        prompt is beyond the calibration), `far` (by more than a tenth of a range), `reason` (why there is no number),
        `on_target`. Dims relation, prefix_type, left_out, predictor: `error` (pp, RMSE), and per relation and prefix
        type `prompts`, `rows`, `model`. Attributes `settings`, `unlike` (settings calibrated at, and others asked
        for), `prior` (what the shipped calibration is fitted to, "" where it is not used), `left_out`.

    Raises:
        IncompleteStore: Nothing to learn from and no prior.
        BadInput: An unknown heuristic, model or prompt.

    Examples:
        >>> inoc.outcomes.predict(store)["predicted"].dims
        ('prompt', 'prefix_type', 'trait')
    """
    wanted = None if heuristics is None else full_names(heuristics)
    found = gather(
        stores, untrained, wanted, tables=tables, prompts=prompts, prior=prior, recipe=recipe, step=step,
        include_flagged=include_flagged,
    )  # fmt: skip
    result = predict_of(found.table, found.new, wanted, model=model, control=control, prior=found.prior)
    return result.assign_attrs(found.said)


class Gathered(NamedTuple):
    """What predictions are made from: rows with outcomes (`table`, perhaps none), rows to predict (`new`, trained ones
    among them), the shipped calibration as far as it is used, and attributes about all predictions (`said`)."""

    table: xr.Dataset
    new: xr.Dataset
    prior: Shipped | None
    said: dict[str, list[str] | str]


def gather(
    stores: Store | Sequence[Store],
    untrained: Store | None,
    heuristics: Sequence[str] | None = None,
    *,
    tables: Sequence[xr.Dataset] = (),
    prompts: Sequence[str] | None = None,
    prior: bool = True,
    recipe: Recipe = "corrected",
    step: int | None = None,
    include_flagged: bool = False,
) -> Gathered:
    """Rows of stores with and without outcomes; arguments as of `predict`, heuristics by their full names."""
    given = as_list(stores)
    targets = given if untrained is None else [untrained]
    computed = {
        store.path: base_model(store, heuristics or READS, recipe=recipe) for store in dict.fromkeys([*given, *targets])
    }
    table, trained = _learned(given, computed, recipe, step, include_flagged)
    if tables:
        table = pooled([table, *tables]) if trained else pooled(tables)
    calibrated = list(dict.fromkeys(settings for store in trained for settings in settings_of(store)))
    names = dict(zip([s.path for s in given], experiment_names(given), strict=True))
    parts: list[xr.Dataset] = []
    asked: dict[str, None] = {}
    for store in targets:
        other = unlike(settings_of(store), calibrated)
        asked |= dict.fromkeys(str(settings) for settings in other)
        name = names.get(store.path) or experiment_names([store])[0]
        parts.append(_targets(store, computed[store.path], name, bool(other), recipe, step))
    new = xr.concat(parts, dim="row", join="outer")
    if prompts:
        new = new.isel(row=np.flatnonzero(of_prompts(targets, prompts, new["prompt"].values.astype(str))))
    texts = [text for store in [*given, *targets] for text in prompt_column(store, "text").values()]
    own = prior and (bool(tables) or shipped().holds(texts))
    why = "a table may hold prompts it was fitted to" if tables else "the stores hold prompts it was fitted to"
    said: dict[str, list[str] | str] = {
        "settings": [str(settings) for settings in calibrated],
        "unlike": list(asked),
        "prior_left_out": why if own else "",
    }
    return Gathered(table, new, shipped() if prior and not own else None, said)


def suppressions(
    stores: Sequence[Store], recipe: Recipe, step: int | None, include_flagged: bool
) -> tuple[dict[Path, xr.Dataset], dict[Path, str]]:
    """By path: the suppression of the stores that have runs, and why the others have none."""
    held: dict[Path, xr.Dataset] = {}
    why: dict[Path, str] = {}
    for store in stores:
        try:
            held[store.path] = suppression(store, recipe=recipe, step=step, include_flagged=include_flagged)
        except IncompleteStore as error:
            why[store.path] = str(error)
    return held, why


def _learned(
    stores: Sequence[Store],
    computed: Mapping[Path, xr.Dataset],
    recipe: Recipe,
    step: int | None,
    include_flagged: bool,
) -> tuple[xr.Dataset, list[Store]]:
    """The rows of the stores that have outcomes (without rows if none has), and these stores."""
    names = dict(zip([s.path for s in stores], experiment_names(stores), strict=True))
    held, why = suppressions(stores, recipe, step, include_flagged)
    able = [store for store in stores if store.path in held and held[store.path].sizes["run"]]
    without = [f"{names[path]}: {error}" if len(stores) > 1 else error for path, error in why.items()]
    if not able:
        blank = candidate_rows([], next(iter(computed.values())), "", {}, ())
        empty = {name: ("row", np.empty(0)) for name in ("suppression", "control")}
        return blank.assign(empty).assign_attrs(left_out=without, recipe=recipe), []
    table = rows(
        able, [computed[store.path] for store in able], names=[names[store.path] for store in able],
        recipe=recipe, step=step, include_flagged=include_flagged,
    )  # fmt: skip
    return table.assign_attrs(left_out=[*table.attrs["left_out"], *without]), able


def _targets(
    store: Store, columns: xr.Dataset, name: str, unlike: bool, recipe: Recipe, step: int | None
) -> xr.Dataset:
    """Every prompt, prefix type and trait of a store, with its control's scores where it has a control run."""
    prompts = columns["prompt"].values.astype(str).tolist()
    kinds = columns["prefix_type"].values.astype(str).tolist() if columns.sizes.get("prefix_type") else KINDS
    cells = [(p, kind, trait.name) for p in prompts for kind in kinds for trait in store.traits]
    new = candidate_rows(cells, columns, name, prompt_column(store, "family"), store.traits)
    levels = control_levels(store, recipe=recipe, step=step)
    control = np.array([levels.get(trait, np.nan) for _, _, trait in cells], dtype=np.float64)
    return new.assign(control=("row", control), unlike=("row", np.full(len(cells), unlike)))
