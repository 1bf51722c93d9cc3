"""Names beside points and lines that never cover each other.

Places are chosen when the figure is drawn, at its real size: each name takes the first free place around its point,
or none. Names come in order of importance. What found no place is counted (`hidden`).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np
from jaxtyping import Float64
from matplotlib.artist import Artist
from matplotlib.backend_bases import RendererBase
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.transforms import Bbox, BboxBase, IdentityTransform

from inoc.figures import house
from inoc.figures.panel import Panel

Column = Float64[np.ndarray, " point"]
RINGS = (5.0, 9.0, 14.0, 20.0, 27.0)
"""Distances in points at which a place is tried."""
DIRECTIONS = tuple(np.radians(a) for a in (20, 160, -20, -160, 90, -90, 45, 135, -45, -135, 0, 180))
SIZE = 6.0


class _Names(Artist):
    """Names that are placed again at every draw."""

    def __init__(self, ax: Panel, texts: list[Text], zorder: int) -> None:
        super().__init__()
        self.set_zorder(zorder)
        self.set_in_layout(False)
        self._axes, self.texts = ax, texts
        ax.add_artist(self)

    @property
    def hidden(self) -> int:
        """Names that found no place at the last draw."""
        return sum(not text.get_visible() for text in self.texts)

    def _leader(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        renderer: object,
        color: str = "#AAAAAA",
        alpha: float | None = None,
    ) -> None:
        line = Line2D([start[0], end[0]], [start[1], end[1]], lw=0.4, color=color, alpha=alpha)
        line.set_figure(self._axes.figure)  # pyright: ignore[reportArgumentType]
        line.draw(cast(RendererBase, renderer))


class PointLabels(_Names):
    """Names beside the points of a scatter, where they cover neither each other nor an obstacle."""

    def __init__(
        self,
        ax: Panel,
        at: Float64[np.ndarray, "name 2"],
        names: Sequence[str],
        colors: Sequence[str],
        obstacles: Float64[np.ndarray, "obstacle 2"],
    ) -> None:
        texts = [
            Text(0, 0, name, fontsize=SIZE, color=color, va="center", ha="center")
            for name, color in zip(names, colors, strict=True)
        ]
        super().__init__(ax, texts, 6)
        self._at, self._obstacles = at, obstacles
        for text in self.texts:
            text.set_figure(ax.figure)  # pyright: ignore[reportArgumentType]
            text.set_transform(IdentityTransform())
            text.set_path_effects([withStroke(linewidth=1.6, foreground="white")])

    def get_children(self) -> list[Artist]:
        return list(self.texts)

    def draw(self, renderer: object) -> None:
        renderer = cast(RendererBase, renderer)  # SVG's inherits from another class
        scale = float(np.asarray(renderer.points_to_pixels(1.0)))
        frame = self._axes.get_window_extent(renderer)
        points = self._axes.transData.transform(self._obstacles)
        taken = [t.get_window_extent(renderer) for t in self._axes.texts if t.get_visible() and t.get_text()]
        for text, start in zip(self.texts, self._axes.transData.transform(self._at), strict=True):
            text.set_visible(True)
            text.set_position((0.0, 0.0))
            box = text.get_window_extent(renderer)
            places = _places(box.width + 2 * scale, box.height, start, scale)
            found = next((place for place in places if _free(place, frame, taken, points, 2.6 * scale)), None)
            text.set_visible(found is not None)
            if found is None:
                continue
            taken.append(found)
            text.set_position(((found.x0 + found.x1) / 2, (found.y0 + found.y1) / 2))
            x, y = np.clip(start, found.min, found.max)
            if np.hypot(x - start[0], y - start[1]) > 5 * scale:
                self._leader((start[0], start[1]), (x, y), renderer, str(text.get_color()), 0.7)
            text.draw(renderer)


def _places(width: float, height: float, start: Float64[np.ndarray, " 2"], scale: float) -> Iterator[Bbox]:
    """Boxes around a point, the nearest first."""
    for ring in RINGS:
        for angle in DIRECTIONS:
            x = start[0] + np.cos(angle) * ring * scale + np.sign(round(np.cos(angle), 6)) * width / 2
            y = start[1] + np.sin(angle) * ring * scale
            yield Bbox.from_bounds(x - width / 2, y - height / 2, width, height)


def _free(
    box: Bbox, frame: BboxBase, taken: Sequence[BboxBase], points: Float64[np.ndarray, "obstacle 2"], radius: float
) -> bool:
    """Whether a box is inside the frame, over no other box and at least `radius` from all points."""
    inside = np.all(np.less_equal([frame.min, box.max], [box.min, frame.max]))
    if not inside or any(box.overlaps(other) for other in taken):
        return False
    away = np.maximum(np.maximum(box.min - points, points - box.max), 0)
    return bool((np.hypot(*away.T) >= radius).all())


class End(NamedTuple):
    """The end of a line, with its name."""

    x: float
    y: float
    name: str
    color: str


class EndLabels(_Names):
    """Names right of the axes at the ends of lines, pushed apart at every draw; names without room are hidden."""

    def __init__(self, ax: Panel, ends: Sequence[End]) -> None:
        texts = [
            ax.text(
                1.05, 0.5, end.name, transform=ax.transAxes, fontsize=SIZE, color=end.color, va="center",
                clip_on=False,
            )
            for end in ends
        ]  # fmt: skip
        super().__init__(ax, texts, -1)
        self._ends = np.array([(end.x, end.y) for end in ends], dtype=np.float64).reshape(-1, 2)

    def draw(self, renderer: object) -> None:
        renderer = cast(RendererBase, renderer)  # SVG's inherits from another class
        frame = self._axes.get_window_extent(renderer)
        scale = float(np.asarray(renderer.points_to_pixels(1.0)))
        height = SIZE * 1.25 * scale
        room = max(int(frame.height // height), 1)
        for i, text in enumerate(self.texts):
            text.set_visible(i < room)
        shown = [i for i in range(len(self.texts)) if i < room]
        ends = self._axes.transData.transform(self._ends)
        order = sorted(shown, key=lambda i: float(ends[i, 1]))
        wanted = np.array([ends[i, 1] for i in order])
        for i, y in zip(order, spread(wanted, height, frame.y0, frame.y1), strict=True):
            self.texts[i].set_position((1.05, (y - frame.y0) / frame.height))
            edge = frame.x0 + 1.04 * frame.width
            self._leader((float(ends[i, 0]), float(ends[i, 1])), (edge, float(y)), renderer)


def name_points(
    ax: Panel,
    x: Column,
    y: Column,
    order: Sequence[int],
    names: Sequence[str],
    roles: Sequence[str],
    obstacles: Float64[np.ndarray, "obstacle 2"] | None = None,
) -> None:
    """Name the points of `order`, the most important first, around all points (or the obstacles given)."""
    at = np.column_stack([x, y])
    tags = [house.signed(names[i], roles[i]) for i in order]
    inks = [house.color(roles[i]) for i in order]
    around = at[np.isfinite(at).all(axis=1)] if obstacles is None else obstacles
    PointLabels(ax, at[list(order)], tags, inks, around)


def along(at: Column, lower: Column, upper: Column, vertical: bool = True) -> Float64[np.ndarray, "obstacle 2"]:
    """Places on intervals, which names keep away from as from points; intervals that are NaN have none."""
    known = np.isfinite(at) & np.isfinite(lower) & np.isfinite(upper)
    steps = np.linspace(lower[known], upper[known], 24)
    fixed = np.broadcast_to(at[known], steps.shape)
    pair = (fixed, steps) if vertical else (steps, fixed)
    return np.column_stack([side.ravel() for side in pair])


def spread(wanted: Float64[np.ndarray, " label"], gap: float, low: float, high: float) -> Float64[np.ndarray, " label"]:
    """Sorted places at least `gap` apart within [low, high], near those wanted: pushed up, then down."""
    places = np.clip(wanted, low + gap / 2, high - gap / 2)
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + gap)
    ceiling = high - gap / 2
    for i in range(len(places) - 1, -1, -1):
        places[i] = min(places[i], ceiling)
        ceiling = places[i] - gap
    return places


def extremes(x: Column, y: Column, most: int = 12, groups: Sequence[str] | None = None) -> list[int]:
    """Indices of the points farthest out, farthest first, in units of the spread of each axis.

    With `groups` (roles), the farthest of each group in turn, so that every group has a name.
    """
    finite = np.isfinite(x) & np.isfinite(y)
    if not finite.any():
        return []
    middle = np.array([np.median(x[finite]), np.median(y[finite])])
    size = np.array([np.ptp(x[finite]), np.ptp(y[finite])])
    away = np.hypot(*((np.column_stack([x, y]) - middle) / np.where(size > 0, size, 1.0)).T)
    order = [int(i) for i in np.argsort(np.where(finite, -away, np.inf), kind="stable") if finite[i]]
    if groups is not None:
        seen: dict[str, int] = {}
        turn: dict[int, int] = {}
        for i in order:
            turn[i] = seen.get(groups[i], 0)
            seen[groups[i]] = turn[i] + 1
        order.sort(key=lambda i: turn[i])
    return order[:most]
