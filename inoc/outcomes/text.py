"""Sentences and number formats shared by the outcome tables and the advice."""

import difflib
from collections.abc import Sequence

import numpy as np


def unknown(kind: str, name: str, known: Sequence[str]) -> str:
    """The sentence for a name that is none of the known ones, with the nearest."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5) or difflib.get_close_matches(
        name.lower(), [k.lower() for k in known], n=1, cutoff=0.5
    )
    exact = next((k for k in known if near and k.lower() == near[0].lower()), None)
    hint = f"Did you mean '{exact}'?" if exact else f"Known: {', '.join(known)}."
    return f"there is no {kind} '{name}'. {hint}"


def number(value: float, digits: int = 1) -> str:
    """A number for a table; a missing one is a dash."""
    return f"{value:.{digits}f}" if np.isfinite(value) else "–"


def interval(lower: float, upper: float, digits: int = 1) -> str:
    """[lower, upper]; empty where there is none."""
    if not (np.isfinite(lower) and np.isfinite(upper)):
        return ""
    return f"[{lower:.{digits}f}, {upper:.{digits}f}]"
