"""What the page shows of plugins' figures: pictures with their captions, or why one is not drawn."""

import base64
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from tempfile import TemporaryDirectory

from inoc.store.store import Store


@dataclass(frozen=True)
class PluginFigure:
    """A figure that another package offers: the PNG as a data address with its caption, else the reason why it is not
    drawn."""

    name: str
    about: str
    package: str
    caption: str
    picture: str
    reason: str


def plugin_figures(store: Store) -> list[PluginFigure]:
    """Draw the figures of other packages; without any, nothing is imported."""
    if not entry_points(group="inoc.figures"):
        return []
    try:
        import matplotlib
    except ImportError:
        return []
    matplotlib.use("Agg")
    from inoc.figures import catalog

    known = {entry.name: entry for entry in catalog.entries() if entry.package != "inoc"}
    found: list[PluginFigure] = []
    with TemporaryDirectory() as folder:
        for made in catalog.make(store, Path(folder), only=list(known)) if known else ():
            entry, bytes_ = known[made.name], made.files[0].read_bytes() if made.files else b""
            picture = f"data:image/png;base64,{base64.b64encode(bytes_).decode()}" if bytes_ else ""
            found.append(PluginFigure(made.name, entry.about, entry.package, made.caption, picture, made.reason))
    return found
