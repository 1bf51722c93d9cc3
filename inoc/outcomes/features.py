"""What predictors read of a row, by name: heuristics, and a few columns made of them.

| column | meaning |
|---|---|
| `direction` | tanh(`ph` / 0.1): does the prompt make the training answers likelier |
| `salience` | ln of the mean square of token differences, else of example differences |
| `relevant` | 0 for a neutral prompt, else 1 |
| `consistency` | 1 for fixed; for mix how alike the rephrasings are (the first known of `CONSISTENCY`) |
| `relevant_consistency` | their product |
| `elicited` | tanh(`elicitation` / 30 pp) |
| `cell` | the number of store x prefix type |
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float64

Column = Float64[np.ndarray, " row"]
CONSISTENCY = ("pool_anchor", "cosine")
"""How alike a pool of rephrasings is: its lexical anchor, else the cosine of fixed and mix differences."""
SALIENCE = ("mean_square", "sigma")
"""Heuristics that `salience` is made of: of tokens, else of examples (mean of w squared = ph^2 + sigma^2)."""
NEUTRAL = "neutral"
KNOWN = 0.75
"""Share of the rows that a heuristic must cover to be preferred as a source of a column."""


@dataclass(frozen=True)
class Features:
    """Columns by name, one matrix per table (NaN where unknown), and the heuristics that salience and consistency are:
    "" for none, and then consistency is 1 for every row."""

    names: tuple[str, ...]
    values: tuple[Float64[np.ndarray, "_ feature"], ...]
    salience: str
    consistency: str


def features(*tables: xr.Dataset) -> Features:
    """The features of tidy rows, of `rows` or `candidate_rows`; several tables get the same columns and sources."""
    names = list(dict.fromkeys(name for table in tables for name in table["heuristic"].values.astype(str).tolist()))
    mixed = [table["prefix_type"].values.astype(str) == "mix" for table in tables]
    salience = _source(tables, SALIENCE, ("fixed", "mix"))
    consistency = _source(tables, CONSISTENCY, ("mix",))
    labels = [_cells(table) for table in tables]
    numbers = {label: float(i) for i, label in enumerate(sorted({cell for cells in labels for cell in cells}))}
    made: list[Float64[np.ndarray, "row feature"]] = []
    derived: dict[str, Column] = {}
    for table, mix, cells in zip(tables, mixed, labels, strict=True):
        ph = heuristic(table, "ph")
        square = heuristic(table, "mean_square")
        if salience == "sigma":
            square = ph**2 + heuristic(table, "sigma") ** 2
        relevant = (table["family"].values.astype(str) != NEUTRAL).astype(np.float64)
        alike = np.where(mix, heuristic(table, consistency), 1.0) if consistency else np.ones(mix.size)
        derived = {
            "direction": np.tanh(ph / 0.1),
            "salience": np.log(np.where(square > 0, square, np.nan)),
            "relevant": relevant,
            "consistency": alike,
            "relevant_consistency": relevant * alike,
            "elicited": np.tanh(heuristic(table, "elicitation") / 30),
            "cell": np.array([numbers[cell] for cell in cells], dtype=np.float64),
        }
        own = table["heuristic_value"].reindex(heuristic=names).values.astype(np.float64)
        made.append(np.column_stack([own.T, *derived.values()]))
    return Features((*names, *derived), tuple(made), salience, consistency)


def heuristic(table: xr.Dataset, name: str) -> Column:
    """A heuristic by row; NaN where the table lacks it."""
    names = table["heuristic"].values.astype(str).tolist()
    if name not in names:
        return np.full(table.sizes["row"], np.nan)
    return table["heuristic_value"].values[names.index(name)].astype(np.float64)


def _source(tables: Sequence[xr.Dataset], among: Sequence[str], kinds: Sequence[str]) -> str:
    """The first heuristic that is known nearly everywhere, else the one known for most rows, "" for none."""
    known = {name: min(_known(table, name, kinds) for table in tables) for name in among}
    nearly = [name for name in among if known[name] >= KNOWN]
    best = nearly[0] if nearly else max(among, key=lambda name: known[name])
    return best if known[best] else ""


def _known(table: xr.Dataset, name: str, kinds: Sequence[str]) -> float:
    """The share of the rows of some prefix types that have a heuristic; 1 without such rows."""
    here = np.isin(table["prefix_type"].values.astype(str), list(kinds))
    return float(np.isfinite(heuristic(table, name)[here]).mean()) if here.any() else 1.0


def _cells(table: xr.Dataset) -> list[str]:
    columns = (table[name].values.astype(str).tolist() for name in ("experiment", "prefix_type"))
    return ["\t".join(pair) for pair in zip(*columns, strict=True)]
