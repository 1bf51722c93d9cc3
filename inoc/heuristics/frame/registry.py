"""The list of heuristics: what each is called, what it needs, what it means. Data first, so that docs and
tables are generated from it.

A heuristic is a function of arrays whose *parameter names say what it needs*: an input of a run (`w`,
`token_gram`, `roles`, ...: the attributes of `inoc.heuristics.frame.inputs.Inputs`) or another heuristic by name.
Decorating it registers it, and touches one file:

    @heuristic(symbol="HX", family="pointwise", level="example", units="nats", long_name="median difference",
               formula="median_k w")
    def median_difference(w):
        return np.nanmedian(w, axis=-1)

Other packages do the same and name their module under the entry point group `inoc.heuristics`.
"""

import difflib
import importlib
import importlib.metadata
import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeVar, cast

import numpy as np

from inoc.errors import BadInput

ENTRY_POINT_GROUP = "inoc.heuristics"
FAMILIES = {
    "pointwise": "pointwise",
    "tokenwise": "tokenwise_table",
    "spectra": "spectra",
    "gap": "gap",
    "angles": "angles",
    "prompt_level": "prompt_level",
    "composite": "composite",
}
"""Families of inoc's own heuristics, in the order of the reference page, and the module of each."""

Level = Literal["example", "token", "prompt", "mixed"]
Array = np.ndarray
CELLS = ("prefix_type", "prompt")


class Absent(Exception):
    """An input this run does not have; the message is the reason shown to the user."""


@dataclass(frozen=True)
class Heuristic:
    """One quantity of the table: its meaning in words and the function that computes it."""

    name: str
    family: str
    level: Level
    """The data it needs at least: per-example means, tokens, or only the prompt."""
    long_name: str
    formula: str
    units: str
    function: Callable[..., Array]
    symbol: str = ""
    source: str = ""
    """Where the definition comes from; empty for inoc's own."""
    sign: str = ""
    """What a positive value means, or which rule fixes an arbitrary sign."""
    dims: tuple[str, ...] = CELLS
    inputs: Mapping[str, str] | None = None
    """Parameters that are filled from an input of another name; all others are filled by their own name."""
    companions: tuple[str, ...] = ()
    """Heuristics that come along when this one is asked for: intervals, explained variances, margins."""
    package: str = "inoc"

    def needs(self) -> dict[str, str]:
        """Parameter name -> name of the input or heuristic that fills it."""
        renamed = self.inputs or {}
        return {parameter: renamed.get(parameter, parameter) for parameter in _parameters(self.function)}


@cache
def _parameters(function: Callable[..., Array]) -> tuple[str, ...]:
    return tuple(
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is inspect.Parameter.empty
    )


Function = TypeVar("Function", bound=Callable[..., Array])

_registered: dict[str, Heuristic] = {}
_ordered: dict[str, Heuristic] = {}
_loaded = False


def register(entry: Heuristic) -> Heuristic:
    """Add one heuristic. A name that another package already holds is a BadInput naming both."""
    known = _registered.get(entry.name)
    if known is not None and known.package != entry.package:
        raise BadInput(
            f"heuristic '{entry.name}' of {entry.package} has the name of one of {known.package}: rename it"
        )
    _registered[entry.name] = entry
    _ordered.clear()
    return entry


def heuristic(
    *,
    family: str,
    level: Level,
    long_name: str,
    formula: str,
    units: str,
    name: str | None = None,
    symbol: str = "",
    source: str = "",
    sign: str = "",
    dims: tuple[str, ...] = CELLS,
    inputs: Mapping[str, str] | None = None,
    companions: tuple[str, ...] = (),
) -> Callable[[Function], Function]:
    """Register the decorated function (name = the function's own unless given) and return it unchanged."""

    def decorate(function: Function) -> Function:
        register(
            Heuristic(
                name=name or function.__name__,
                family=family,
                level=level,
                long_name=long_name,
                formula=formula,
                units=units,
                function=function,
                symbol=symbol,
                source=source,
                sign=sign,
                dims=dims,
                inputs=inputs,
                companions=companions,
                package=function.__module__.partition(".")[0],
            )
        )
        return function

    return decorate


def heuristics() -> Mapping[str, Heuristic]:
    """All known heuristics by name: inoc's in the order of the reference page, then all others."""
    global _loaded
    if not _loaded:
        _loaded = True
        for module in FAMILIES.values():
            importlib.import_module(f"inoc.heuristics.maths.{module}")
        _load_plugins()
    if not _ordered:
        order = list(FAMILIES)
        own = [entry for entry in _registered.values() if entry.package == "inoc"]
        own.sort(key=lambda entry: order.index(entry.family))
        others = [entry for entry in _registered.values() if entry.package != "inoc"]
        _ordered.update((entry.name, entry) for entry in own + others)
    return _ordered


def find(name: str) -> Heuristic:
    """The heuristic of that name; an unknown one is a BadInput that suggests the nearest."""
    known = heuristics()
    if name in known:
        return known[name]
    by_symbol = {entry.symbol.lower(): entry for entry in known.values() if entry.symbol}
    if name.lower() in by_symbol:
        return by_symbol[name.lower()]
    candidates = {symbol: entry.symbol for symbol, entry in by_symbol.items()} | {n: n for n in known}
    near = difflib.get_close_matches(name.lower(), candidates, n=1, cutoff=0.5)
    hint = f"did you mean '{candidates[near[0]]}'?" if near else "docs/heuristics.md lists them."
    raise BadInput(f"no heuristic '{name}': {hint}")


def with_companions(names: Iterable[str]) -> list[str]:
    """The names asked for and what comes along with them, each once, in order."""
    chosen: dict[str, None] = {}
    for name in names:
        entry = find(name)
        chosen[entry.name] = None
        chosen.update(dict.fromkeys(entry.companions))
    return list(chosen)


def _load_plugins() -> None:
    for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        package = point.dist.name if point.dist is not None else point.value
        before = dict(_registered)
        try:
            _adopt(point.load(), package)
        except Exception as error:
            _registered.clear()
            _registered.update(before)
            _ordered.clear()
            warnings.warn(
                f"heuristics plugin '{point.name}' of {package} is left out: {type(error).__name__}: {error}",
                RuntimeWarning,
                stacklevel=3,
            )


def _adopt(loaded: object, package: str) -> None:
    """A plugin's entry point is a module that uses `@heuristic`, a `Heuristic`, or several of them."""
    if isinstance(loaded, Heuristic):
        register(loaded)
    elif isinstance(loaded, (list, tuple)):
        for entry in cast(Sequence[object], loaded):
            if not isinstance(entry, Heuristic):
                raise BadInput(f"{package} lists something that is no Heuristic: {entry!r}")
            register(entry)
    elif not inspect.ismodule(loaded):
        raise BadInput(f"{package} names {loaded!r}, neither a module nor Heuristic objects")
