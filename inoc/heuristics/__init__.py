"""Base-model heuristics of inoculation prompts: `compute(store)` for the labelled table, one module per
family below it for the same functions on bare arrays (`inoc.heuristics.maths.pointwise.gamma(w)`).
docs/heuristics.md lists them all.
"""

from inoc.heuristics.frame.registry import Heuristic, heuristic, heuristics
from inoc.heuristics.frame.resolve import compute

__all__ = ["Heuristic", "compute", "heuristic", "heuristics"]
