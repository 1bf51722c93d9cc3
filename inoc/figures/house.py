"""The house style: sizes, panels, captions, legends; colors and markers are those of `inoc.looks`.

Color shows the role (positive, negative, neutral) and is never alone: the fill of a marker repeats it, and names
carry its sign. The shape of a marker and the hatch of a bar show the prefix type.
"""

# matplotlib's stubs leave some types unknown; so in all modules of figures
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from types import FunctionType
from typing import ParamSpec, TypeVar, cast

import matplotlib.pyplot as plt
import matplotlib.style
import numpy as np
from jaxtyping import Float64
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import Formatter, LogFormatterMathtext

from inoc.atomic import write_file
from inoc.errors import BadInput
from inoc.figures.docstrings import complete_docstring
from inoc.figures.panel import Panel
from inoc.looks import ANGLES, COLORS, DASHED, FILLS, PALE, SHAPES, UNKNOWN
from inoc.reading import printable

Column = Float64[np.ndarray, " point"]

COLUMN, PAGE = 3.4, 7.0
"""Widths in inches: one column, the whole page."""
DPI = 200.0
"""Resolution of PNG files."""
METADATA: Mapping[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}
SMALLEST = 6.0
"""Smallest text, in points."""
SIGNS: Mapping[str, str] = {"positive": "+", "negative": "−", "neutral": "○"}
MARKERS: Mapping[str, str] = {kind: {"square": "s", "circle": "o", "triangle": "^"}[SHAPES[kind]] for kind in SHAPES}
ANGLE_COLORS = LinearSegmentedColormap.from_list("inoc.angles", ANGLES)
"""The scale of angles, from 0 to 180 degrees."""
HATCHES: Mapping[str, str] = {"fixed": "", "mix": "//////"}
LINES: Mapping[str, str] = {kind: "--" if kind in DASHED else "-" for kind in SHAPES}
ROLES = ("positive", "neutral", "negative")
RAISED = str.maketrans("0123456789-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻")
STYLE = str(files("inoc.figures") / "inoc.mplstyle")

Inputs = ParamSpec("Inputs")
Drawn = TypeVar("Drawn")


def styled(plot: Callable[Inputs, Drawn]) -> Callable[Inputs, Drawn]:
    """Run a plot function under the house style."""

    @wraps(plot)
    def under_style(*args: Inputs.args, **kwargs: Inputs.kwargs) -> Drawn:
        with matplotlib.style.context(STYLE):
            drawn = plot(*args, **kwargs)
            for ax in [drawn] if isinstance(drawn, Axes) else []:
                for axis in (ax.xaxis, ax.yaxis):
                    axis.set_major_formatter(_without_math(axis.get_major_formatter()))
                    axis.set_minor_formatter(_without_math(axis.get_minor_formatter()))
            return drawn

    return under_style


