"""Forecasts of the rate without a prefill at a later checkpoint, by a Gaussian process."""

import numpy as np
import xarray as xr
from jaxtyping import Float64

from inoc.emergence.fit import Posterior, fit
from inoc.emergence.predictors import THRESHOLD
from inoc.emergence.processes import Cells, Settings
from inoc.errors import BadInput

QUANTILES = (0.025, 0.5, 0.975)


def forecast(
    table: xr.Dataset,
    *,
    seen: int | None = None,
    to: int | None = None,
    settings: Settings | None = None,
    posterior: Posterior = "draws",
    threshold: float = THRESHOLD,
    seed: int = 0,
) -> xr.Dataset:
    """What a process expects of every case's rate without a prefill at a checkpoint.

    Args:
        table: Cases, as `cases` gives them.
        seen: How many checkpoints are known; all where None.
        to: The update to forecast; the table's last where None.
        settings: Process and mean; the defaults of `Settings` where None.
        posterior: How uncertainty is computed.
        threshold: Of the rate.
        seed: Of the draws.

    Returns:
        By case: `rate` (median) with `lower` and `upper` (95 %), `logit` (posterior mean), `probability` that the
        rate is above the threshold, and `effective` (number of draws).

    Raises:
        BadInput: Fewer than two checkpoints after update 0 are known, or `to` is not after update 1.
    """
    checkpoint = table["checkpoint"].values
    seen = checkpoint.size if seen is None else seen
    to = int(checkpoint[-1]) if to is None else to
    used = np.flatnonzero(checkpoint[:seen] > 0)
    if used.size < 2:
        raise BadInput(
            f"{used.size} checkpoints after update 0 are known. Fix: a process needs at least two to forecast from."
        )
    if to < checkpoint[used[-1]]:
        raise BadInput(
            f"update {to} is before the last known checkpoint. Fix: forecast {checkpoint[used[-1]]} or later."
        )
    grid = np.unique([*checkpoint[checkpoint > 0], to])
    time = np.log(grid) - np.log(grid[0])
    level = table["prefill"].values
    if level[0] != 0:
        raise BadInput("the rate without a prefill is not counted. Fix: add level 0 to the prefills.")
    place = np.searchsorted(grid, checkpoint[used])
    out = np.full((6, table.sizes["case"]), np.nan)
    for k in range(table.sizes["case"]):

        def filled(name: str, empty: float, k: int = k) -> Float64[np.ndarray, " cell"]:
            values = np.full((grid.size, level.size), empty)
            values[place] = table[name].values[k, used]
            return values.reshape(-1)

        cells = Cells(
            time / time[-1],
            level / max(1, level[-1]),
            filled("successes", 0.0),
            filled("trials", 0.0),
            -filled("neg_kl", np.nan),
        )
        found = fit(cells, settings, posterior, seed)
        logit = found.logit[:, int(np.searchsorted(grid, to))]
        low, middle, high = 1 / (1 + np.exp(-_quantiles(logit, found.weight)))
        above = found.weight @ (logit > np.log(threshold / (1 - threshold)))
        out[:, k] = middle, low, high, found.weight @ logit, above, found.effective
    names = {
        "rate": "median forecast of the rate without a prefill",
        "lower": "2.5 % quantile of the rate",
        "upper": "97.5 % quantile of the rate",
        "logit": "posterior mean of the logit rate",
        "probability": f"probability that the rate is above {threshold:g}",
        "effective": "effective number of draws",
    }
    return xr.Dataset(
        {name: ("case", out[i], {"units": "1", "long_name": what}) for i, (name, what) in enumerate(names.items())},
        coords={"run": table["run"], "behavior": table["behavior"]},
        attrs={"seen": int(used.size), "to": to, "threshold": threshold},
    )


def _quantiles(values: Float64[np.ndarray, " draw"], weight: Float64[np.ndarray, " draw"]) -> Float64[np.ndarray, " q"]:
    order = np.argsort(values)
    at = np.cumsum(weight[order]) - 0.5 * weight[order]
    return np.interp(QUANTILES, at, values[order])
