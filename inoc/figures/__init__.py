"""Figures: `plot_*` functions draw, `*_data` functions return what is drawn. They need the extra `figures`.

A figure is one module of this package. Its public functions are found by name in the source, so that asking for
the names imports nothing.
"""

import importlib
import re
from importlib.resources import files

_PUBLIC = re.compile(r"^def (plot_\w+|[a-z]\w*_data)\(", re.MULTILINE)
_PLACES: dict[str, str] = {
    name: file.name.removesuffix(".py")
    for file in sorted(files(__name__).iterdir(), key=lambda file: file.name)
    if file.name.endswith(".py")
    for name in _PUBLIC.findall(file.read_text(encoding="utf-8"))
}

MODULES = tuple(dict.fromkeys(_PLACES.values()))
"""Names of the modules that hold figures."""
PLOTS = tuple(name for name in _PLACES if name.startswith("plot_"))
"""Names of the plot functions."""
_DOOR = {"Source": "sources", "figure": "catalog"}
"""What a figure of another package needs."""
__all__ = ["PLOTS", *_DOOR, *_PLACES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    place = _DOOR.get(name) or _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'inoc.figures' has no attribute {name!r}")
    try:
        module = importlib.import_module(f"inoc.figures.{place}")
    except ImportError as error:
        if (error.name or "").split(".")[0] != "matplotlib":
            raise
        from inoc.errors import BackendUnavailable

        raise BackendUnavailable(
            "figures need matplotlib. Fix: pip install -e '.[figures]' in inoc's clone."
        ) from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
