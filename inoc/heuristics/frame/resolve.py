"""From a run to the table of heuristics: what was asked for, what it needs, what is absent and why."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from inoc.errors import BadInput
from inoc.heuristics.frame.inputs import Inputs
from inoc.heuristics.frame.protocols import StoreLike
from inoc.heuristics.frame.registry import Absent, Heuristic, find, heuristics, with_companions
from inoc.heuristics.maths.angles import CATEGORIES, PREDICTORS, REPRESENTATIONS
from inoc.heuristics.maths.gap import is_constant
from inoc.heuristics.maths.gram import COMPONENTS
from inoc.heuristics.tokens.engine import EngineName
from inoc.values import Recipe

if TYPE_CHECKING:
    import xarray as xr

Attribute = str | int | float | list[int]


@dataclass(frozen=True)
class Variable:
    """One computed heuristic: an array with named dims and what it means."""

    dims: tuple[str, ...]
    values: np.ndarray
    attrs: Mapping[str, Attribute]


@dataclass(frozen=True)
class Table:
    """Computed heuristics with their labels, as plain arrays. `absent` says why the others are not here."""

    variables: Mapping[str, Variable]
    coords: Mapping[str, tuple[str, Sequence[str] | Sequence[int]]]
    """Label name -> (dim, labels)."""
    absent: Mapping[str, str]
    """Heuristic -> reason."""
    notes: tuple[str, ...]
    """What was left out or is missing, in sentences."""
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
    """All heuristics of a run (or `only` some, by name or symbol) as a Dataset.

    Dims prompt and prefix_type, and component, trait, completion_set, representation, other_prompt, category,
    bound where they apply. `prompts` are the prompts at hand: spectra, angles, centroids and z-scores are
    relative to these and equal those of a store that holds no others. What cannot be computed is not a
    variable; the attr `absent` lists "name: reason".

    Raises:
        BadInput: an unknown recipe, heuristic, prompt or completion set.
        BrokenStore: the store is damaged.
    """
    table = measure(
        store, recipe=recipe, only=only, prompts=prompts, completion_set=completion_set, engine=engine
    )
    return dataset(table)


def measure(
    store: StoreLike,
    *,
    recipe: Recipe = "corrected",
    only: Sequence[str] | None = None,
    prompts: Sequence[str] | None = None,
    completion_set: str = "train",
    engine: EngineName = "auto",
) -> Table:
    """`compute` without xarray, for the command line."""
    if recipe not in ("corrected", "published"):
        raise BadInput(f"no recipe '{recipe}': it is corrected or published.")
    from threadpoolctl import threadpool_limits  # pyright: ignore[reportMissingTypeStubs]

    only, prompts = ([given] if isinstance(given, str) else given for given in (only, prompts))
    names = with_companions(only) if only else list(heuristics())
    with threadpool_limits(1, user_api="blas"):  # threads of BLAS make many small matrices slower, not faster
        return _measure(names, recipe, prompts, completion_set, engine, store)


def _measure(
    names: Sequence[str],
    recipe: Recipe,
    prompts: Sequence[str] | None,
    completion_set: str,
    engine: EngineName,
    store: StoreLike,
) -> Table:
    inputs = Inputs(store, recipe=recipe, prompts=prompts, completion_set=completion_set, engine=engine)
    resolver = Resolver(inputs)
    if "spectrum" in closure(names):
        resolver.try_input("spectrum")
    variables: dict[str, Variable] = {}
    absent: dict[str, str] = {}
    for name in names:
        entry = find(name)
        try:
            values = resolver.value(entry)
        except Absent as reason:
            absent[name] = str(reason)
        else:
            variables[name] = Variable(entry.dims, values, attributes(entry, values, inputs))
    used = {dim for variable in variables.values() for dim in variable.dims} | {"prompt"}
    coords = {name: pair for name, pair in resolver.labels.items() if pair[0] in used}
    attrs: dict[str, Attribute] = {"recipe": recipe, "completion_set": completion_set}
    return Table(variables, coords, absent, notes(inputs), attrs)


class Resolver:
    """Finds the value of an input or a heuristic by name, each computed once."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._known: dict[str, object] = {}
        self.labels = labels(inputs)

    def try_input(self, name: str) -> None:
        """Compute an input ahead of others; that it is absent is found again by who needs it."""
        with suppress(Absent):
            self.get(name)

    def get(self, name: str) -> object:
        if name not in self._known:
            entry = heuristics().get(name)
            make: Callable[[], object] = lambda: (
                self._inputs.get(name) if entry is None else self._call(entry)
            )
            try:
                self._known[name] = make()
            except Absent as reason:
                self._known[name] = reason
        found = self._known[name]
        if isinstance(found, Absent):
            raise found
        return found

    def value(self, entry: Heuristic) -> np.ndarray:
        """The heuristic's array; a failing plugin's heuristic is absent with a warning."""
        found = self.get(entry.name)
        return cast(np.ndarray, found)

    def _call(self, entry: Heuristic) -> np.ndarray:
        if entry.package == "inoc":
            return self._checked(entry)
        try:
            return self._checked(entry)
        except Absent:
            raise
        except Exception as error:
            reason = f"the plugin {entry.package} failed: {type(error).__name__}: {error}"
            warnings.warn(f"heuristic '{entry.name}' is left out: {reason}", RuntimeWarning, stacklevel=2)
            raise Absent(reason) from error

    def _checked(self, entry: Heuristic) -> np.ndarray:
        arguments: dict[str, object] = {}
        for parameter, source in entry.needs().items():
            if source not in heuristics() and source not in Inputs.names() and not source.endswith("_stored"):
                raise BadInput(
                    f"heuristic '{entry.name}' needs '{source}', which is no input and no heuristic"
                )
            arguments[parameter] = self.get(source)
        values = np.asarray(entry.function(**arguments))
        sizes = [len(self.labels[dim][1]) if dim in self.labels else None for dim in entry.dims]
        fits = values.ndim == len(sizes) and all(
            s in (None, n) for s, n in zip(sizes, values.shape, strict=True)
        )
        if not fits:
            raise BadInput(f"heuristic '{entry.name}' gave shape {values.shape} for dims {entry.dims}")
        return values


