"""How the panels of a figure are laid out: alone, the same figure of several stores side by side, and for a paper."""

# pyright: reportUnknownMemberType=false

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, cast

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from inoc.errors import IncompleteStore
from inoc.figures.house import COLUMN, PAGE, describe, styled
from inoc.reading import printable

BESIDE = 4
"""The most stores in one row."""
Plot = Callable[..., Axes]


class Preset(NamedTuple):
    """A width, the most panels beside each other (0: as many as the figure has), and the tallest page, in mm."""

    width: float
    columns: int
    tallest: float


PRESETS: Mapping[str, Preset] = {"one-column": Preset(84.0, 1, 234.0), "two-column": Preset(174.0, 0, 234.0)}
MM = 1 / 25.4
"""Inches of a millimeter."""


@dataclass(frozen=True)
class Panels:
    """What a figure consists of.

    Attributes:
        plots: Each draws one panel into `ax`; row by row. None leaves a place empty.
        columns: Panels in a row.
        height: Of a row, in inches.
        width: Of the figure, in inches; 0 for a page, or for a column where panels are not beside each other.
        note: A sentence for the caption.
    """

    plots: Sequence[Plot | None]
    columns: int = 1
    height: float = 2.6
    width: float = 0.0
    note: str = ""

    def pages(self, preset: Preset) -> list["Panels"]:
        """The figure at the width of a paper, in as many parts as its tallest page needs."""
        columns = min(self.columns, preset.columns or self.columns)
        rows = max(int(preset.tallest * MM // self.height), 1) * columns
        parts = [self.plots[at : at + rows] for at in range(0, len(self.plots), rows)]
        height = min(self.height, preset.tallest * MM)
        return [replace(self, plots=part, columns=columns, width=preset.width * MM, height=height) for part in parts]

    @styled
    def draw(self) -> Figure:
        """Draw every panel.

        Raises:
            IncompleteStore: There are no panels.
        """
        if not self.plots:
            raise IncompleteStore(
                "the store names no traits. Fix: import them with `inoc import --prompts`, or use an experiment file."
            )
        columns = min(self.columns, len(self.plots))
        rows = -(-len(self.plots) // columns)
        width = self.width or (PAGE if columns > 1 else COLUMN)
        figure = plt.figure(figsize=(width, rows * self.height), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)  # pyright: ignore[reportOptionalMemberAccess, reportCallIssue]
        axes = [cast(Axes, ax) for ax in figure.subplots(rows, columns, squeeze=False).ravel()]
        for plot, ax in zip(self.plots, axes, strict=False):
            if plot is None:
                ax.set_axis_off()
            else:
                plot(ax=ax)
        for ax in axes[len(self.plots) :]:
            ax.remove()
        describe(axes[0], self.note)
        return figure


def beside(found: Mapping[str, Panels], missing: Sequence[str] = ()) -> Panels:
    """The same figure of several stores: a column for each, and the same axes in a row where they mean the same.

    Args:
        found: The panels of each store by its name; one that has fewer panels leaves places empty.
        missing: Stores that cannot be drawn; the caption names them.
    """
    names = list(found)
    plots: list[Plot | None] = []
    for at in range(0, len(names), BESIDE):
        row_of = [(name, found[name].plots) for name in names[at : at + BESIDE]]
        for row in range(max(len(plots) for _, plots in row_of)):
            drawn: list[Axes] = []
            for name, own in row_of:
                plot = own[row] if row < len(own) else None
                plots.append(plot and partial(_of_store, plot, name, drawn))
            plots += [None] * (min(len(names), BESIDE) - len(row_of))
    height = max(panels.height for panels in found.values())
    said = dict.fromkeys(panels.note for panels in found.values() if panels.note)
    said |= {f"Not drawn: {', '.join(missing)}.": None} if missing else {}
    return Panels(plots, min(len(names), BESIDE), height, PAGE, " ".join(said))


def _of_store(plot: Plot, name: str, before: list[Axes], *, ax: Axes) -> Axes:
    """Draw a panel of a store under its name, with the axes of those drawn before in its row."""
    plot(ax=ax)
    title = ax.get_title("left") or ax.get_title()
    ax.set_title(f"{printable(name)}\n{title}" if title else printable(name))
    before.append(ax)
    if _alike([each.xaxis for each in before]):
        low, high = _ends([each.xaxis for each in before])
        for each in before:
            each.set_xlim(low, high)
    if _alike([each.yaxis for each in before]):
        low, high = _ends([each.yaxis for each in before])
        for each in before:
            each.set_ylim(low, high)
    return ax


def _alike(axes: Sequence[Axis]) -> bool:
    """Whether they are axes of numbers with one label and scale."""
    kinds = {(axis.get_label_text(), axis.get_scale()) for axis in axes}
    return len(kinds) == 1 and not any(isinstance(axis.get_major_locator(), FixedLocator) for axis in axes)


def _ends(axes: Sequence[Axis]) -> tuple[float, float]:
    ends = [sorted(axis.get_view_interval()) for axis in axes]
    return float(min(end[0] for end in ends)), float(max(end[1] for end in ends))
