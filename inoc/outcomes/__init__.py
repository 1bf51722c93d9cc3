"""What training did: suppression, gaps, levels with intervals; which heuristic goes with it; predictions."""

from inoc.outcomes.comparison import compare
from inoc.outcomes.continuation import durability
from inoc.outcomes.durable import tradeoff
from inoc.outcomes.effects import control_warnings, cross_suppression, gap, levels, suppression
from inoc.outcomes.performance_table import performance, performance_of
from inoc.outcomes.predict_stores import predict
from inoc.outcomes.prediction import predict_of
from inoc.outcomes.probes import leaks
from inoc.outcomes.rate_table import rates
from inoc.outcomes.recommendation import recommend
from inoc.outcomes.results_table import pooled, read_rows, rows_csv
from inoc.outcomes.tidy import rows, rows_of

__all__ = [
    "compare",
    "control_warnings",
    "cross_suppression",
    "durability",
    "gap",
    "leaks",
    "levels",
    "performance",
    "performance_of",
    "pooled",
    "predict",
    "predict_of",
    "rates",
    "read_rows",
    "recommend",
    "rows",
    "rows_csv",
    "rows_of",
    "suppression",
    "tradeoff",
]
