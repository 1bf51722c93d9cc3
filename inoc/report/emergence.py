"""What the page says about rare behaviors: counts without a prefill, the lower bound, the forecast."""

from dataclasses import dataclass

import numpy as np

from inoc.errors import BadInput
from inoc.store.store import Store


@dataclass(frozen=True)
class EmergenceRow:
    """One behavior of one run, as texts."""

    run: str
    behavior: str
    counted: str
    bound: str
    forecast: str
    probability: str


@dataclass(frozen=True)
class EmergenceRows:
    """The rows of all behaviors, or the reason why there is no forecast; both empty without prefill counts."""

    rows: list[EmergenceRow]
    absent: str


def emergence_rows(store: Store) -> EmergenceRows:
    """Every behavior at the last checkpoint of its run, forecast to twice its updates."""
    if not store.emergence:
        return EmergenceRows([], "")
    from inoc.emergence import cases, estimate, forecast

    try:
        table = cases(store.emergence)
        ahead = forecast(table, to=2 * int(table["checkpoint"].values[-1]))
    except BadInput as error:
        return EmergenceRows([], str(error))
    bounds = {name: estimate(counts).isel(checkpoint=-1) for name, counts in store.emergence.items()}
    rows: list[EmergenceRow] = []
    for k in range(table.sizes["case"]):
        run, behavior = str(table["run"].values[k]), str(table["behavior"].values[k])
        last, found = table.isel(case=k, checkpoint=-1, prefill=0), ahead.isel(case=k)
        bound = bounds[run].sel(behavior=behavior)
        lower = float(bound["bound_lower"])
        rate, low, high = (f"{100 * float(found[name]):.2g} %" for name in ("rate", "lower", "upper"))
        level = float(bound["bound_level"])
        rows.append(
            EmergenceRow(
                run,
                behavior,
                f"{int(last['successes'])} of {int(last['trials'])} at update {int(last['checkpoint'])}",
                f"{100 * np.exp(lower):.2g} % (level {level:.0f})" if np.isfinite(lower) else "none",
                f"{rate} [{low}, {high}] at update {ahead.attrs['to']}",
                f"{float(found['probability']):.2f}",
            )
        )
    return EmergenceRows(rows, "")
