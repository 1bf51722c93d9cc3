"""The records and the readable table of `inoc emergence`."""

from collections.abc import Mapping
from typing import TypedDict

import numpy as np
import xarray as xr

Number = float | None


class AucRow(TypedDict):
    """One predictor, by checkpoints seen."""

    predictor: str
    auc: list[Number]
    lower: list[Number]
    upper: list[Number]


class Row(TypedDict):
    """One behavior of one run at its last known checkpoint; log rates in nats, rates 0-1, None = not known."""

    run: str
    behavior: str
    checkpoint: int
    successes: int
    trials: int
    estimates: dict[str, dict[str, list[Number]]]
    bound: dict[str, Number]
    forecast: dict[str, Number]


def _plain(value: object) -> Number:
    number = float(np.asarray(value))
    return number if np.isfinite(number) else None


def records(known: xr.Dataset, estimates: Mapping[str, xr.Dataset], ahead: xr.Dataset) -> list[Row]:
    """Every behavior with what was counted, estimated (by prefill level) and forecast."""
    rows: list[Row] = []
    for k in range(known.sizes["case"]):
        run, behavior = str(known["run"].values[k]), str(known["behavior"].values[k])
        last = known.isel(case=k, checkpoint=-1)
        found = estimates[run].sel(behavior=behavior).isel(checkpoint=-1)
        rows.append(
            {
                "run": run,
                "behavior": behavior,
                "checkpoint": int(last["checkpoint"]),
                "successes": int(last["successes"].values[0]),
                "trials": int(last["trials"].values[0]),
                "estimates": {
                    str(name): {
                        part: [_plain(v) for v in found.sel(estimator=name)[part].values]
                        for part in ("log_rate", "lower", "upper", "effective")
                    }
                    for name in found["estimator"].values
                },
                "bound": {
                    part: _plain(found[name])
                    for part, name in (("log_rate", "bound"), ("lower", "bound_lower"), ("level", "bound_level"))
                },
                "forecast": {str(name): _plain(ahead[name].values[k]) for name in ahead.data_vars},
            }
        )
    return rows


def auc_lines(table: xr.Dataset | None) -> list[AucRow]:
    """Every predictor's AUC with its bounds, by checkpoints seen."""
    if table is None:
        return []
    return [
        {
            "predictor": str(name),
            "auc": [_plain(v) for v in table["auc"].values[i]],
            "lower": [_plain(v) for v in table["lower"].values[i]],
            "upper": [_plain(v) for v in table["upper"].values[i]],
        }
        for i, name in enumerate(table["predictor"].values)
    ]


def text_table(rows: list[Row], ahead: xr.Dataset) -> str:
    """A line for each behavior: counted, the best bound, the forecast."""
    lines = [
        f"rate without a prefill; forecast of update {ahead.attrs['to']} from {ahead.attrs['seen']} checkpoints, "
        f"with the probability that it is above {ahead.attrs['threshold']:g}; lower bounds hold with 97.5 %"
    ]
    for row in rows:
        bound, found = row["bound"], row["forecast"]
        low = "no bound"
        if bound["lower"] is not None and bound["level"] is not None:
            low = f"at least {_percent(float(np.exp(bound['lower'])))} (level {bound['level']:.0f})"
        at = row["checkpoint"]
        lines.append(
            f"  {row['run']} {row['behavior']}: {row['successes']} of {row['trials']} at update {at}; {low}; "
            f"forecast {_percent(found['rate'])} [{_percent(found['lower'])}, {_percent(found['upper'])}], "
            f"P(emerges) {found['probability'] or 0:.2f}"
        )
    return "\n".join(lines)


def _percent(rate: Number) -> str:
    return "-" if rate is None else f"{100 * rate:.2g} %"
