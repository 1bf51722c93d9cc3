"""Rows of experiment, prompt, prefix type and trait: what training did beside what the base model said."""

# pyright: reportUnknownMemberType=false

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import xarray as xr
from jaxtyping import Float64

from inoc.errors import BadInput, IncompleteStore
from inoc.outcomes.effects import cross_of, gap_of, run_scores, suppression_of
from inoc.outcomes.final import final_scores, other_judges
from inoc.store.schema import TraitInfo
from inoc.store.store import Store
from inoc.values import Recipe

BASELINE = "elicitation"
"""The heuristic every other one is measured against."""
CELL = ("prompt", "prefix_type", "trait")
SPREAD = {"component": 3, "trait_component": 3, "completion_set": None}
"""Dims of a heuristic that become one column per label (`pca[1]`, `ppd[control]`), and how many of them."""


def rows(
    runs: Store | Sequence[Store],
    heuristics: xr.Dataset | Sequence[xr.Dataset] | None = None,
    *,
    only: Sequence[str] | None = None,
    recipe: Recipe = "corrected",
    step: int | None = None,
    include_flagged: bool = False,
) -> xr.Dataset:
    """The tidy table behind `performance` and `predict`; `.to_dataframe()` makes it a spreadsheet.

    Dim row; coordinates `experiment`, `prompt`, `family`, `trait`, `prefix_type`, `on_target` (the prompt's
    family is the row's trait, or neutral); variables `suppression`, `cross`, `gap` (pp, mean over seeds),
    `control`, `cross_control` (mean control score), and `heuristic_value` (heuristic, row), NaN where
    missing. `gap` is the paired one in `corrected`, the difference of the two suppressions in `published`.
    `heuristics`: what `inoc.heuristics.compute` gives for each run; computed when not given. Raises BadInput
    where one trait was scored by different judges in different stores (unless `published`).
    """
    stores = [runs] if isinstance(runs, Store) else list(runs)
    if heuristics is None:
        computed = [base_model(run, only, recipe=recipe) for run in stores]
    else:
        computed = [heuristics] if isinstance(heuristics, xr.Dataset) else list(heuristics)
    names = experiment_names(stores)
    tables: list[xr.Dataset] = []
    judges: dict[str, dict[str, str]] = {}
    left_out: list[str] = []
    for run, name, columns in zip(stores, names, computed, strict=True):
        final = final_scores(run_scores(run), recipe=recipe, step=step, include_flagged=include_flagged)
        held = suppression_of(final, recipe=recipe)
        for t, trait in enumerate(final.trait):
            for judge in np.unique(held["judge"].values[:, t].astype(str)):
                judges.setdefault(trait, {}).setdefault(str(judge), name)
        families = dict(
            zip(map(str, run.prompts["prompt"].values), map(str, run.prompts["family"].values), strict=True)
        )
        tables.append(
            rows_of(held, gap_of(final, recipe=recipe), columns, name, families, run.traits, recipe=recipe)
        )
        left_out += [f"{name}: {reason}" if len(stores) > 1 else reason for reason in final.left_out]
    for trait, seen in judges.items():
        if len(seen) > 1 and recipe != "published":
            raise other_judges(trait, list(seen.items()))
    table = xr.concat(tables, dim="row", join="outer", combine_attrs="drop_conflicts")
    absent = [str(line) for columns in computed for line in columns.attrs.get("absent", [])]
    table.attrs = {"recipe": recipe, "left_out": left_out, "absent": list(dict.fromkeys(absent))}
    return table


def base_model(
    store: Store, only: Sequence[str] | None = None, *, recipe: Recipe = "corrected"
) -> xr.Dataset:
    """The heuristics of a store: all, or the named ones with elicitation.

    Raises IncompleteStore without logprobs, BadInput for an unknown name.
    """
    from inoc.heuristics.frame.resolve import compute

    if not store.completion_sets:
        raise IncompleteStore(
            f"the store {store.path.name} has no base-model logprobs, so there are no heuristics; `inoc score` "
            "makes them, or `inoc import` reads them from a file."
        )
    names = None if only is None else list(dict.fromkeys([BASELINE, *(n.split("[")[0] for n in only)]))
    return compute(store, recipe=recipe, only=names)


def full_names(names: Sequence[str]) -> list[str]:
    """Names of heuristics given by name or symbol (`H1`), with a label in brackets or without."""
    from inoc.heuristics.frame.registry import find

    return [find(name.split("[")[0]).name + name[len(name.split("[")[0]) :] for name in names]


