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
    """Mean score of the control, by trait; 100 minus it for a trait whose score is better at the other end."""
    effects: list[str]
    """What control minus run is, by trait: "suppression" of a leak, "loss" of what is wanted."""
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
        return Outcomes([], [], [], [], [], [], str(error))
    means = suppressed["control"].mean("run").values
    return Outcomes(
        [str(t) for t in suppressed["trait"].values],
        _rows(suppressed, "run", "run_prompt"),
        _rows(gaps, "prompt", "prompt"),
        [_rounded(float(mean)) for mean in means],
        [str(effect) for effect in suppressed["effect"].values],
        list(dict.fromkeys([*suppressed.attrs["left_out"], *gaps.attrs["left_out"]])),
        "",
    )


def _rows(table: "xr.Dataset", dim: str, prompt: str) -> list[OutcomeRow]:
    found: list[OutcomeRow] = []
    for i in range(table.sizes[dim]):
        part = table.isel({dim: i})
        kind = str(part["prefix_type"].values) if "prefix_type" in part.coords else ""
        step = int(part["step"].values) if "step" in part.coords else None
        estimates = [_estimate(part.isel(trait=t)) for t in range(table.sizes["trait"])]
        labels = str(part[prompt].values), kind, int(part["seed"].values), step, str(part["flags"].values)
        found.append(OutcomeRow(*labels, estimates))
    return found


def _estimate(cell: "xr.Dataset") -> Estimate | None:
    mean, low, high = (_rounded(float(cell[name].values)) for name in ("mean", "lower", "upper"))
    return None if mean is None else Estimate(mean, low, high, int(cell["n"].values))


def _rounded(value: float) -> float | None:
    return round(value, 3) if np.isfinite(value) else None


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
