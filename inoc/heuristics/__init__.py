"""Base-model heuristics of inoculation prompts.

`compute(store)` gives the labeled table. `inoc.heuristics.maths` holds the same functions on bare arrays, one
family per module (`inoc.heuristics.maths.pointwise.gamma(w)`); docs/heuristics.md lists them all. Own heuristics
are declared with the decorators below.
"""

from inoc.heuristics.frame.declarations import Companion, Heuristic, Intermediate, Matrix, RestsOn, interval
from inoc.heuristics.frame.decorators import heuristic, intermediate, part, token_mean, token_row
from inoc.heuristics.frame.protocols import Absent
from inoc.heuristics.frame.registry import dimension, find, heuristics
from inoc.heuristics.frame.table import Table, Variable, compute, measure
from inoc.heuristics.tokens.layout import RowLayout, TokenRow, TokenRows

__all__ = [
    "Absent",
    "Companion",
    "Heuristic",
    "Intermediate",
    "Matrix",
    "RestsOn",
    "RowLayout",
    "Table",
    "TokenRow",
    "TokenRows",
    "Variable",
    "compute",
    "dimension",
    "find",
    "heuristic",
    "heuristics",
    "intermediate",
    "interval",
    "measure",
    "part",
    "token_mean",
    "token_row",
]
