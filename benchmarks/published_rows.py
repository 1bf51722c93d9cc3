"""The published table as tidy rows, with inoc's names of what the predictors read. Needs the reference data."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from inoc.heuristics.maths.experimental import lexical_anchor


def reference() -> Path:
    """The folder of the reference data."""
    return Path(os.environ["INOC_REFERENCE_DATA"]) / "german_flattering"


def rows_of_table(path: Path, pools: Path | None = None) -> xr.Dataset:
    """A pooled results table as rows.

    Args:
        path: CSV: a row per experiment, prompt, prefix type and trait.
        pools: Folder of `<prompt key>.jsonl`, for the lexical anchor of the pools.
    """
    table = pd.read_csv(path)
    table = table[table.suppression.notna()].reset_index(drop=True)
    mix = (table.prefix_type == "mix").to_numpy()
    own = np.where(mix, table.h13_mean_sq_diff_mix, table.h13_mean_sq_diff)
    anchors = {key: anchor(pools / f"{key}.jsonl") if pools else np.nan for key in set(table.prompt_key)}
    values = {
        "elicitation": table.elicitation.to_numpy(float),
        "ph": np.where(mix, table.ph_mix_all, table.ph_combined).astype(float),
        "mean_square": own.astype(float),
        "pool_anchor": table.prompt_key.map(anchors).to_numpy(float),
        "cosine": table.w_cos.to_numpy(float),
    }
    family = table.prompt_family.to_numpy(object)
    return xr.Dataset(
        {
            "suppression": ("row", table.suppression.to_numpy(float)),
            "control": ("row", table.no_inoc_score.to_numpy(float)),
            "heuristic_value": (("heuristic", "row"), np.array(list(values.values()))),
        },
        coords={
            "experiment": ("row", table.experiment.to_numpy(object)),
            "prompt": ("row", table.prompt_key.to_numpy(object)),
            "family": ("row", family),
            "trait": ("row", table.trait_name.to_numpy(object)),
            "prefix_type": ("row", table.prefix_type.to_numpy(object)),
            "on_target": ("row", (family == "neutral") | (family == table.trait_name.str.lower().to_numpy())),
            "heuristic": list(values),
        },
    )


def anchor(path: Path) -> float:
    """`lexical_anchor` of a pool in a file; NaN without the file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return lexical_anchor([json.loads(line)["rephrasing"] for line in lines])
