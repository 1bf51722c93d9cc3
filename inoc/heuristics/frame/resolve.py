"""The values of inputs, intermediates and heuristics by name, each computed once."""

import warnings
from collections.abc import Callable, Iterable
from typing import cast

import numpy as np

from inoc.errors import BadInput
from inoc.heuristics.frame.declarations import Heuristic, Intermediate
from inoc.heuristics.frame.inputs import Inputs
from inoc.heuristics.frame.protocols import Absent
from inoc.heuristics.frame.registry import computed


def closure(names: Iterable[str]) -> set[str]:
    """All heuristics, intermediates and inputs that the named ones lead to, with what their `n` counts. Fields of an
    input stand for themselves ("statistics.gram")."""
    known = computed()
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            made = known.get(name)
            waiting += made.needs().values() if made else ()
            waiting += [made.counted().counts] if isinstance(made, Heuristic) else ()
    return reached


class Resolver:
    """Finds the value of a name.

    Args:
        inputs: What the store gives.
        sizes: Size of every dim that has labels; an array that does not fit its dims is refused.
    """

    def __init__(self, inputs: Inputs, sizes: Callable[[str], int | None]) -> None:
        self._inputs, self._sizes = inputs, sizes
        self._made = computed()
        self._known: dict[str, object] = {}

    def get(self, name: str) -> object:
        """The value; `statistics.moved` is a field of an input.

        Raises:
            Absent: The store does not have what it needs; the message says what.
        """
        if name not in self._known:
            try:
                self._known[name] = self._make(name)
            except Absent as reason:
                self._known[name] = reason
        found = self._known[name]
        if isinstance(found, Absent):
            raise found
        return found

    def _make(self, name: str) -> object:
        stem, _, attribute = name.partition(".")
        if attribute:
            return cast(object, getattr(self.get(stem), attribute))
        made = self._made.get(name)
        if made is None:
            return self._inputs.get(name)
        try:
            value = made.function(**{parameter: self.get(source) for parameter, source in made.needs().items()})
            return value if isinstance(made, Intermediate) else self._fitted(made, value)
        except Absent:
            raise
        except Exception as error:
            if made.package == "inoc":
                raise
            reason = f"the plugin {made.package} failed: {type(error).__name__}: {error}"
            warnings.warn(f"heuristic '{name}' is left out: {reason}", RuntimeWarning, stacklevel=2)
            raise Absent(reason) from error

    def _fitted(self, entry: Heuristic, value: object) -> np.ndarray:
        values = np.asarray(value)
        sizes = [self._sizes(dim) for dim in entry.dims]
        fits = values.ndim == len(sizes) and all(size in (None, n) for size, n in zip(sizes, values.shape, strict=True))
        if not fits:
            raise BadInput(f"heuristic '{entry.name}' gave shape {values.shape} for dims {entry.dims}.")
        if entry.published_rows and self._inputs.recipe == "published":
            kind = entry.published_rows
            if kind not in self._inputs.prefix_types:
                raise Absent(f"published computes this from {kind} differences and the store has none")
            axis, at = entry.dims.index("prefix_type"), self._inputs.prefix_types.index(kind)
            values = np.take(values, [at] * len(self._inputs.prefix_types), axis)
        return values
