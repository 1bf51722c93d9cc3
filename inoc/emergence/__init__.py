"""Will a rare behavior grow? Rates from prefills, simple predictors, and Gaussian processes, on arrays."""

from inoc.emergence.estimators import (
    Estimate,
    beginnings,
    distinct_texts,
    importance,
    jensen,
    own_prefills,
    smoothed_log_rate,
)
from inoc.emergence.forecasting import forecast
from inoc.emergence.predictors import auc, auc_table, labels, metrics, predictor_scores, slope
from inoc.emergence.processes import Settings
from inoc.emergence.simulation import simulate
from inoc.emergence.tables import case_table, cases, estimate

__all__ = [
    "Estimate",
    "Settings",
    "auc",
    "auc_table",
    "beginnings",
    "case_table",
    "cases",
    "distinct_texts",
    "estimate",
    "forecast",
    "importance",
    "jensen",
    "labels",
    "metrics",
    "own_prefills",
    "predictor_scores",
    "simulate",
    "slope",
    "smoothed_log_rate",
]
