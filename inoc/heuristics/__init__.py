"""Base-model heuristics of inoculation prompts: `compute(store)` for the labelled table, one module per
family below it for the same functions on bare arrays (`inoc.heuristics.pointwise.gamma(w)`).
docs/heuristics.md lists them all.
"""

from inoc.heuristics.compute import compute
from inoc.heuristics.registry import Heuristic, heuristic, heuristics

__all__ = ["Heuristic", "compute", "heuristic", "heuristics"]
