"""How everything that inoc draws looks, in pictures and on pages: hue and fill are the role, shape is the prefix type,
and angles have one diverging scale."""

from collections.abc import Mapping
from typing import Literal

COLORS: Mapping[str, str] = {"positive": "#0072B2", "negative": "#D55E00", "neutral": "#5A5A5A"}
"""Of a role, on white (Okabe-Ito)."""
UNKNOWN = "#9C5C82"
FILLS: Mapping[str, Literal["full", "empty", "pale"]] = {"positive": "full", "negative": "empty", "neutral": "pale"}
"""Of a mark: it repeats the role. Of an unknown role: full."""
PALE = "#CFCFCF"
SHAPES: Mapping[str, Literal["square", "circle", "triangle"]] = {"none": "square", "fixed": "circle", "mix": "triangle"}
"""Of a mark, by prefix type. Of an unknown one: a diamond."""
DASHED = ("mix",)
"""Prefix types whose lines are dashed."""
ANGLES = (
    "#67001f", "#b2182b", "#d6604d", "#f4a582", "#fddbc7", "#f7f7f7",
    "#d1e5f0", "#92c5de", "#4393c3", "#2166ac", "#053061",
)  # fmt: skip
"""From 0 to 180 degrees (ColorBrewer RdBu); between them, linear in sRGB."""