def closure(names: Iterable[str]) -> set[str]:
    """All heuristics and inputs that the named heuristics lead to."""
    known = heuristics()
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            if name in known:
                waiting += known[name].needs().values()
    return reached


def labels(inputs: Inputs) -> dict[str, tuple[str, Sequence[str] | Sequence[int]]]:
    """Labels of every dim a heuristic can have, and role and family along prompt."""
    found: dict[str, tuple[str, Sequence[str] | Sequence[int]]] = {
        "prompt": ("prompt", inputs.prompts),
        "other_prompt": ("other_prompt", inputs.prompts),
        "prefix_type": ("prefix_type", inputs.prefix_types),
        "component": ("component", range(1, COMPONENTS + 1)),
        "trait": ("trait", inputs.trait_names),
        "representation": ("representation", REPRESENTATIONS),
        "category": ("category", CATEGORIES),
        "predictor": ("predictor", PREDICTORS),
        "bound": ("bound", ("lower", "upper")),
    }
    for name in ("role", "family"):
        if any(column := inputs.prompt_column(name)):
            found[name] = ("prompt", column)
    with suppress(Absent):
        found["completion_set"] = ("completion_set", inputs.other_sets)
    return found


def attributes(entry: Heuristic, values: np.ndarray, inputs: Inputs) -> dict[str, Attribute]:
    """long_name, units, formula, recipe, source, sign, symbol, level, n (of what), number of NaN."""
    attrs: dict[str, Attribute] = {
        "long_name": entry.long_name,
        "units": entry.units,
        "formula": entry.formula,
        "recipe": inputs.recipe,
        "source": entry.source or ("inoc" if entry.package == "inoc" else entry.package),
        "symbol": entry.symbol,
        "level": entry.level,
        "sign": entry.sign,
    }
    attrs |= sample_size(entry, inputs)
    attrs["nan"] = int(np.isnan(values).sum()) if values.dtype.kind == "f" else 0
    if entry.family == "gap":
        attrs["constant"] = int(is_constant(np.asarray(values, dtype=np.float64)))
    return attrs


def sample_size(entry: Heuristic, inputs: Inputs) -> dict[str, Attribute]:
    """n: how many examples, tokens, instructions or prompts a value rests on; [least, most] if it varies."""
    kind = entry.level
    if entry.family in ("spectra", "angles"):
        return {"n": len(inputs.prompts), "n_of": "prompts"}
    if entry.name == "ppd":
        return _range(np.isfinite(inputs.w_other_sets).sum(-1), "examples")
    if kind == "example" or "n_examples" in entry.companions:
        return _range(np.isfinite(inputs.w).sum(-1), "examples")
    if kind == "token":
        return _range(inputs.statistics.count, "tokens")
    if entry.name.startswith("elicitation"):
        pairs = inputs.elicitation_score - inputs.elicitation_baseline[:, None, :]
        return _range(np.isfinite(pairs).sum(-1), "instructions")
    return {"n": len(inputs.prompts), "n_of": "prompts"}


def _range(counts: np.ndarray, what: str) -> dict[str, Attribute]:
    least, most = (int(counts.min()), int(counts.max())) if counts.size else (0, 0)
    return {"n": least if least == most else [least, most], "n_of": what}


def notes(inputs: Inputs) -> tuple[str, ...]:
    """Missing data and what was left out, one sentence each; only of what has been read."""
    found: list[str] = []
    done = vars(inputs)
    if inputs.left_out:
        said = "prompt is" if len(inputs.left_out) == 1 else "prompts are"
        found.append(
            f"{len(inputs.left_out)} {said} stored at example level only and left out: "
            f"{', '.join(inputs.left_out)}."
        )
    statistics = done.get("spectrum") or done.get("statistics")
    if statistics is not None and statistics.missing.any():
        n, missing = int((statistics.missing + statistics.count).sum()), int(statistics.missing.sum())
        found.append(f"{missing} of {n} token differences are missing and left out.")
    if "w" in done:
        finite = np.isfinite(inputs.w)
        if not finite.all():
            found.append(
                f"{int((~finite).sum())} of {finite.size} example differences are missing and left out."
            )
        for f, p in np.argwhere(~finite.any(-1)):
            found.append(f"{inputs.prompts[p]} ({inputs.prefix_types[f]}) has no data: its values are NaN.")
    return tuple(found)


def dataset(table: Table) -> "xr.Dataset":
    """The table as an xarray Dataset, prompt and prefix_type first."""
    import xarray as xr

    order = ("prompt", "prefix_type", "trait", "completion_set", "representation", "category", "component")
    data = {
        name: xr.Variable(variable.dims, variable.values, dict(variable.attrs)).transpose(
            *(dim for dim in order if dim in variable.dims), ...
        )
        for name, variable in table.variables.items()
    }
    coords = {name: (dim, list(values)) for name, (dim, values) in table.coords.items()}
    attrs = {
        **table.attrs,
        "absent": [f"{name}: {reason}" for name, reason in table.absent.items()],
        "notes": list(table.notes),
    }
    return xr.Dataset(data, coords=coords, attrs=attrs)
