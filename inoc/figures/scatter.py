"""An outcome against a number of the prompts: points with intervals, and per prefix type its own line with n and r.

One mechanism for all figures that ask whether the base model tells what training does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from matplotlib.ticker import MaxNLocator

from inoc.figures import fits, house
from inoc.figures.labels import along, extremes, name_points
from inoc.figures.panel import Panel
from inoc.outcomes.correlation import Correlation, correlate

Column = Float64[np.ndarray, " point"]
LETTER = 0.044
"""Inches of a letter of the smallest text, at most."""
BOLD = 0.056
"""Inches of a letter of a title in small panels, at most."""
NARROW = 1.6
"""Inches of a panel below which it says less."""
TEXT_LINE = 0.112
"""Inches of a line of it."""


@dataclass(frozen=True)
class Points:
    """Points of a scatter, all finite in x and y; `lower` and `upper` bound y and may be NaN."""

    x: Column
    y: Column
    lower: Column
    upper: Column
    prompts: Sequence[str]
    roles: Sequence[str]
    prefix_types: Sequence[str]


class Relation(NamedTuple):
    """How y follows x among the points of one prefix type; `line` is None where `found.reason` says why."""

    prefix_type: str
    at: list[int]
    found: Correlation
    line: fits.Line | None


def relations(points: Points) -> list[Relation]:
    """The correlation and the line of each prefix type by itself; nothing is fitted to fewer than 8 prompts."""
    result: list[Relation] = []
    for kind in dict.fromkeys(points.prefix_types):
        at = [i for i, k in enumerate(points.prefix_types) if k == kind]
        x, y, prompts = points.x[at], points.y[at], np.array(points.prompts)[at]
        found = correlate(x, y, prompts)
        result.append(Relation(kind, at, found, None if found.reason else fits.line(x, y, prompts)))
    return result


def draw(ax: Panel, points: Points, *, sigmoid: bool = False, names: int = 8) -> list[str]:
    """Draw the points of a panel with their lines, names, and a box of n, prompts and r.

    Args:
        ax: The axes.
        points: What is drawn.
        sigmoid: Also draw a monotone sigmoid, compared with the line by AIC.
        names: The number of prompts to name, farthest out first.

    Returns:
        Sentences of the caption.
    """
    x, y, roles, kinds = points.x, points.y, points.roles, points.prefix_types
    related, compared = relations(points), list[str]()
    width, height = house.panel_size(ax)
    told: list[str] = []
    for kind, at, found, fit in related:
        words = _words(kind if len(related) > 1 else "", found, fit, brief=width < NARROW)
        told += [line for words in words for line in wrap(words, max(int((width - 0.5) / LETTER), 16))]
        if fit is None:
            continue
        grid = np.linspace(float(x[at].min()), float(x[at].max()), 200)
        half = fit.half_band(grid)
        ax.plot(grid, fit(grid), color="black", lw=0.9, ls=house.LINES.get(kind, "-"), zorder=1)
        ax.fill_between(grid, fit(grid) - half, fit(grid) + half, color="#888888", alpha=0.18, lw=0, zorder=0)
        curve = fits.sigmoid(x[at], y[at]) if sigmoid else None
        if curve is not None:
            ax.plot(grid, curve(grid), color="black", lw=0.9, ls=":", zorder=1)
            compared.append(f"{kind} line {fit.aic:.0f}, sigmoid {curve.aic:.0f}")
    house.intervals(ax, x, y, points.lower, points.upper, [house.color(r) for r in roles])
    house.points(ax, x, y, roles, kinds, 15.0 if width > 2 else 8.0)
    low, high = float(min(np.nanmin(points.lower, initial=0), y.min())), float(max(y.max(), 0))
    high = max(high, float(np.nanmax(points.upper, initial=high)))
    reach = (high - low or 1.0) * 1.04 / (1 - min(0.6, len(told) * TEXT_LINE / max(height - 0.6, 0.3)))
    ax.set_ylim(low - 0.04 * reach, low + reach)
    ax.margins(x=0.12)
    box = ax.text(0.03, 0.98, "\n".join(told), transform=ax.transAxes, va="top", fontsize=6, linespacing=1.25, zorder=1)
    box.set_in_layout(False)
    box.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8})
    ax.xaxis.set_major_locator(MaxNLocator(2 if width < NARROW else 4 if width < 2.5 else 7))
    house.guide(ax, y=0)
    farthest = {points.prompts[i]: i for i in reversed(extremes(x, y, len(x)))}  # one point of each prompt
    around = np.concatenate([np.column_stack([x, y]), along(x, points.lower, points.upper)])
    name_points(ax, x, y, list(farthest.values())[::-1][:names], points.prompts, roles, around)
    house.legend(ax, [*house.prefix_handles(kinds), *house.role_handles(roles)])
    return [
        "Lines: least squares per prefix type with the 95 % band of the mean, prompts as sample."
        if any(each.line for each in related)
        else "",
        f"Dotted: monotone sigmoid by least squares (AIC: {'; '.join(compared)})." if compared else "",
        "Vertical lines are 95 % paired t intervals." if np.isfinite(points.lower).any() else "",
    ]


def _words(kind: str, found: Correlation, fit: fits.Line | None, brief: bool) -> list[str]:
    """r, rho and what they rest on, or why there are none."""
    r, rho = (f"{value:.2f}".replace("-", "−") for value in (found.r, found.rho))
    n, prompts = f"n = {found.n}", f"{found.prompts} prompts"
    start = f"{kind}: " if kind else ""
    if brief:
        said = f"r = {r}" if not found.reason else "constant" if "constant" in found.reason else "no r"
        return [f"{start}{said}, {n}", prompts]
    n = f"{n}, {prompts}"
    if found.reason:
        return [f"{start}{n}, no r ({found.reason.split('; ')[-1].removeprefix('a correlation ')})"]
    return [f"{start}r = {r}, ρ = {rho}, {n}" + (f", RMSE {fit.rmse:.1f}" if fit else "")]
