"""What training did: suppression, gaps, levels with intervals; which heuristic goes with it; predictions."""

from inoc.outcomes.durability import durability
from inoc.outcomes.misalignment import misalignment
from inoc.outcomes.performance import performance, performance_of
from inoc.outcomes.predict import predict, predict_of
from inoc.outcomes.rows import rows, rows_of
from inoc.outcomes.suppression import cross_suppression, gap, levels, suppression

__all__ = [
    "cross_suppression",
    "durability",
    "gap",
    "levels",
    "misalignment",
    "performance",
    "performance_of",
    "predict",
    "predict_of",
    "rows",
    "rows_of",
    "suppression",
]
