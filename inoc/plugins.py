"""Objects found by name: those that inoc ships and those that other packages offer under an entry-point group.

Nothing is imported until it is asked for. A package that fails to load costs one warning that names it; it
stops nothing else.
"""

import importlib
import importlib.metadata
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, Protocol, TypeVar, runtime_checkable

from inoc.errors import BackendUnavailable, BadInput
from inoc.names import unknown

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
        found: object = importlib.import_module(module)
        for part in attribute.split(".") if attribute else ():
            found = getattr(found, part)
        return found

    def __str__(self) -> str:
        return f"{self.package} {self.version}".strip()


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

    def get(self, name: str) -> T:
        """The object of that name, imported on first use.

        Raises:
            BadInput: There is no such name; the message suggests the nearest.
            BackendUnavailable: It exists and cannot be loaded; the message names package, version and error.
        """
        if name not in self._loaded:
            plugin = self.plugins.get(name)
            if plugin is None:
                raise BadInput(unknown(self.kind, name, self.plugins))
            try:
                self._loaded[name] = self._check(plugin.load(), plugin)
            except Exception as error:
                raise BackendUnavailable(
                    f"{self.kind} {name!r} of {plugin} cannot be loaded: {type(error).__name__}: {error}. "
                    f"Fix: repair or uninstall {plugin.package}."
                ) from error
        return self._loaded[name]

    def all(self) -> Mapping[str, T]:
        """Everything that can be loaded; a warning names each package that cannot."""
        found: dict[str, T] = {}
        for name in self.plugins:
            try:
                found[name] = self.get(name)
            except BackendUnavailable as error:
                warnings.warn(str(error), RuntimeWarning, stacklevel=2)
        return found

    def reset(self) -> None:
        """Forget what was found and loaded: packages were installed or removed since."""
        self._loaded.clear()
        self.__dict__.pop("plugins", None)
