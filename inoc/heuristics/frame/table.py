"""From a store to the table of heuristics: what was asked for, what is absent and why; as arrays or a Dataset."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from inoc.errors import BadInput
from inoc.heuristics.frame.declarations import Heuristic
from inoc.heuristics.frame.inputs import Inputs
from inoc.heuristics.frame.protocols import Absent, Attribute, StoreLike
from inoc.heuristics.frame.registry import as_terms, computed, dimensions, heuristics, with_companions
from inoc.heuristics.frame.resolve import Resolver, closure
from inoc.heuristics.tokens.engines import EngineName
from inoc.heuristics.tokens.one_pass import TokenStatistics, one_blas_thread
from inoc.heuristics.tokens.terms import PRODUCTS
from inoc.names import unknown
from inoc.values import Recipe

if TYPE_CHECKING:
    import xarray as xr

Labels = tuple[str, Sequence[str] | Sequence[int]]
ORDER = ("prompt", "prefix_type", "trait", "completion_set", "variant", "representation", "category", "component")
"""Dims of a Dataset's variables in this order, others after them."""


@dataclass(frozen=True)
class Variable:
    """One computed heuristic or companion: an array with named dims and what it means."""

    dims: tuple[str, ...]
    values: np.ndarray
    attrs: Mapping[str, Attribute]


@dataclass(frozen=True)
class Table:
    """Computed heuristics with their labels, as plain arrays.

    Attributes:
        variables: By name, each heuristic followed by its companions.
        coords: Label name -> (dim, labels).
        absent: Name -> reason.
        notes: What was left out or is missing, in sentences.
        attrs: recipe and completion set.
    """

    variables: Mapping[str, Variable]
    coords: Mapping[str, Labels]
    absent: Mapping[str, str]
    notes: tuple[str, ...]
    attrs: Mapping[str, Attribute]


def compute(
    store: StoreLike,
    *,
    recipe: Recipe = "corrected",
    only: Sequence[str] | None = None,
    prompts: Sequence[str] | None = None,
    completion_set: str = "train",
    engine: EngineName = "auto",
) -> "xr.Dataset":
    """All heuristics of a store, or some, as a labeled Dataset.

    Args:
        store: What `inoc.open_store` gives.
        recipe: corrected or published.
        only: Names or symbols; a heuristic brings its companions (intervals, shares, counts).
        prompts: Only these; spectra, angles, centroids and z-scores are relative to them and equal those of a
            store that holds no others.
        completion_set: The set that the differences are of.
        engine: Where the work per token runs.

    Returns:
        Dims prompt and prefix_type, and component, trait, completion_set, variant, representation,
        other_prompt, category, bound where they apply. What cannot be computed is not a variable; the
        attribute `absent` lists "name: reason".

    Raises:
        BadInput: An unknown recipe, heuristic, prompt or completion set.
        BrokenStore: The store is damaged.

    Example:
        >>> inoc.heuristics.compute(store, only=["ph", "gamma"])["ph"].dims
        ('prompt', 'prefix_type')
    """
    return dataset(
        measure(store, recipe=recipe, only=only, prompts=prompts, completion_set=completion_set, engine=engine)
    )


def measure(
    store: StoreLike,
    *,
    recipe: Recipe = "corrected",
    only: Sequence[str] | None = None,
    prompts: Sequence[str] | None = None,
    completion_set: str = "train",
    engine: EngineName = "auto",
    tasks: int = 0,
) -> Table:
    """Compute the same as `compute`, without xarray.

    Args:
        store, recipe, only, prompts, completion_set, engine: As of `compute`.
        tasks: Into how many tasks of dask's client the pass over tokens is cut; 0 makes it here, with `engine`.

    Returns:
        The variables as arrays, and why others are absent.

    Raises:
        BadInput: An unknown recipe, heuristic, prompt or completion set.
    """
    if recipe not in ("corrected", "published"):
        raise BadInput(unknown("recipe", recipe, ("corrected", "published")))
    only, prompts = ([given] if isinstance(given, str) else given for given in (only, prompts))
    chosen = with_companions(only) if only else list(heuristics().values())
    needed = closure(variable.name for entry in chosen for variable in entry.variables())
    made = {name: entry for name, entry in computed().items() if isinstance(entry, Heuristic)}
    inputs = Inputs(
        store,
        recipe=recipe,
        prompts=prompts,
        completion_set=completion_set,
        engine=engine,
        tasks=tasks,
        terms=as_terms({n: e.token_term for n, e in made.items() if n in needed and e.token_term}),
        row_terms=as_terms({n: e.row_term for n, e in made.items() if n in needed and e.row_term}),
        products=[name for name in PRODUCTS if needed & {"statistics", f"statistics.{name}"}],
    )
    with one_blas_thread():  # threads of BLAS make many small matrices slower, not faster
        return _measure(chosen, inputs)


