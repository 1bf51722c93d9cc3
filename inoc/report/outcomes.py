"""What training did, as plain rows for the page: suppression of every run, gap of every prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inoc.errors import BadInput, BrokenStore, IncompleteStore
from inoc.store.store import Store

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval (None where there is none), in percentage points, and the pairs behind it."""

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class OutcomeRow:
    """One run (suppression) or one prompt (gap; prefix type ""); `estimates` by trait, None where missing."""

    prompt: str
    prefix_type: str
    seed: int
    step: int | None
    flag: str
    estimates: list[Estimate | None]


@dataclass(frozen=True)
class Outcomes:
    """Everything the page says about training runs; `absent` is the reason where they say nothing."""

    traits: list[str]
    suppression: list[OutcomeRow]
    gap: list[OutcomeRow]
    control: list[float | None]
    """Mean score of the control, by trait."""
    left_out: list[str]
    absent: str


def outcomes(store: Store) -> Outcomes:
    """Suppression and gap of a store; of a store without runs, or whose scores cannot be compared, the reason.

    Raises:
        BrokenStore: The store is damaged.
    """
    from inoc.outcomes import gap, suppression

    try:
        suppressed, gaps = suppression(store), gap(store)
    except BrokenStore:
        raise
    except (IncompleteStore, BadInput) as error:
        return Outcomes([], [], [], [], [], str(error))
    control = [_mean(suppressed["control"].values[:, t]) for t in range(suppressed.sizes["trait"])]
    return Outcomes(
        [str(t) for t in suppressed["trait"].values],
        _rows(suppressed, "run", "run_prompt"),
        _rows(gaps, "prompt", "prompt"),
        control,
        list(dict.fromkeys([*suppressed.attrs["left_out"], *gaps.attrs["left_out"]])),
        "",
    )


def _rows(table: "xr.Dataset", dim: str, prompt: str) -> list[OutcomeRow]:
    found: list[OutcomeRow] = []
    for i in range(table.sizes[dim]):
        part = table.isel({dim: i})
        estimates = [_estimate(part.isel(trait=t)) for t in range(table.sizes["trait"])]
        found.append(
            OutcomeRow(
                str(part[prompt].values),
                str(part["prefix_type"].values) if "prefix_type" in part.coords else "",
                int(part["seed"].values),
                int(part["step"].values) if "step" in part.coords else None,
                str(part["flags"].values),
                estimates,
            )
        )
    return found


def _estimate(cell: "xr.Dataset") -> Estimate | None:
    mean, low, high = (float(cell[name].values) for name in ("mean", "lower", "upper"))
    if not np.isfinite(mean):
        return None
    known = np.isfinite(low) and np.isfinite(high)
    return Estimate(
        round(mean, 3),
        round(low, 3) if known else None,
        round(high, 3) if known else None,
        int(cell["n"].values),
    )


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return round(float(known.mean()), 3) if known.size else None


def over_seeds(rows: Sequence[OutcomeRow], trait: int) -> dict[tuple[str, str], Estimate]:
    """(prompt, prefix type) -> the estimate; the mean over seeds, without interval, where there are several."""
    cells: dict[tuple[str, str], list[Estimate]] = {}
    for row in rows:
        if (estimate := row.estimates[trait]) is not None:
            cells.setdefault((row.prompt, row.prefix_type), []).append(estimate)
    return {
        cell: found[0]
        if len(found) == 1
        else Estimate(sum(e.mean for e in found) / len(found), None, None, sum(e.n for e in found))
        for cell, found in cells.items()
    }
