"""Will a rate pass the threshold? Level and slope of simple metrics at the checkpoints seen, and how well they sort."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float64, Shaped

from inoc.emergence.estimators import smoothed_log_rate
from inoc.emergence.tables import Metric
from inoc.errors import BadInput
from inoc.intervals import cluster_bootstrap

THRESHOLD = 0.1
"""A behavior has emerged where its rate without a prefill is above this."""
FEWEST = 8
"""Fewer cases carry no AUC."""
RIDGE = 1.0
Scores = Float64[np.ndarray, " case"]


def metrics(table: xr.Dataset) -> xr.Dataset:
    """What the predictors read, by case and checkpoint.

    Args:
        table: Cases, as `cases` gives them.

    Returns:
        `mean_neg_kl` (mean over levels above 0), `exploit_rate` (log of the rate without a prefill),
        `log_exploit_lower_bound` (largest log rate minus surprisal over levels), `kl_bound` (the same with the KL
        estimate instead of the surprisal), all in nats over (case, checkpoint).
    """
    level = table["prefill"].values
    log_rate = smoothed_log_rate(table["successes"].values, table["trials"].values)
    kl, surprisal = (
        np.where(level == 0, 0.0, values) for values in (-table["neg_kl"].values, table["surprisal"].values)
    )
    none = np.full(log_rate.shape[:-1], np.nan)
    found = {
        "mean_neg_kl": (_reduce(np.nanmean, -kl[..., level > 0]), "mean log-probability ratio of the prefills"),
        "exploit_rate": (log_rate[..., 0] if level[0] == 0 else none, "log rate without a prefill"),
        "log_exploit_lower_bound": (_reduce(np.nanmax, log_rate - surprisal), "largest log rate - surprisal"),
        "kl_bound": (_reduce(np.nanmax, log_rate - kl), "largest log rate - KL estimate"),
    }
    dims = ("case", "checkpoint")
    return xr.Dataset(
        {name: (dims, values, {"units": "nat", "long_name": what}) for name, (values, what) in found.items()},
        coords={name: table[name] for name in ("run", "behavior", "checkpoint")},
    )


def _reduce(function: object, values: np.ndarray) -> Metric:
    """NaN-ignoring mean or maximum over levels; NaN where nothing is measured."""
    assert callable(function)
    out = np.full(values.shape[:-1], np.nan)
    some = np.isfinite(values).any(axis=-1)
    out[some] = function(values[some], axis=-1)
    return out


def slope(metric: Metric, checkpoint: Shaped[np.ndarray, " checkpoint"]) -> Scores:
    """Least-squares slope of a metric over log checkpoint.

    Args:
        metric: The checkpoints seen so far.
        checkpoint: Their updates; update 0 has no logarithm and is left out.

    Returns:
        Nats per e-fold of updates; NaN with fewer than two checkpoints or a missing value.
    """
    used = checkpoint > 0
    if used.sum() < 2:
        return np.full(len(metric), np.nan)
    time = np.log(checkpoint[used].astype(np.float64))
    time -= time.mean()
    return metric[:, used] @ time / (time**2).sum()


def auc(score: Scores, emerges: Bool[np.ndarray, " case"]) -> float:
    """Share of pairs (one that emerges, one that does not) that a score sorts right; ties count half.

    Args:
        score: Higher = expected to emerge.
        emerges: The final label.

    Returns:
        0-1; NaN below 8 cases with a score, or where all cases have one label.
    """
    return float(_weighted_auc(score, emerges, np.ones((1, score.size)))[0, 0])


def _weighted_auc(
    score: Scores, emerges: Bool[np.ndarray, " case"], weights: Float64[np.ndarray, "resample row"]
) -> Float64[np.ndarray, "resample value"]:
    used = np.isfinite(score)
    if used.sum() < FEWEST:
        return np.full((len(weights), 1), np.nan)
    yes, no = used & emerges, used & ~emerges
    right = (score[yes][:, None] > score[no]) + 0.5 * (score[yes][:, None] == score[no])
    with np.errstate(invalid="ignore"):
        pairs = weights[:, yes].sum(axis=1) * weights[:, no].sum(axis=1)
        return (np.einsum("ry,yn,rn->r", weights[:, yes], right, weights[:, no]) / pairs)[:, None]


def logistic(
    features: Float64[np.ndarray, "case feature"], emerges: Bool[np.ndarray, " case"]
) -> Float64[np.ndarray, " coefficient"]:
    """Logistic regression with a ridge penalty of 1 on standardized features.

    Args:
        features: Standardized, finite.
        emerges: The label.

    Returns:
        Intercept and coefficients.
    """
    x = np.column_stack([np.ones(len(features)), features])
    penalty = np.diag([1e-6, *np.full(features.shape[1], RIDGE)])
    beta = np.zeros(x.shape[1])
    for _ in range(25):
        p = 1 / (1 + np.exp(-x @ beta))
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + penalty, x.T @ (emerges - p) - penalty @ beta)
        beta += step
        if np.abs(step).max() < 1e-10:
            break
    return beta


def left_out_logit(
    features: Float64[np.ndarray, "case feature"],
    emerges: Bool[np.ndarray, " case"],
    group: Shaped[np.ndarray, " case"],
) -> Scores:
    """How much the features of each case speak for emergence, by a logistic fit to the cases of the other runs.

    Args:
        features: Such as level and slope of a metric.
        emerges: The final label.
        group: The run of each case; where there is one run only, each case is left out alone.

    Returns:
        Logits without the fit's intercept: leaving a case out moves the intercept away from its label, which alone
        would sort cases without any information wrong. NaN for a case without features, or where the other runs have
        one label only.
    """
    group = np.arange(len(features)) if len(set(group.tolist())) < 2 else group
    used = np.isfinite(features).all(axis=1)
    if not used.any():
        return np.full(len(features), np.nan)
    out = np.full(len(features), np.nan)
    center, spread = features[used].mean(axis=0), features[used].std(axis=0)
    scaled = (features - center) / np.where(spread > 0, spread, 1.0)
    for name in dict.fromkeys(group.tolist()):
        others, mine = used & (group != name), used & (group == name)
        if len(set(emerges[others].tolist())) < 2:
            continue
        out[mine] = scaled[mine] @ logistic(scaled[others], emerges[others])[1:]
    return out


def predictor_scores(table: xr.Dataset, seen: int, emerges: Bool[np.ndarray, " case"]) -> dict[str, Scores]:
    """What every simple predictor says at a number of checkpoints.

    Args:
        table: Cases.
        seen: Number of checkpoints that are known.
        emerges: The final labels, which the logistic fits learn from other runs.

    Returns:
        By predictor: level and slope of each metric, and the left-out logit of a logistic fit to both.
    """
    out: dict[str, Scores] = {}
    checkpoint, run = table["checkpoint"].values[:seen], table["run"].values
    for name, values in metrics(table.isel(checkpoint=slice(seen))).data_vars.items():
        level, rise = values.values[:, -1], slope(values.values, checkpoint)
        out[f"{name} level"], out[f"{name} slope"] = level, rise
        features = level[:, None] if seen < 2 else np.column_stack([level, rise])
        out[f"{name} logistic"] = left_out_logit(features, emerges, run)
    return out


def labels(table: xr.Dataset, threshold: float = THRESHOLD) -> Bool[np.ndarray, " case"]:
    """Which cases have emerged at the last checkpoint, by their counted rate without a prefill.

    Args:
        table: Cases; level 0 must be among the prefills.
        threshold: Of the rate.

    Returns:
        By case.

    Raises:
        BadInput: Level 0 is not among the prefills.
    """
    if int(table["prefill"].values[0]) != 0:
        raise BadInput("the rate without a prefill is not counted. Fix: add level 0 to the prefills.")
    last = table.isel(checkpoint=-1, prefill=0)
    with np.errstate(invalid="ignore"):
        return np.asarray(last["successes"].values / last["trials"].values > threshold)


def auc_table(
    table: xr.Dataset,
    emerges: Bool[np.ndarray, " case"] | None = None,
    more: Mapping[int, Mapping[str, Scores]] | None = None,
) -> xr.Dataset:
    """How well every predictor sorts the cases, by the number of checkpoints seen.

    Args:
        table: Cases.
        emerges: The final labels; from the last checkpoint where None.
        more: Scores of further predictors, by checkpoints seen and name, such as forecasts of a process.

    Returns:
        `auc` with its 95 % bootstrap interval over cases (`lower`, `upper`), by (predictor, seen). NaN below 8 cases.

    Raises:
        BadInput: There is one checkpoint only.
    """
    checkpoints = table.sizes["checkpoint"]
    if checkpoints < 2:
        raise BadInput("there is one checkpoint only. Fix: forecasts need at least two.")
    emerges = labels(table) if emerges is None else emerges
    columns = {
        seen: predictor_scores(table, seen, emerges) | dict((more or {}).get(seen, {}))
        for seen in range(1, checkpoints + 1)
    }
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    found = np.full((3, len(names), checkpoints), np.nan)
    for seen, column in columns.items():
        for name, score in column.items():
            at = names.index(name), seen - 1
            found[0, *at] = auc(score, emerges)
            if np.isfinite(found[0, *at]):
                low, high = cluster_bootstrap(
                    lambda weights, score=score: _weighted_auc(score, emerges, weights),
                    np.arange(emerges.size),
                    resamples=1000,
                    method="percentile",
                )
                found[1:, *at] = low[0], high[0]
    dims = ("predictor", "seen")
    parts = {name: (dims, found[i], {"units": "1"}) for i, name in enumerate(("auc", "lower", "upper"))}
    return xr.Dataset(parts, coords={"predictor": names, "seen": np.arange(1, checkpoints + 1)})