class _Powers(Formatter):
    """Ticks of a logarithmic axis in plain text: labels are data, so no text of a figure is read as mathematics."""

    def __init__(self, inner: LogFormatterMathtext) -> None:
        self.inner = inner

    def __call__(self, x: float, pos: int | None = None) -> str:
        text = re.sub(r"\^\{([^}]*)\}", lambda power: power[1].translate(RAISED), self.inner(x, pos))
        return re.sub(r"[${}]|\\mathdefault", "", text).replace(r"\times", "×").replace("-", "−")

    def set_axis(self, axis: Axis | None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().set_axis(axis)
        self.inner.set_axis(axis)

    def set_locs(self, locs: Float64[np.ndarray, " tick"] | Sequence[float]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.inner.set_locs(locs)


def _without_math(formatter: Formatter) -> Formatter:
    return _Powers(formatter) if isinstance(formatter, LogFormatterMathtext) else formatter


def draws(data: FunctionType) -> Callable[[Callable[Inputs, Axes]], Callable[Inputs, Axes]]:
    """Run a plot function under the house style, and describe its arguments as its data function does."""

    def decorate(plot: Callable[Inputs, Axes]) -> Callable[Inputs, Axes]:
        drawn = styled(plot)
        drawn.__doc__ = complete_docstring(cast(FunctionType, plot), data)
        return drawn

    return decorate


def axes_or_new(ax: Axes | None, width: float = COLUMN, height: float = 2.6) -> Panel:
    """The axes given, or those of a new figure (inches)."""
    if ax is None:
        ax = plt.figure(figsize=(width, height), layout="constrained").add_subplot()
    return cast(Panel, ax)


def figure_of(ax: Axes) -> Figure:
    """The whole figure that the axes are part of."""
    return cast(Figure, ax.get_figure(root=True))


def panel_size(ax: Axes) -> tuple[float, float]:
    """Inches that the figure has for the axes with their labels."""
    figure, place = figure_of(ax), ax.get_subplotspec()
    rows, columns = place.get_gridspec().get_geometry() if place else (1, 1)
    return float(figure.get_figwidth()) / columns, float(figure.get_figheight()) / rows


def color(role: str) -> str:
    """The color of a role."""
    return "#000000" if role == "control" else COLORS.get(role, UNKNOWN)


def face(role: str) -> str:
    """The fill that repeats the role: positive full, negative hollow, neutral pale."""
    return {"empty": "white", "pale": PALE}.get(FILLS.get(role, "full"), color(role))


def signed(name: str, role: str) -> str:
    """A name with the sign of its role: + positive, − negative, ○ neutral."""
    return f"{SIGNS[role]} {printable(name)}" if role in SIGNS else printable(name)


def points(ax: Axes, x: Column, y: Column, roles: Sequence[str], prefix_types: Sequence[str], size: float = 16) -> None:
    """Scatter with the role as color and fill and the prefix type as marker."""
    for kind in dict.fromkeys(prefix_types):
        at = [i for i, k in enumerate(prefix_types) if k == kind]
        ax.scatter(
            x[at],
            y[at],
            s=size,
            marker=MARKERS.get(kind, "D"),
            facecolors=[face(roles[i]) for i in at],
            edgecolors=[color(roles[i]) for i in at],
            linewidths=0.8,
            zorder=3,
        )


def intervals(
    ax: Axes, x: Column, y: Column, lower: Column, upper: Column, colors: Sequence[str] | str, vertical: bool = True
) -> None:
    """95 % intervals as thin lines behind the points, along y (`vertical`) or along x."""
    draw = ax.vlines if vertical else ax.hlines
    draw(x if vertical else y, lower, upper, colors=colors, linewidth=0.7, zorder=2)


def role_handles(roles: Iterable[str]) -> list[Line2D]:
    """Legend entries of the roles that occur."""
    present = set(roles)
    return [
        Line2D([], [], ls="", marker="o", mfc=face(r), mec=color(r), mew=0.8, label=f"{r} ({SIGNS[r]})")
        for r in ROLES
        if r in present
    ]


def prefix_handles(prefix_types: Iterable[str]) -> list[Line2D]:
    """Legend entries of the prefix types that occur."""
    present = set(prefix_types)
    names = {"none": "control", "fixed": "fixed", "mix": "mix"}
    return [
        Line2D([], [], ls="", marker=MARKERS[k], mfc="#888888", mec="black", mew=0.6, label=names[k])
        for k in MARKERS
        if k in present
    ]


def bar_handles(prefix_types: Iterable[str]) -> list[Patch]:
    """Legend entries of solid (fixed) and hatched (mix) bars."""
    present = set(prefix_types)
    return [
        Patch(facecolor="#BBBBBB" if k == "fixed" else "white", edgecolor="#555555", hatch=HATCHES[k], label=k)
        for k in HATCHES
        if k in present
    ]


def legend(ax: Axes, handles: Sequence[Artist]) -> None:
    """One legend below the figure; panels of one figure share it."""
    figure = figure_of(ax)
    known = cast("dict[str, Artist]", getattr(figure, "inoc_handles", {}))
    known |= {str(handle.get_label()): handle for handle in handles}
    setattr(figure, "inoc_handles", known)  # noqa: B010
    outside = figure.get_layout_engine() is not None
    for old in list(figure.legends):
        old.remove()
    if known and outside:
        columns = min(len(known), 4 if figure.get_figwidth() < 5 else 8)
        figure.legend(handles=list(known.values()), loc="outside lower center", ncols=columns)
    elif known:
        ax.legend(handles=list(known.values()))


def describe(ax: Axes, *sentences: str) -> None:
    """Add sentences to the caption of the figure; a sentence that is there already is not repeated."""
    figure = figure_of(ax)
    known = cast("dict[str, None]", getattr(figure, "inoc_sentences", {}))
    known |= dict.fromkeys(sentence for sentence in sentences if sentence)
    setattr(figure, "inoc_sentences", known)  # noqa: B010


def caption(figure: Figure) -> str:
    """The caption of a figure: what is drawn, n, and what was left out; once drawn, also the names without room."""
    text = " ".join(cast("dict[str, None]", getattr(figure, "inoc_sentences", {})))
    hidden = sum(int(getattr(artist, "hidden", 0)) for artist in figure.findobj())
    return f"{text} {hidden} names found no room." if hidden else text


def left_out(*reasons: object) -> str:
    """The sentence on what was left out, or ""; an empty reason says nothing."""
    found = [str(reason).rstrip(".") for reason in reasons if reason]
    return f"Left out: {'; '.join(found)}." if found else ""


def unnamed(lines: int, most: int, what: str = "lines") -> str:
    """The sentence on lines (or points) that have no name because only `most` get one, or ""."""
    return f"{lines - most} of {lines} {what} carry no name." if lines > most else ""


def span(n: np.ndarray) -> str:
    """`8 to 12`, or `12` where all are the same; `0` where there is none."""
    if not n.size:
        return "0"
    return f"{int(n.min())}" + ("" if n.min() == n.max() else f" to {int(n.max())}")


def guide(ax: Axes, *, x: float | int | None = None, y: float | int | None = None) -> None:
    """Thin gray lines at x and at y."""
    if x is not None:
        ax.axvline(x, color="#B5B5B5", lw=0.6, zorder=0)
    if y is not None:
        ax.axhline(y, color="#B5B5B5", lw=0.6, zorder=0)


def units(text: str) -> str:
    """Units as an axis label shows them."""
    text = text.replace(" x ", " × ").replace("sqrt(", "√(")
    return text.replace("(examples)", "examples").replace("(tokens)", "tokens")


FORMATS = ("png", "svg", "pdf")


@styled
def write(figure: Figure, path: Path, *, dpi: float | None = None) -> None:
    """Save a figure in the house style, in the format of the path's ending; the same figure gives the same bytes.

    Raises:
        BadInput: The ending is not one of `FORMATS`, or the file cannot be written.
    """
    kind = path.suffix[1:]
    if kind not in FORMATS:
        raise BadInput(f"'{path.name}' names no format of figures. Fix: end it with .{', .'.join(FORMATS)}.")
    for text in figure.findobj(Text):
        text.set_text(printable(text.get_text()))
    content = BytesIO()
    figure.savefig(content, format=kind, metadata=METADATA.get(kind, {}), dpi=dpi or DPI)
    write_file(path, content.getvalue())


def by_role(roles: Sequence[str], values: Float64[np.ndarray, " row"]) -> list[int]:
    """Places of the rows sorted by role, then the largest value first; NaN last."""
    rank = {role: i for i, role in enumerate(ROLES)}
    size = np.where(np.isnan(values), np.inf, -values)
    return sorted(range(len(roles)), key=lambda i: (rank.get(roles[i], len(rank)), size[i]))


def bar(ax: Axes, at: float | int, value: float, height: float, ink: str, prefix_type: str, alpha: float = 1.0) -> None:
    """A horizontal bar, solid for fixed and hatched for mix."""
    hatch = HATCHES.get(prefix_type, "")
    fill = "white" if hatch else ink
    ax.barh(at, value, height, color=fill, edgecolor=ink, hatch=hatch, lw=0.7, alpha=alpha)


def colorbar(
    ax: Axes, shown: AxesImage | PathCollection, label: str, shrink: float, pad: float, aspect: int
) -> Colorbar:
    """A color scale beside the axes."""
    return figure_of(ax).colorbar(shown, ax=ax, label=label, shrink=shrink, pad=pad, aspect=aspect)


def name_rows(ax: Axes, names: Sequence[str], roles: Sequence[str]) -> None:
    """Names along y from the top, colored and signed by role."""
    _name(ax.yaxis, names, roles)
    ax.set_ylim(len(names) - 0.4, -0.6)


def name_columns(ax: Axes, names: Sequence[str], roles: Sequence[str]) -> None:
    """Upright names along x, colored and signed by role."""
    _name(ax.xaxis, names, roles)
    ax.tick_params(axis="x", rotation=90)


def _name(axis: Axis, names: Sequence[str], roles: Sequence[str]) -> None:
    tags = [signed(name, role) for name, role in zip(names, roles, strict=True)]
    axis.set_ticks(range(len(names)), tags)
    axis.set_tick_params(length=0)
    for tick, role in zip(axis.get_ticklabels(), roles, strict=True):
        tick.set_color(color(role))


def row_height(rows: int, points_each: float = 8.2, extra: float = 0.75) -> float:
    """Height in inches of a figure with that many named rows."""
    return max(1.6, rows * points_each / 72 + extra)
