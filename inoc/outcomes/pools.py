"""How alike the rephrasings of a pool are, by their words."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

STEM = 5
"""Letters of a word that count: its stem, roughly."""
STOP = frozenset(
    re.findall(
        r"\w+",
        """a an the and or but if of to in on at for with is are am was were be been being it its this that these those
        i me my we our you your he she they them their as by from so do does did not no nor have has had will would can
        could should may might must just very really quite all any some what which who whom how when where why than then
        there here about into over under again more most such only own same too s t don now""",
    )
)
"""Words that say nothing of what a prompt is about."""


def lexical_anchor(pool: Sequence[str]) -> float:
    """The share of rephrasings that hold the most frequent content stem, 0-1; NaN for an empty pool."""
    if not pool:
        return np.nan
    stems = [{w[:STEM] for w in re.findall(r"[^\W\d_]+", text.lower()) if w not in STOP} for text in pool]
    count = Counter(stem for each in stems for stem in each)
    return max(count.values(), default=0) / len(pool)


def with_anchors(heuristics: xr.Dataset, pools: Mapping[str, Sequence[str]]) -> xr.Dataset:
    """Heuristics of a store with the variable `pool_anchor` (prompt), where it has pools.

    Args:
        heuristics: What `inoc.heuristics.compute` returns.
        pools: Prompt key -> rephrasings.
    """
    if not pools or "pool_anchor" in heuristics:
        return heuristics
    keys = heuristics["prompt"].values.astype(str).tolist()
    anchors = np.array([lexical_anchor(pools.get(key, ())) for key in keys], dtype=np.float64)
    return heuristics.assign(pool_anchor=("prompt", anchors, {"units": "1", "long_name": "lexical anchor of the pool"}))
