"""Rows of experiment, prompt, prefix type and trait: what training did, and what the base model says."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float64, Shaped

from inoc.errors import BadInput, IncompleteStore
from inoc.heuristics.frame.prompt_inputs import of_trait
from inoc.heuristics.frame.rows import column_name
from inoc.heuristics.maths.pointwise import mean_of_finite
from inoc.heuristics.maths.prompt_level import elicitation
from inoc.names import unknown
from inoc.outcomes.effects import cross_of, gap_of, suppression_of
from inoc.outcomes.final import final_scores, other_judges, run_scores
from inoc.store.schema import ScoreInfo
from inoc.store.store import Store
from inoc.values import Recipe

BASELINE = "elicitation"
"""The heuristic every other one is measured against."""
CELL = ("prompt", "prefix_type", "trait")
SPREAD = {"component": 3, "completion_set": None, "variant": None, "layer": None}
"""Dims of a heuristic that become one column per label (`pca[1]`, `ppd[control]`), and how many of them."""


def rows(
    stores: Store | Sequence[Store],
    heuristics: xr.Dataset | Sequence[xr.Dataset] | None = None,
    *,
    only: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    recipe: Recipe = "corrected",
    step: int | None = None,
    include_flagged: bool = False,
) -> xr.Dataset:
    """The tidy table behind `performance` and `predict`; `.to_dataframe()` makes it a spreadsheet.

    Args:
        stores: One store or several with evaluated runs.
        heuristics: What `inoc.heuristics.compute` gives for each store; computed if not given.
        only: Compute only these heuristics (by name or symbol) and elicitation.
        names: Of the experiments; their own if not given.
        recipe: "corrected", or "published" (largest stored step, judges may differ, `gap` is the difference
            of the two suppressions).
        step: The step to use for every run; None for the final one.
        include_flagged: Keep runs whose late steps contradict each other.

    Returns:
        Dim row, with coordinates `experiment`, `prompt`, `family`, `trait`, `prefix_type`, `on_target` (the prompt's
        family is the row's trait, or neutral), `effect` ("loss" of what is wanted, else "suppression"):
        `suppression`, `cross`, `gap` (pp, mean over seeds), `control`,
        `cross_control` (pp, mean control score), `heuristic_value` (heuristic, row), NaN where missing.

    Raises:
        IncompleteStore: A store has no evaluated run, no control run or no logprobs.
        BadInput: One trait was scored by different judges (unless `published`), or two stores have one name.
    """
    given = as_list(stores)
    if heuristics is None:
        computed = [base_model(store, only, recipe=recipe) for store in given]
    else:
        computed = [heuristics] if isinstance(heuristics, xr.Dataset) else list(heuristics)
    tables: list[xr.Dataset] = []
    judges: dict[str, dict[str, str]] = {}
    left_out: list[str] = []
    for store, name, columns in zip(given, names or experiment_names(given), computed, strict=True):
        final = final_scores(run_scores(store), recipe=recipe, step=step, include_flagged=include_flagged)
        held, gaps = suppression_of(final, recipe=recipe), gap_of(final, recipe=recipe)
        for t, trait in enumerate(final.trait):
            for judge in np.unique(held["judge"].values[:, t].astype(str)):
                judges.setdefault(trait, {}).setdefault(str(judge), name)
        families = prompt_column(store, "family")
        tables.append(rows_of(held, gaps, columns, name, families, store.traits, recipe=recipe))
        left_out += [f"{name}: {reason}" if len(given) > 1 else reason for reason in final.left_out]
    for trait, seen in judges.items():
        if len(seen) > 1 and recipe != "published":
            raise other_judges(trait, seen)
    absent = dict.fromkeys(str(line) for columns in computed for line in columns.attrs.get("absent", []))
    table = xr.concat(tables, dim="row", join="outer", combine_attrs="drop_conflicts")
    return table.assign_attrs(recipe=recipe, left_out=left_out, absent=list(absent))


def as_list(stores: Store | Sequence[Store]) -> list[Store]:
    """One store or several, as a list."""
    return [stores] if isinstance(stores, Store) else list(stores)


def base_model(store: Store, only: Sequence[str] | None = None, *, recipe: Recipe = "corrected") -> xr.Dataset:
    """The heuristics of a store, all or the named ones with elicitation; prompts that are elicited but not scored are
    there with their elicitation. IncompleteStore where the store has neither logprobs nor elicitation."""
    from inoc.heuristics.frame.table import compute

    elicited = store.elicitation
    if not store.completion_sets and elicited is None:
        raise IncompleteStore(
            f"the store {store.path.name} has neither logprobs nor elicitation of the base model, so there are no "
            "heuristics. Fix: make them with `inoc score` or `inoc elicit`, or read a file with `inoc import`."
        )
    names = None if only is None else list(dict.fromkeys([BASELINE, *(n.split("[")[0] for n in only)]))
    found = compute(store, recipe=recipe, only=names)
    scored = found["prompt"].values.astype(str).tolist()
    if elicited is None or BASELINE not in found:
        return found
    more = [prompt for prompt in elicited["prompt"].values.astype(str).tolist() if prompt not in scored]
    if not more:
        return found
    measured = elicited.sel(prompt=more)
    known = {trait.name: trait for trait in store.traits}
    score, baseline = (
        _by_trait(
            measured[name].transpose("trait", ...), [known[t] for t in found["trait"].values.astype(str).tolist()]
        )
        for name in ("score", "baseline")
    )
    added = xr.DataArray(
        elicitation(score, baseline, recipe), dims=("trait", "prompt"), coords={"prompt": more, "trait": found["trait"]}
    )
    kept = found.drop_vars(["role", "family"], errors="ignore").reindex(prompt=[*scored, *more])
    return kept.assign({BASELINE: kept[BASELINE].fillna(added)}).assign_attrs(found.attrs)


def _by_trait(values: xr.DataArray, traits: Sequence[ScoreInfo]) -> Float64[np.ndarray, "trait ..."]:
    """How much of each trait elicitation shows, as the heuristics read it."""
    names = values["trait"].values.astype(str).tolist()
    stored = dict(zip(names, values.values.astype(np.float64), strict=True))
    missing = np.full(values.shape[1:], np.nan)
    shown = [of_trait(trait, stored) for trait in traits]
    return np.stack([missing if rows is None else rows for rows in shown])


def of_prompts(
    stores: Sequence[Store], wanted: Sequence[str], prompts: Shaped[np.ndarray, " row"]
) -> Bool[np.ndarray, " row"]:
    """The rows of the wanted prompts, named by key or group; BadInput where no store has one of that name."""
    keys: set[str] = set()
    for name in wanted:
        found = {k for store in stores for k, group in prompt_column(store, "group").items() if name in (k, group)}
        if not found:
            raise BadInput(unknown("prompt", name, [k for store in stores for k in prompt_column(store, "group")]))
        keys |= found
    return np.isin(prompts, sorted(keys))


def full_names(names: Sequence[str]) -> list[str]:
    """Names of heuristics given by name or symbol (`H1`), with a label in brackets or without."""
    from inoc.heuristics.frame.registry import find

    parts = [name.partition("[") for name in names]
    return ["".join((find(name).name, *label)) for name, *label in parts]


def packages(names: Sequence[str]) -> list[str]:
    """The package that declares each heuristic column, experimental ones apart; "inoc" where nobody does."""
    from inoc.heuristics.frame.registry import heuristics

    declared = {
        variable.name: entry.source_package for entry in heuristics().values() for variable in entry.variables()
    }
    return [declared.get(name.split("[")[0], "inoc") for name in names]


def prompt_column(store: Store, column: str) -> dict[str, str]:
    """Prompt key -> text, group, family or role."""
    keys, values = (store.prompts[name].values.astype(str).tolist() for name in ("prompt", column))
    return dict(zip(keys, values, strict=True))


def rows_of(
    held: xr.Dataset,
    gaps: xr.Dataset,
    heuristics: xr.Dataset,
    experiment: str,
    families: Mapping[str, str],
    traits: Sequence[ScoreInfo],
    *,
    recipe: Recipe = "corrected",
) -> xr.Dataset:
    """`rows` of one experiment.

    Args:
        held: What `suppression` returns.
        gaps: What `gap` returns.
        heuristics: What `inoc.heuristics.compute` returns.
        experiment: Its name.
        families: Prompt key -> family.
        traits: The traits, each with its family.
        recipe: "corrected" (paired gaps) or "published" (differences of suppressions).

    Returns:
        The Dataset of `rows` (pp).
    """
    cross = cross_of(held)
    labels = held["run_prompt"].values.astype(str), held["prefix_type"].values.astype(str)
    keys = dict.fromkeys(zip(labels[0].tolist(), labels[1].tolist(), strict=True))
    cells = [(prompt, kind, str(trait)) for prompt, kind in keys for trait in held["trait"].values]
    sources = {"suppression": (held, "mean"), "cross": (cross, "mean"), "control": (held, "control")}
    sources["cross_control"] = (cross, "control")
    numbers: dict[str, list[float]] = {name: [] for name in (*sources, "gap")}
    for prompt, kind, trait in cells:
        mine = (labels[0] == prompt) & (labels[1] == kind)
        for name, (source, variable) in sources.items():
            numbers[name].append(_mean(source.sel(trait=trait)[variable].values[mine]))
    suppressed = dict(zip(cells, numbers["suppression"], strict=True))
    for prompt, _, trait in cells:
        if recipe == "published":
            fixed, mix = (suppressed.get((prompt, kind, trait), np.nan) for kind in ("fixed", "mix"))
            numbers["gap"].append(fixed - mix)
        else:
            numbers["gap"].append(_mean(gaps.sel(trait=trait)["mean"].values[gaps["prompt"].values == prompt]))
    table = candidate_rows(cells, heuristics, experiment, families, traits)
    return table.assign(
        {name: ("row", np.array(values, dtype=np.float64), {"units": "pp"}) for name, values in numbers.items()}
    )


def candidate_rows(
    cells: Sequence[tuple[str, str, str]],
    heuristics: xr.Dataset,
    experiment: str,
    families: Mapping[str, str],
    traits: Sequence[ScoreInfo],
) -> xr.Dataset:
    """Rows without outcome at (prompt, prefix type, trait) cells: labels and heuristics."""
    names, matrix = heuristic_columns(heuristics, cells)
    about = [trait.family for trait in traits], [trait.role for trait in traits]
    asked, roles = ({trait.name: value for trait, value in zip(traits, column, strict=True)} for column in about)
    family = [families.get(prompt, "") for prompt, _, _ in cells]
    labels: dict[str, list[str]] = {
        "experiment": [experiment] * len(cells),
        "prompt": [prompt for prompt, _, _ in cells],
        "family": family,
        "trait": [trait for _, _, trait in cells],
        "prefix_type": [kind for _, kind, _ in cells],
        "effect": ["loss" if roles.get(trait) == "positive" else "suppression" for _, _, trait in cells],
    }
    on_target = [f in ("neutral", asked.get(t, t)) for f, (_, _, t) in zip(family, cells, strict=True)]
    return xr.Dataset(
        {"heuristic_value": (("heuristic", "row"), matrix)},
        coords={
            **{name: ("row", np.array(values, dtype=object)) for name, values in labels.items()},
            "on_target": ("row", np.array(on_target, dtype=bool)),
            "heuristic": np.array(names, dtype=object),
        },
    )


def heuristic_columns(
    heuristics: xr.Dataset, cells: Sequence[tuple[str, str, str]]
) -> tuple[list[str], Float64[np.ndarray, "heuristic row"]]:
    """The columns of a heuristics Dataset at (prompt, prefix type, trait) cells; a cell it lacks is NaN.

    Every number over `prompt` (and `prefix_type`, `trait`) is a column; a dim of `SPREAD` gives one column per
    label. Variables with other dims (interval bounds, pairs) are left out.
    """
    names: list[str] = []
    columns: list[Float64[np.ndarray, " row"]] = []
    for name, variable in heuristics.data_vars.items():
        dims = {str(dim) for dim in variable.dims}
        if "prompt" not in dims or variable.dtype.kind != "f" or not dims <= {*CELL, *SPREAD}:
            continue
        inner = [dim for dim in SPREAD if dim in dims]
        for labels in product(*(variable[dim].values[: SPREAD[dim]].tolist() for dim in inner)):
            place = dict(zip(inner, labels, strict=True))
            names.append(column_name(str(name), place))
            columns.append(_at(heuristics[[name]].sel(place)[name], cells))
    return names, np.array(columns, dtype=np.float64).reshape(len(names), len(cells))


def experiment_names(stores: Sequence[Store]) -> list[str]:
    """A name per store: its experiment's, or its file's where that has none or another store has the same."""
    own = [str(store.experiment.get("name") or store.path.stem) for store in stores]
    names = [n if own.count(n) == 1 else store.path.stem for n, store in zip(own, stores, strict=True)]
    if len(set(names)) < len(names):
        raise BadInput(f"two stores have the same name ({', '.join(names)}). Fix: give each store once.")
    return names


def _at(variable: xr.DataArray, cells: Sequence[tuple[str, str, str]]) -> Float64[np.ndarray, " row"]:
    """Values of one column at the cells; NaN where prompt, prefix type or trait is unknown to it."""
    result = np.full(len(cells), np.nan)
    dims = [str(dim) for dim in variable.dims]
    values = np.asarray(variable.values, dtype=np.float64)
    places = {dim: {str(label): i for i, label in enumerate(variable[dim].values)} for dim in dims}
    for row, cell in enumerate(cells):
        wanted: dict[str, str] = dict(zip(CELL, cell, strict=True))
        index = tuple(places[dim].get(wanted[dim], -1) for dim in dims)
        if min(index) >= 0:
            result[row] = values[index]
    return result


def _mean(values: np.ndarray) -> float:
    return float(mean_of_finite(values.astype(np.float64)))
