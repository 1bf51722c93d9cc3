"""Declarations of heuristics: what each is called, what it needs, what it means. Docs and tables follow from it.

A heuristic is a function of arrays whose *parameter names say what it needs*: an input of a store (`w`,
`statistics`, `roles`, ...: the attributes of `inoc.heuristics.frame.inputs.Inputs`), an intermediate declared
with `@intermediate`, or another heuristic. Decorating it registers it, and touches one file:

    @heuristic(symbol="HX", family="pointwise", level="example", units="nats", long_name="median difference",
               formula="median_k w")
    def median_difference(w):
        return np.nanmedian(w, axis=-1)

Other packages do the same and name their module under the entry point group `inoc.heuristics`.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

import numpy as np

from inoc.errors import BadInput
from inoc.heuristics.frame.declarations import FAMILIES, STORE_DIMS, Heuristic, Intermediate, Labels
from inoc.heuristics.frame.inputs import Inputs
from inoc.heuristics.tokens.terms import Term, evaluate, parameters, with_parts
from inoc.names import unknown
from inoc.plugins import Plugin, Registry

TERM_GIVEN = ("delta", "xp")
ROW_GIVEN = ("delta", "layout", "row_size", "recipe")


@dataclass
class _Declared:
    """Everything declared so far."""

    entries: dict[str, Heuristic] = field(default_factory=dict[str, Heuristic])
    intermediates: dict[str, Intermediate] = field(default_factory=dict[str, Intermediate])
    parts: dict[str, Callable[..., object]] = field(default_factory=dict[str, Callable[..., object]])
    dims: dict[str, Labels] = field(default_factory=dict[str, Labels])
    ready: Literal["no", "loading", "yes"] = "no"

    def copy(self) -> "_Declared":
        return _Declared(dict(self.entries), dict(self.intermediates), dict(self.parts), dict(self.dims), self.ready)

    def names(self) -> dict[str, str]:
        """Every name and the package that holds it."""
        held = dict.fromkeys(Inputs.names(), "inoc") | {n: i.package for n, i in self.intermediates.items()}
        return held | {v.name: e.package for e in self.entries.values() for v in e.variables()}


_declared = _Declared({}, {}, {}, {"bound": ("lower", "upper")})


def package_of(function: Callable[..., object]) -> str:
    return function.__module__.partition(".")[0]


def _claim(name: str, package: str, same: bool) -> None:
    holder = _declared.names().get(name)
    if holder is not None and not same:
        raise BadInput(f"heuristic '{name}' of {package} has the name of one of {holder}. Fix: rename it.")


def _same(one: Callable[..., object], other: Callable[..., object]) -> bool:
    """Whether a module is being imported again."""
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def register(entry: Heuristic) -> Heuristic:
    """Add one heuristic.

    Raises:
        BadInput: Its name is taken, or it names a parameter or a dim that does not exist.
    """
    _settled(entry.package)
    for variable in entry.variables():
        known = _declared.entries.get(entry.name)
        again = known is not None and known.package == entry.package and _same(known.function, entry.function)
        _claim(variable.name, entry.package, again)
    _declared.entries[entry.name] = entry
    if _declared.ready == "yes":
        try:
            _check(entry)
        except BadInput:
            del _declared.entries[entry.name]
            raise
    return entry


def _settled(package: str) -> None:
    """inoc's own are known before those of another package are added."""
    if package != "inoc" and _declared.ready == "no":
        load()


def add_intermediate(made: Intermediate) -> None:
    """Add one intermediate.

    Raises:
        BadInput: Its name is taken, or it names a parameter that does not exist.
    """
    _settled(made.package)
    known = _declared.intermediates.get(made.name)
    _claim(made.name, made.package, known is not None and _same(known.function, made.function))
    if _declared.ready == "yes":
        _check_needs(made.name, made.package, made.needs().values())
    _declared.intermediates[made.name] = made


def add_part(function: Callable[..., object]) -> None:
    """Add a quantity that token terms or row terms share.

    Raises:
        BadInput: Its name is taken.
    """
    package = package_of(function)
    _settled(package)
    known = _declared.parts.get(function.__name__)
    if known is not None and not _same(known, function):
        holder = package_of(known)
        raise BadInput(f"part '{function.__name__}' of {package} has the name of one of {holder}. Fix: rename it.")
    _declared.parts[function.__name__] = function


def dimension(name: str, labels: Labels) -> None:
    """Declare a dim that the store does not know.

    Args:
        name: Of the dim.
        labels: Of its places, in order.

    Raises:
        BadInput: It exists with other labels.
    """
    if name in STORE_DIMS or _declared.dims.get(name, labels) != labels:
        raise BadInput(f"the dim '{name}' exists with other labels. Fix: rename it.")
    _declared.dims[name] = labels


def dimensions() -> Mapping[str, Labels]:
    """Declared dims and their labels."""
    return _declared.dims


def _check(entry: Heuristic) -> None:
    for variable in entry.variables():
        _check_needs(variable.name, entry.package, [*variable.needs().values(), variable.counted().counts])
        known = (*STORE_DIMS, *_declared.dims)
        for dim in variable.dims:
            if dim not in known:
                raise BadInput(f"heuristic '{variable.name}' of {entry.package}: {unknown('dim', dim, known)}")
        if len(set(variable.dims)) < len(variable.dims):
            raise BadInput(
                f"heuristic '{variable.name}' of {entry.package} has a dim twice: {', '.join(variable.dims)}. "
                "Fix: name each axis of the result once."
            )
    _check_needs(entry.name, entry.package, entry.along)
    if entry.published_rows and "prefix_type" not in entry.dims:
        raise BadInput(
            f"heuristic '{entry.name}' of {entry.package} has published_rows and no dim prefix_type. "
            "Fix: remove published_rows."
        )
    for function, given in ((entry.token_term, TERM_GIVEN), (entry.row_term, ROW_GIVEN)):
        if function is not None:
            (term,) = as_terms({entry.name: function})
            _check_parts(entry, term, given)
            if function is entry.token_term:
                _check_term(entry, term)


