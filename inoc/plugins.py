"""Objects found by name: those that inoc ships and those that other packages offer under an entry-point group.

Nothing is imported until it is asked for. A package that fails to load costs one warning that names it; it
stops nothing else. A name with a colon, `module:object`, is code that no package offers.
"""

import importlib
import importlib.metadata
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar, runtime_checkable

from inoc.errors import BackendUnavailable, BadInput
from inoc.hashing import SHORT, file_hash
from inoc.names import unknown
from inoc.reading import printable

GROUPS: Final = tuple(
    f"inoc.{kind}" for kind in ("backends", "heuristics", "judges", "figures", "importers", "datasets", "watchers")
)
"""The entry-point groups under which other packages offer what inoc runs."""
MODULES: Final = "INOC_MODULES"
"""The environment variable with the modules, separated by commas, that an experiment file may name."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@runtime_checkable
class Check(Protocol[T_co]):
    """Turns a loaded object into what the registry holds; raises an exception where it does not fit."""

    def __call__(self, loaded: object, plugin: "Plugin", /) -> T_co: ...


@dataclass(frozen=True)
class Plugin:
    """Where a named object comes from.

    Attributes:
        name: what the user writes.
        target: "module:attribute", or "module" for a whole module.
        package: the distribution that offers it.
        version: of that distribution; "" where unknown.
    """

    name: str
    target: str
    package: str = "inoc"
    version: str = ""

    def load(self) -> object:
        """Import the object."""
        module, _, attribute = self.target.partition(":")
        if self.package != "inoc":
            _loaded[_top(module)] = self
        found: object = importlib.import_module(module)
        for part in attribute.split(".") if attribute else ():
            found = getattr(found, part)
        return found

    def __str__(self) -> str:
        return f"{self.package} {self.version}".strip()


_loaded: dict[str, Plugin] = {}
"""Top-level modules whose code inoc was asked to load, and who offers them."""


def origin(module: str) -> Plugin | None:
    """The plugin that brought a module, as far as its code was loaded; None for inoc's own and all others."""
    return _loaded.get(_top(module))


def versions(used: Iterable[Plugin | None]) -> dict[str, str]:
    """Package -> version of plugins, for provenance; inoc's own are left out."""
    return {plugin.package: plugin.version for plugin in used if plugin is not None and plugin.package != "inoc"}


def refused(name: str) -> str | None:
    """Why an experiment file may not name this: it is code, and nobody said that it may run. None where it may."""
    module = name.partition(":")[0]
    if ":" not in name or module in os.environ.get(MODULES, "").split(","):
        return None
    return f"names code, the module {module!r}. Fix: if you trust that module, set {MODULES}={module} and try again."


def _top(module: str) -> str:
    return module.partition(":")[0].partition(".")[0]


def _unpackaged(name: str) -> Plugin:
    """Code named as `module:object`: on Python's path, else in the current folder. Its version: a hash of its file."""
    top = _top(name)
    try:
        return Plugin(name, name, top, importlib.metadata.version(top))
    except (importlib.metadata.PackageNotFoundError, ValueError):
        pass
    if importlib.util.find_spec(top) is None:
        sys.path.append(str(Path.cwd()))
    spec = importlib.util.find_spec(top)
    file = Path(spec.origin) if spec is not None and spec.origin else None
    return Plugin(name, name, top, f"sha256:{file_hash(file)[:SHORT]}" if file is not None and file.is_file() else "")


class Registry(Generic[T]):
    """The named objects of one kind.

    Args:
        group: The entry-point group, such as "inoc.judges".
        kind: What one of them is called in errors, such as "judge".
        shipped: inoc's own: name to "module:attribute". A plugin cannot take one of these names.
        check: Makes a T of what was loaded, or raises.
    """

    def __init__(self, group: str, kind: str, shipped: Mapping[str, str], check: Check[T]) -> None:
        self.group, self.kind, self._shipped, self._check = group, kind, shipped, check
        self._loaded: dict[str, T] = {}
        self._warned: set[str] = set()

    @cached_property
    def plugins(self) -> Mapping[str, Plugin]:
        """All names: inoc's own in the order given, then those of other packages by name."""
        found = {name: Plugin(name, target) for name, target in self._shipped.items()}
        points = sorted(importlib.metadata.entry_points(group=self.group), key=lambda point: point.name)
        for point in points:
            package = point.dist.name if point.dist is not None else point.value
            if package == "inoc":
                continue
            plugin = Plugin(point.name, point.value, package, point.dist.version if point.dist else "")
            taken = found.get(point.name)
            if taken is None:
                found[point.name] = plugin
            else:
                warnings.warn(
                    f"{self.kind} {point.name!r} of {plugin} has the name of one of {taken} and is ignored. "
                    "Fix: rename its entry point.",
                    RuntimeWarning,
                    stacklevel=2,
                )
        return found

    def names(self) -> tuple[str, ...]:
        """All names, without importing anything."""
        return tuple(self.plugins)

    def find(self, name: str) -> Plugin | None:
        """Where the object of that name comes from; None where there is none. Nothing is imported."""
        known = self.plugins.get(name)
        module, _, attribute = name.partition(":")
        if known is None and module.replace(".", "").isidentifier() and attribute.replace(".", "").isidentifier():
            return _unpackaged(name)
        return known

    def get(self, name: str) -> T:
        """The object of that name or of that `module:object`, imported on first use.

        Raises:
            BadInput: There is no such name; the message suggests the nearest.
            BackendUnavailable: It exists and cannot be loaded; the message names package, version and error.
        """
        if name not in self._loaded:
            plugin = self.find(name)
            if plugin is None:
                raise BadInput(unknown(self.kind, name, self.plugins))
            try:
                self._loaded[name] = self._check(plugin.load(), plugin)
            except (Exception, SystemExit) as error:
                said = printable(str(error)).partition("\n")[0][:300].rstrip(".")
                fix = "correct it" if ":" in name else f"repair or uninstall {plugin.package}"
                raise BackendUnavailable(
                    f"{self.kind} {name!r} of {plugin} cannot be loaded: {type(error).__name__}: {said}. Fix: {fix}."
                ) from error
        return self._loaded[name]

    def offered(self, name: str) -> T | None:
        """The object of that name; None, with one warning that names its package, where it cannot be loaded."""
        try:
            return self.get(name)
        except BackendUnavailable as error:
            if name not in self._warned:
                warnings.warn(str(error), RuntimeWarning, stacklevel=2)
            self._warned.add(name)
            return None

    def all(self) -> Mapping[str, T]:
        """Everything that can be loaded; a warning names each package that cannot."""
        found = {name: self.offered(name) for name in self.plugins}
        return {name: made for name, made in found.items() if made is not None}

    def reset(self) -> None:
        """Forget what was found and loaded: packages were installed or removed since."""
        self._loaded.clear()
        self._warned.clear()
        self.__dict__.pop("plugins", None)
