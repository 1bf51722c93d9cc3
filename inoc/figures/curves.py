"""Values of runs over steps, at any number of runs: each by itself up to 12, else means of their groups."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from inoc.figures import house
from inoc.figures.labels import End, EndLabels
from inoc.figures.panel import Panel
from inoc.heuristics.maths.pointwise import mean_of_finite
from inoc.intervals import mean_interval

SINGLE = 12
"""Above this number of runs with a prompt, means of groups are drawn over pale lines."""
JOINED = 4
"""The fewest stored steps that a line joins: through three, it would show a course that nobody measured."""
BETWEEN = 3
"""The fewest prompts of a group with an interval: that of two is 13 standard errors wide and hides everything."""
Steps = Float64[np.ndarray, " step"]
Values = Float64[np.ndarray, "run step"]


@dataclass(frozen=True)
class Runs:
    """Labels of the runs; the role "control" marks the control runs."""

    names: Sequence[str]
    prompts: Sequence[str]
    roles: Sequence[str]
    prefix_types: Sequence[str]


def draw_curves(
    ax: Panel,
    x: Steps,
    values: Values,
    runs: Runs,
    bounds: tuple[Values, Values] | None = None,
    *,
    marked: bool = True,
    named: bool = True,
    middle: float = 50.0,
) -> list[str]:
    """Draw the runs of a panel, named at their ends, the controls black and thick.

    Args:
        ax: The axes.
        x: The steps.
        values: The value of each run at each step; NaN where unknown.
        runs: Their labels.
        bounds: Ends of the interval of each value.
        marked: Mark the steps.
        named: Name the lines.
        middle: Lines that end far from here are named first.

    Returns:
        Sentences of the caption.
    """
    known = [bool(np.isfinite(row).any()) for row in values]
    many = sum(r != "control" for r, k in zip(runs.roles, known, strict=True) if k) > SINGLE
    joined = len(x) >= JOINED
    ends: list[End] = []
    for i in (int(i) for i in np.flatnonzero(known)):
        role, kind, shown = runs.roles[i], runs.prefix_types[i], np.isfinite(values[i])
        control, ink = role == "control", house.color(role)
        pale = many and not control
        alpha = 1.0 if not pale else 0.25 if joined else 0.6
        style = {"color": ink, "ls": house.LINES.get(kind, "-") if joined else "", "alpha": alpha}
        style |= {"marker": house.MARKERS.get(kind, "D")} if (marked and not pale) or not joined else {}
        ax.plot(
            x[shown], values[i][shown], lw=1.6 if control else 0.4 if pale else 0.8, mfc=house.face(role),
            ms=2 if pale else 3, mew=0.7, zorder=5 if control else 2 if pale else 3, **style,
        )  # fmt: skip
        if bounds is not None and not pale:
            house.intervals(ax, x, values[i], bounds[0][i], bounds[1][i], ink)
        name = "control" if control else runs.names[i]
        if not pale:
            ends.append(End(x[shown][-1], values[i][shown][-1], house.signed(name, role), ink))
    said: list[str] = []
    if many:
        ends += _groups(ax, x, values, runs, marked, joined)
        said.append(
            "Pale: runs. Thick: their mean by role and prefix type, each prompt counted once, with the 95 % t interval "
            f"over prompts (from {BETWEEN} prompts on)."
        )
    if not joined:
        said.append(f"{len(x)} stored places are not joined by lines.")
    if named:
        EndLabels(ax, sorted(ends, key=lambda end: (end.name != "control", -abs(end.y - middle))))
    return said


def _groups(ax: Panel, x: Steps, values: Values, runs: Runs, marked: bool, joined: bool) -> list[End]:
    """The mean over prompts of every role and prefix type."""
    ends: list[End] = []
    labels = list(zip(runs.roles, runs.prefix_types, strict=True))
    for role, kind in sorted({label for label in labels if label[0] != "control"}):
        at = [i for i, label in enumerate(labels) if label == (role, kind)]
        prompts = list(dict.fromkeys(runs.prompts[i] for i in at))
        own = ([i for i in at if runs.prompts[i] == prompt] for prompt in prompts)
        each = np.stack([mean_of_finite(values[rows].T) for rows in own], axis=1)
        shown = np.isfinite(each).any(axis=1)
        mean, between = mean_of_finite(each[shown]), mean_interval(each[shown])
        ink, ls = house.color(role), house.LINES.get(kind, "-") if joined else ""
        marker = house.MARKERS.get(kind, "D") if marked or not joined else ""
        ax.plot(x[shown], mean, color=ink, lw=1.8, ls=ls, marker=marker, mfc=house.face(role), ms=4, mew=0.9, zorder=4)
        if joined and len(prompts) >= BETWEEN:
            ax.fill_between(x[shown], between[:, 0], between[:, 1], color=ink, alpha=0.18, lw=0, zorder=3)
        elif len(prompts) >= BETWEEN:
            house.intervals(ax, x[shown], mean, between[:, 0], between[:, 1], ink)
        name = house.signed(f"{role or 'other'}, {kind} ({len(prompts)} prompts)", role)
        ends.append(End(x[shown][-1], mean[-1], name, ink))
    return ends