def _measure(chosen: Sequence[Heuristic], inputs: Inputs) -> Table:
    coords = labels(inputs)
    resolver = Resolver(inputs, lambda dim: len(coords[dim][1]) if dim in coords else None)
    variables: dict[str, Variable] = {}
    absent: dict[str, str] = {}
    for variable in (variable for entry in chosen for variable in entry.variables()):
        try:
            values = cast(np.ndarray, resolver.get(variable.name))
            variables[variable.name] = Variable(variable.dims, values, attributes(variable, values, inputs, resolver))
        except Absent as reason:
            absent[variable.name] = str(reason)
    used = {dim for variable in variables.values() for dim in variable.dims} | {"prompt"}
    coords = {name: pair for name, pair in coords.items() if pair[0] in used}
    attrs: dict[str, Attribute] = {"recipe": inputs.recipe, "completion_set": inputs.completion_set}
    return Table(variables, coords, absent, notes(inputs), attrs)


def labels(inputs: Inputs) -> dict[str, Labels]:
    """Labels of every dim a heuristic can have, and text, role and family along prompt."""
    found: dict[str, Labels] = {
        "prompt": ("prompt", inputs.prompts),
        "other_prompt": ("other_prompt", inputs.prompts),
        "prefix_type": ("prefix_type", inputs.prefix_types),
        "trait": ("trait", inputs.trait_names),
        **{dim: (dim, values) for dim, values in dimensions().items()},
    }
    for name in ("text", "role", "family"):
        if any(column := inputs.prompt_column(name)):
            found[name] = ("prompt", column)
    with suppress(Absent):
        found["completion_set"] = ("completion_set", inputs.other_sets)
    with suppress(Absent):
        found["layer"] = ("layer", inputs.layers)
    return found


def attributes(entry: Heuristic, values: np.ndarray, inputs: Inputs, resolver: Resolver) -> dict[str, Attribute]:
    """long_name, units, formula, recipe, source, sign, symbol, level, n (of what), number of NaN."""
    counted = entry.counted()
    counts = np.asarray(resolver.get(counted.counts))
    least, most = (int(counts.min()), int(counts.max())) if counts.size else (0, 0)
    return {
        "long_name": entry.long_name,
        "units": entry.units,
        "formula": entry.formula,
        "recipe": inputs.recipe,
        "source": entry.source or entry.package,
        "symbol": entry.symbol,
        "level": entry.level,
        "sign": entry.sign,
        "n": least if least == most else [least, most],
        "n_of": counted.what,
        "nan": int(np.isnan(values).sum()) if values.dtype.kind == "f" else 0,
        **{name: function(values) for name, function in entry.attributes.items()},
    }


def notes(inputs: Inputs) -> tuple[str, ...]:
    """Missing data and what was left out, one sentence each; only of what has been read."""
    found: list[str] = []
    done = vars(inputs)
    if inputs.left_out:
        said = "prompt is" if len(inputs.left_out) == 1 else "prompts are"
        found.append(
            f"{len(inputs.left_out)} {said} stored at example level only and left out: {', '.join(inputs.left_out)}."
        )
    statistics = done.get("statistics")
    if isinstance(statistics, TokenStatistics) and statistics.missing.any():
        n, missing = int((statistics.missing + statistics.count).sum()), int(statistics.missing.sum())
        found.append(f"{missing} of {n} token differences are missing and left out.")
    if "w" in done:
        finite = np.isfinite(inputs.w)
        if not finite.all():
            found.append(f"{int((~finite).sum())} of {finite.size} example differences are missing and left out.")
        for f, p in np.argwhere(~finite.any(-1)):
            found.append(f"{inputs.prompts[p]} ({inputs.prefix_types[f]}) has no data: its values are NaN.")
    return tuple(found)


def dataset(table: Table) -> "xr.Dataset":
    """The table as an xarray Dataset, prompt and prefix_type first."""
    import xarray as xr

    from inoc.heuristics.frame.labeled import HeuristicsDataset

    data = {
        name: xr.Variable(variable.dims, variable.values, dict(variable.attrs)).transpose(
            *(dim for dim in ORDER if dim in variable.dims), ...
        )
        for name, variable in table.variables.items()
    }
    coords = {name: (dim, list(values)) for name, (dim, values) in table.coords.items()}
    attrs = {
        **table.attrs,
        "absent": [f"{name}: {reason}" for name, reason in table.absent.items()],
        "notes": list(table.notes),
    }
    return HeuristicsDataset(data, coords=coords, attrs=attrs)
