"""The register of figures: each module of the package declares with `@figure` what `inoc figures` draws from it."""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from inoc.atomic import write_file
from inoc.errors import BadInput, IncompleteStore, InocError
from inoc.figures import MODULES, house
from inoc.figures.layout import Panels, Preset, beside
from inoc.figures.sources import SCATTERED, Source
from inoc.names import unknown
from inoc.plugins import Plugin, Registry, origin
from inoc.store.store import Store

FAMILIES = (
    "curves", "outcomes", "elicitation", "scatter", "spectra", "angles", "gap", "performance", "tokens",
    "rates", "leaks", "emergence",
)  # fmt: skip
"""In the order of the gallery."""

Draw = Callable[..., Panels | Figure]
D = TypeVar("D", bound=Draw)


@dataclass(frozen=True)
class Entry:
    """One figure.

    Attributes:
        name: The name of its files and of the option `--only`.
        family: One of `FAMILIES`.
        about: The sentence of the gallery.
        panels: The panels of a `Source`, or (of a plugin) the whole figure.
        source: "module:function" that draws it.
    """

    name: str
    family: str
    about: str
    panels: Draw
    source: str = "inoc"

    def draw(self, source: Source) -> Figure:
        """The whole figure of a store."""
        found = self.panels(source)
        return found if isinstance(found, Figure) else found.draw()

    @property
    def package(self) -> str:
        """Who offers it: inoc, or a plugin with its version."""
        plugin = origin(self.source)
        return "inoc" if plugin is None else str(plugin)


@dataclass(frozen=True)
class Made:
    """What became of one figure of one store ("" for several side by side): its files and caption, or the reason it
    was not drawn; `failed`: an error in the code of `package`."""

    name: str
    files: tuple[Path, ...]
    caption: str
    reason: str
    failed: bool = False
    package: str = "inoc"
    store: str = ""


_entries: dict[str, Entry] = {}


def figure(name: str, family: str, about: str, **options: object) -> Callable[[D], D]:
    """Register the decorated function as a figure; several decorators with other options make several figures.

    Args:
        name: The name of its files, unique.
        family: One of `FAMILIES`.
        about: One sentence for the gallery.
        **options: Passed to the function after its `Source`.

    Returns:
        A decorator that leaves the function as it is.

    Raises:
        BadInput: The family is unknown or the name is taken.
    """
    if family not in FAMILIES:
        raise BadInput(unknown("figure family", family, FAMILIES))
    if name in _entries:
        raise BadInput(f"two figures are named '{name}'. Fix: rename one of them.")

    def register(draw: D) -> D:
        _entries[name] = Entry(name, family, about, partial(draw, **options), f"{draw.__module__}:{draw.__qualname__}")
        return draw

    return register


def _adopt(loaded: object, plugin: Plugin) -> tuple[Entry, ...]:
    """What a plugin names is a module, or one function, that uses `@figure`."""
    target = plugin.target
    inside = (f"{target}:", f"{target}.")
    found = tuple(e for e in _entries.values() if e.source == target or e.source.startswith(inside))
    if not found:
        raise TypeError(f"{target} has no function under @figure")
    return found


PLUGINS = Registry("inoc.figures", "figures plugin", {}, _adopt)


def entries() -> tuple[Entry, ...]:
    """All figures, by family and name; those of plugins after inoc's own."""
    for module in MODULES:
        importlib.import_module(f"inoc.figures.{module}")
    for name in PLUGINS.names():
        before = dict(_entries)
        if PLUGINS.offered(name) is None:
            _entries.clear()
            _entries.update(before)
    return tuple(sorted(_entries.values(), key=lambda e: (e.package != "inoc", FAMILIES.index(e.family), e.name)))


def select(only: Sequence[str]) -> tuple[Entry, ...]:
    """The figures of the named families or names; all figures for no names.

    Args:
        only: Families, names, and `module:function` for a figure that no package offers.

    Raises:
        BadInput: A name is unknown; the message suggests the nearest.
    """
    entries()
    unpackaged = [entry.name for name in only if ":" in name for entry in PLUGINS.get(name)]
    known, wanted = entries(), [*(name for name in only if ":" not in name), *unpackaged]
    names = [*FAMILIES, *(entry.name for entry in known)]
    for name in wanted:
        if name not in names:
            raise BadInput(unknown("figure or family", name, names))
    return tuple(e for e in known if not only or e.name in wanted or e.family in wanted)


