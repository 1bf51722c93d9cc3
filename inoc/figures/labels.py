"""Names beside points and lines that never cover each other.

Places are chosen when the figure is drawn, at its real size: each name takes the first free place around its point,
or none. Names come in order of importance. What found no place is counted (`hidden`).
"""

# matplotlib's stubs leave some argument types unknown
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Sequence
from typing import cast

import numpy as np
from jaxtyping import Float64
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.transforms import Bbox, BboxBase, IdentityTransform

RINGS = (5.0, 9.0, 14.0, 20.0, 27.0)
"""Distances in points at which a place is tried."""
DIRECTIONS = tuple(np.radians(a) for a in (20, 160, -20, -160, 90, -90, 45, 135, -45, -135, 0, 180))
SIZE = 6.0


class PointLabels(Artist):
    """Names of points of a scatter, placed anew at every draw."""

    def __init__(
        self,
        ax: Axes,
        x: Float64[np.ndarray, " point"],
        y: Float64[np.ndarray, " point"],
        names: Sequence[str],
        colours: Sequence[str],
        obstacles: Float64[np.ndarray, "obstacle 2"],
    ) -> None:
        super().__init__()
        self.set_zorder(6)
        self.set_in_layout(False)
        self._at = np.column_stack([x, y])
        self._obstacles = obstacles
        self._axes = ax
        self.texts = [
            Text(0, 0, name, fontsize=SIZE, color=colour, va="center", ha="center")
            for name, colour in zip(names, colours, strict=True)
        ]
        ax.add_artist(self)
        for text in self.texts:
            text.set_figure(ax.figure)  # pyright: ignore[reportArgumentType]
            text.set_transform(IdentityTransform())
            text.set_path_effects([withStroke(linewidth=1.6, foreground="white")])

    def get_children(self) -> list[Artist]:
        return list(self.texts)

    @property
    def hidden(self) -> int:
        """Names that found no place at the last draw."""
        return sum(not text.get_visible() for text in self.texts)

    def draw(self, renderer: object) -> None:
        renderer = cast(RendererBase, renderer)  # SVG's is none by inheritance
        scale = float(np.asarray(renderer.points_to_pixels(1.0)))
        frame = self._axes.get_window_extent(renderer)
        points = self._axes.transData.transform(self._obstacles)
        radius = 2.6 * scale
        taken = [t.get_window_extent(renderer) for t in self._axes.texts if t.get_visible() and t.get_text()]
        for text, start in zip(self.texts, self._axes.transData.transform(self._at), strict=True):
            text.set_visible(True)
            text.set_position((0.0, 0.0))
            box = text.get_window_extent(renderer)
            found = self._place(box.width + 2 * scale, box.height, start, scale, frame, points, radius, taken)
            text.set_visible(found is not None)
            if found is None:
                continue
            taken.append(found)
            centre = ((found.x0 + found.x1) / 2, (found.y0 + found.y1) / 2)
            text.set_position(centre)
            near = (
                float(np.clip(start[0], found.x0, found.x1)),
                float(np.clip(start[1], found.y0, found.y1)),
            )
            if np.hypot(near[0] - start[0], near[1] - start[1]) > 5 * scale:
                self._leader(start, near, str(text.get_color()), renderer)
            text.draw(renderer)

    def _place(
        self,
        width: float,
        height: float,
        start: Float64[np.ndarray, " 2"],
        scale: float,
        frame: BboxBase,
        points: Float64[np.ndarray, "obstacle 2"],
        radius: float,
        taken: Sequence[BboxBase],
    ) -> Bbox | None:
        for ring in RINGS:
            for angle in DIRECTIONS:
                reach = ring * scale
                cx = start[0] + np.cos(angle) * reach + np.sign(round(np.cos(angle), 6)) * width / 2
                cy = start[1] + np.sin(angle) * reach
                box = Bbox.from_bounds(cx - width / 2, cy - height / 2, width, height)
                inside = (
                    box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0 and box.y1 <= frame.y1
                )
                if not inside or any(box.overlaps(other) for other in taken):
                    continue
                away_x = np.maximum(np.maximum(box.x0 - points[:, 0], points[:, 0] - box.x1), 0)
                away_y = np.maximum(np.maximum(box.y0 - points[:, 1], points[:, 1] - box.y1), 0)
                if (np.hypot(away_x, away_y) >= radius).all():
                    return box
        return None

    def _leader(
        self, start: Float64[np.ndarray, " 2"], end: tuple[float, float], colour: str, renderer: object
    ) -> None:
        line = Line2D([start[0], end[0]], [start[1], end[1]], lw=0.4, color=colour, alpha=0.7)
        line.set_figure(self._axes.figure)  # pyright: ignore[reportArgumentType]
        line.draw(cast(RendererBase, renderer))


class EndLabels(Artist):
    """Names right of the axes at the ends of lines, pushed apart at every draw; what does not fit is hidden."""

    def __init__(
        self,
        ax: Axes,
        x: Float64[np.ndarray, " line"],
        y: Float64[np.ndarray, " line"],
        names: Sequence[str],
        colours: Sequence[str],
    ) -> None:
        super().__init__()
        self.set_zorder(-1)
        self.set_in_layout(False)
        self._axes, self._x, self._y = ax, x, y
        self.texts = [
            ax.text(1.05, 0.5, n, transform=ax.transAxes, fontsize=SIZE, color=c, va="center", clip_on=False)
            for n, c in zip(names, colours, strict=True)
        ]
        ax.add_artist(self)

    @property
    def hidden(self) -> int:
        """Names that found no place at the last draw."""
        return sum(not text.get_visible() for text in self.texts)

    def draw(self, renderer: object) -> None:
        renderer = cast(RendererBase, renderer)  # SVG's is none by inheritance
        frame = self._axes.get_window_extent(renderer)
        scale = float(np.asarray(renderer.points_to_pixels(1.0)))
        height = SIZE * 1.25 * scale
        room = max(int(frame.height // height), 1)
        for i, text in enumerate(self.texts):
            text.set_visible(i < room)
        shown = [i for i in range(len(self.texts)) if i < room]
        ends = self._axes.transData.transform(np.column_stack([self._x, self._y]))
        order = sorted(shown, key=lambda i: float(ends[i, 1]))
        wanted = np.array([ends[i, 1] for i in order])
        for i, y in zip(order, spread(wanted, height, frame.y0, frame.y1), strict=True):
            self.texts[i].set_position((1.05, (y - frame.y0) / frame.height))
            line = Line2D(
                [ends[i, 0], frame.x0 + 1.04 * frame.width], [ends[i, 1], y], lw=0.4, color="#AAAAAA"
            )
            line.set_figure(self._axes.figure)  # pyright: ignore[reportArgumentType]
            line.draw(renderer)


def spread(
    wanted: Float64[np.ndarray, " label"], gap: float, low: float, high: float
) -> Float64[np.ndarray, " label"]:
    """Sorted places at least `gap` apart within [low, high], near those wanted: pushed up, then down."""
    places = np.clip(wanted, low + gap / 2, high - gap / 2)
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + gap)
    ceiling = high - gap / 2
    for i in range(len(places) - 1, -1, -1):
        places[i] = min(places[i], ceiling)
        ceiling = places[i] - gap
    return places


def extremes(
    x: Float64[np.ndarray, " point"],
    y: Float64[np.ndarray, " point"],
    most: int = 12,
    groups: Sequence[str] | None = None,
) -> list[int]:
    """Indices of the points farthest out, farthest first, in units of the spread of each axis.

    With `groups` (roles), the farthest of each group in turn, so that none goes without a name.
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