def _check_needs(name: str, package: str, sources: Iterable[str]) -> None:
    known = _declared.names()
    for source in sources:
        stem, _, attribute = source.partition(".")
        if stem not in known and not stem.endswith("_stored"):
            words = unknown("input or heuristic", stem, known)
            raise BadInput(f"heuristic '{name}' of {package} needs something that does not exist: {words}")
        fields = Inputs.fields(stem) if attribute else ()
        if attribute and attribute not in fields:
            raise BadInput(f"heuristic '{name}' of {package}: {unknown(f'field of {stem}', attribute, fields)}")


def _check_parts(entry: Heuristic, term: Term, given: tuple[str, ...]) -> None:
    known = (*given, *_declared.parts)
    for function in (term.function, *(function for _, function in term.parts)):
        for name in parameters(function):
            if name not in given and name not in dict(term.parts):
                raise BadInput(f"heuristic '{entry.name}' of {entry.package}: {unknown('part', name, known)}")


def _check_term(entry: Heuristic, term: Term) -> None:
    delta = np.array([[0.0, 0.3, -2.0, 40.0]], np.float32)
    values = np.asarray(next(evaluate([term], {"delta": delta, "xp": np})))
    if values.shape != delta.shape or values[0, 0] != 0:
        raise BadInput(
            f"the token term of heuristic '{entry.name}' of {entry.package} must give one number per token and 0 "
            "for a difference of 0. Fix: subtract its value at 0."
        )


def as_terms(functions: Mapping[str, Callable[..., object]]) -> tuple[Term, ...]:
    """Functions of token or row parts as terms, with the declared parts they build on."""
    return tuple(with_parts(name, function, _declared.parts) for name, function in functions.items())


def load() -> None:
    """Import inoc's own families and the plugins, once."""
    if _declared.ready != "no":
        return
    _declared.ready = "loading"
    maths = importlib.import_module("inoc.heuristics.maths")
    for module in pkgutil.iter_modules(maths.__path__, f"{maths.__name__}."):
        importlib.import_module(module.name)
    for entry in _declared.entries.values():
        _check(entry)
    for made in _declared.intermediates.values():
        _check_needs(made.name, made.package, made.needs().values())
    _declared.ready = "yes"
    _load_plugins()


def _load_plugins() -> None:
    global _declared
    for name in PLUGINS.names():
        before = _declared.copy()
        if PLUGINS.offered(name) is None:
            _declared = before


def _adopt(loaded: object, plugin: Plugin) -> tuple[Heuristic, ...]:
    """What a plugin names is a module that uses the decorators, a decorated function, a `Heuristic`, or several."""
    if inspect.ismodule(loaded) or inspect.isfunction(loaded):
        return ()
    several = tuple(cast(Sequence[object], loaded)) if isinstance(loaded, (list, tuple)) else (loaded,)
    for entry in several:
        if not isinstance(entry, Heuristic):
            raise BadInput(f"{entry!r} is not a module or a Heuristic. Fix: name one in {plugin.target}.")
    return tuple(register(entry) for entry in several if isinstance(entry, Heuristic))


PLUGINS = Registry("inoc.heuristics", "heuristics plugin", {}, _adopt)


def heuristics() -> Mapping[str, Heuristic]:
    """List all heuristics.

    Returns:
        Name to heuristic: inoc's in the order of the reference page, then all others.
    """
    load()
    order = {family: i for i, family in enumerate(FAMILIES)}

    def place(entry: Heuristic) -> int:
        return order.get(entry.family, len(order)) if entry.package == "inoc" else len(order)

    return {entry.name: entry for entry in sorted(_declared.entries.values(), key=place)}


def own() -> list[Heuristic]:
    """inoc's own heuristics, without those of plugins."""
    return [entry for entry in heuristics().values() if entry.package == "inoc"]


def computed() -> Mapping[str, Heuristic | Intermediate]:
    """All that is computed, by name: intermediates, heuristics and their companions."""
    load()
    found: dict[str, Heuristic | Intermediate] = dict(_declared.intermediates)
    return found | {v.name: v for entry in _declared.entries.values() for v in entry.variables()}


def find(name: str) -> Heuristic:
    """Find a heuristic.

    Args:
        name: Its name or symbol, the name of one of its companions, or `module:function` where no package offers it.

    Returns:
        The heuristic.

    Raises:
        BadInput: There is none; the message suggests the nearest.
        BackendUnavailable: The module of `module:function` cannot be loaded.
    """
    attribute = name.partition(":")[2]
    if attribute:
        load()
        PLUGINS.get(name)
        return find(attribute)
    known = heuristics()
    owners = {v.name: entry for entry in known.values() for v in entry.variables()}
    by_symbol = {entry.symbol.lower(): entry for entry in known.values() if entry.symbol}
    entry = owners.get(name) or by_symbol.get(name.lower())
    if entry is None:
        raise BadInput(unknown("heuristic", name, [*(e.symbol for e in by_symbol.values()), *owners]))
    return entry


def with_companions(names: Iterable[str]) -> list[Heuristic]:
    """The heuristics asked for and those that come along with them, each once, in order."""
    chosen: dict[str, Heuristic] = {}
    for name in names:
        entry = find(name)
        chosen |= {entry.name: entry, **{other: find(other) for other in entry.along}}
    return list(chosen.values())