def make(
    stores: Store | Sequence[Store],
    out: Path,
    *,
    only: Sequence[str] = (),
    formats: Sequence[str] = ("png",),
    scattered: Sequence[str] = SCATTERED,
    preset: Preset | None = None,
    share: tuple[int, int] = (0, 1),
) -> Iterator[Made]:
    """Draw figures one after the other, each as NAME.FORMAT and its caption as NAME.txt.

    Args:
        stores: The store to draw; of several, each goes into a directory of its own, and `out` has them side by side.
        out: The directory to write; made if absent.
        only: Names of figures and families; empty for all figures.
        formats: Some of png, svg and pdf.
        scattered: Heuristics of the scatter figures.
        preset: Width and height for a paper; what is taller than a page is continued as NAME-2.FORMAT.
        share: Only every n-th figure from the k-th on, as (k, n).

    Yields:
        What became of each figure. A figure that the store does not allow, or that fails, stops no other.

    Raises:
        BadInput: A figure, family, format or heuristic is unknown, two stores have one name, or `out` cannot be
            written.
    """
    from inoc.outcomes.tidy import as_list, experiment_names, full_names

    chosen = select(only)
    for name in formats:
        if name not in house.FORMATS:
            raise BadInput(unknown("format", name, house.FORMATS))
    given = as_list(stores)
    sources = {name: Source(s, full_names(scattered)) for name, s in zip(experiment_names(given), given, strict=True)}
    stems = [store.path.stem for store in given]
    folders = [stem if stems.count(stem) == 1 else f"{stem}-{i + 1}" for i, stem in enumerate(stems)]
    for entry in chosen[share[0] :: share[1]]:
        if len(given) == 1:
            (source,) = sources.values()
            yield _made(entry, partial(entry.panels, source), out, formats, preset)
            continue
        found: dict[str, Panels] = {}
        for (name, source), folder in zip(sources.items(), folders, strict=True):
            panels = cache(partial(entry.panels, source))  # used again beside the others
            done = _made(entry, panels, out / folder, formats, preset)
            if done.files and isinstance(drawn := panels(), Panels):
                found[name] = drawn
            yield replace(done, store=folder)
        yield _made(entry, partial(_side_by_side, found, list(sources)), out, formats, preset)


def _side_by_side(found: Mapping[str, Panels], names: Sequence[str]) -> Panels:
    if len(found) < 2:
        raise IncompleteStore(f"{len(found)} of {len(names)} stores can be drawn. Fix: name two that allow it.")
    return beside(found, [name for name in names if name not in found])


def _made(
    entry: Entry, panels: Callable[[], Panels | Figure], out: Path, formats: Sequence[str], preset: Preset | None
) -> Made:
    """Draw one figure and write it."""
    before = set(plt.get_fignums())
    try:
        found = panels()
        parts = [found] if isinstance(found, Figure) else found.pages(preset) if preset else [found]
        files: list[Path] = []
        captions: list[str] = []
        for number, part in enumerate(parts, start=1):
            drawn = part if isinstance(part, Figure) else part.draw()
            _make_folder(out)
            written = [out / f"{entry.name}{f'-{number}' if number > 1 else ''}.{kind}" for kind in formats]
            for path in written:
                house.write(drawn, path)
            files += written
            captions.append(house.caption(drawn))
        caption = "\n\n".join(dict.fromkeys(captions))
        write_file(out / f"{entry.name}.txt", f"{caption}\n".encode())
        return Made(entry.name, tuple(files), caption, "")
    except IncompleteStore as error:
        return Made(entry.name, (), "", str(error))
    except InocError:
        raise
    except Exception as error:  # an error in one figure must not stop the others
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return Made(entry.name, (), "", reason, failed=True, package=entry.package)
    finally:
        for number in set(plt.get_fignums()) - before:
            plt.close(number)


def _make_folder(out: Path) -> None:
    """Once there is something to write: a refused command leaves nothing behind."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            f"{out} cannot be written ({error.strerror}). Fix: choose another directory with --out."
        ) from error
