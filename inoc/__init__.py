"""inoc: what an inoculation prompt will do to what a language model learns, before the training run is paid for.

Names are imported on first use, so that `import inoc` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

from inoc._version import __version__

if TYPE_CHECKING:
    from inoc import emergence, errors, figures, heuristics, outcomes
    from inoc.heuristics.frame.differences import difference
    from inoc.store.store import Store, open_store

_PLACES = {
    "Store": "inoc.store.store",
    "difference": "inoc.heuristics.frame.differences",
    "open_store": "inoc.store.store",
}
_MODULES = ("emergence", "errors", "figures", "heuristics", "outcomes")
_PLOTS = "plot_"  # inoc.plot_x is inoc.figures.plot_x

__all__ = [
    "Store",
    "__version__",
    "difference",
    "emergence",
    "errors",
    "figures",
    "heuristics",
    "open_store",
    "outcomes",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(f"inoc.{name}")
    if name.startswith(_PLOTS):
        return getattr(importlib.import_module("inoc.figures"), name)
    if name not in _PLACES:
        raise AttributeError(f"module 'inoc' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    from inoc.figures import PLOTS

    return sorted([*__all__, *PLOTS])