def rows_of(
    held: xr.Dataset,
    gaps: xr.Dataset,
    heuristics: xr.Dataset,
    experiment: str,
    families: Mapping[str, str],
    traits: Sequence[TraitInfo],
    *,
    recipe: Recipe = "corrected",
) -> xr.Dataset:
    """`rows` of one experiment from its suppression and gap tables and its heuristics."""
    cross = cross_of(held)
    by_trait = {trait.name: trait.family for trait in traits}
    keys = dict.fromkeys(
        (str(prompt), str(kind))
        for prompt, kind in zip(held["run_prompt"].values, held["prefix_type"].values, strict=True)
    )
    cells = [(prompt, kind, str(trait)) for prompt, kind in keys for trait in held["trait"].values]
    numbers: dict[str, list[float]] = {
        name: [] for name in ("suppression", "cross", "gap", "control", "cross_control")
    }
    values = {("suppression", "mean"): held, ("cross", "mean"): cross}
    values |= {("control", "control"): held, ("cross_control", "control"): cross}
    fixed_and_mix: dict[tuple[str, str, str], float] = {}
    for prompt, kind, trait in cells:
        mine = (held["run_prompt"].values == prompt) & (held["prefix_type"].values == kind)
        for (name, variable), table in values.items():
            numbers[name].append(_mean(table[variable].sel(trait=trait).values[mine]))
        fixed_and_mix[prompt, kind, trait] = numbers["suppression"][-1]
    for prompt, _, trait in cells:
        if recipe == "published":
            fixed = fixed_and_mix.get((prompt, "fixed", trait), np.nan)
            numbers["gap"].append(fixed - fixed_and_mix.get((prompt, "mix", trait), np.nan))
        else:
            own = gaps["prompt"].values == prompt
            numbers["gap"].append(_mean(gaps["mean"].sel(trait=trait).values[own]))
    family = [families.get(prompt, "") for prompt, _, _ in cells]
    on_target = [f in ("neutral", by_trait.get(t, t)) for f, (_, _, t) in zip(family, cells, strict=True)]
    names, matrix = heuristic_columns(heuristics, cells)
    table = xr.Dataset(
        {
            name: ("row", np.array(column, dtype=np.float64), {"units": "pp"})
            for name, column in numbers.items()
        },
        coords={
            "experiment": ("row", np.full(len(cells), experiment, dtype=object)),
            "prompt": ("row", np.array([prompt for prompt, _, _ in cells], dtype=object)),
            "family": ("row", np.array(family, dtype=object)),
            "trait": ("row", np.array([trait for _, _, trait in cells], dtype=object)),
            "prefix_type": ("row", np.array([kind for _, kind, _ in cells], dtype=object)),
            "on_target": ("row", np.array(on_target, dtype=bool)),
            "heuristic": ("heuristic", np.array(names, dtype=object)),
        },
    )
    table["heuristic_value"] = (("heuristic", "row"), matrix)
    return table


def heuristic_columns(
    heuristics: xr.Dataset, cells: Sequence[tuple[str, str, str]]
) -> tuple[list[str], Float64[np.ndarray, "heuristic row"]]:
    """The columns of a heuristics Dataset at (prompt, prefix type, trait) cells; a cell it lacks is NaN.

    Every number over `prompt` (and `prefix_type`, `trait`) is a column; `component` (the first three) and
    `completion_set` give one column per label. Variables with other dims (interval bounds, pairs) are none.
    """
    names: list[str] = []
    columns: list[Float64[np.ndarray, " row"]] = []
    for name, variable in heuristics.data_vars.items():
        dims = {str(dim) for dim in variable.dims}
        if "prompt" not in dims or variable.dtype.kind != "f" or not dims <= {*CELL, *SPREAD}:
            continue
        inner = [dim for dim in SPREAD if dim in dims]
        for labels in product(*(variable[dim].values[: SPREAD[dim]].tolist() for dim in inner)):
            suffix = f"[{','.join(str(label) for label in labels)}]" if labels else ""
            names.append(f"{name}{suffix}")
            columns.append(_at(variable.sel(dict(zip(inner, labels, strict=True))), cells))
    return names, np.array(columns, dtype=np.float64).reshape(len(names), len(cells))


def experiment_names(runs: Sequence[Store]) -> list[str]:
    """A name per store: its experiment's, or its file's where that has none or another store has the same."""
    own = [str(run.experiment.get("name") or run.path.stem) for run in runs]
    names = [name if own.count(name) == 1 else run.path.stem for name, run in zip(own, runs, strict=True)]
    if len(set(names)) < len(names):
        raise BadInput(f"two of the stores have the same name ({', '.join(names)}); give each store once.")
    return names


def _at(variable: xr.DataArray, cells: Sequence[tuple[str, str, str]]) -> Float64[np.ndarray, " row"]:
    """Values of one column at the cells; NaN where prompt, prefix type or trait is unknown to it."""
    result = np.full(len(cells), np.nan)
    dims = [str(dim) for dim in variable.dims]
    values = np.asarray(variable.values, dtype=np.float64)
    places = {dim: {str(label): i for i, label in enumerate(variable[dim].values)} for dim in dims}
    for row, (prompt, kind, trait) in enumerate(cells):
        wanted = {"prompt": prompt, "prefix_type": kind, "trait": trait}
        index = tuple(places[dim].get(wanted[dim], -1) for dim in dims)
        if min(index) >= 0:
            result[row] = values[index]
    return result


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else np.nan
