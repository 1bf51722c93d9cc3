"""Scores to test with: the reference JSON as the Dataset a store gives, and small made-up ones."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

TRAITS = ("German", "Flattering")


def reference_scores(reference: Path) -> xr.Dataset:
    """scores.json of the reference data, as `Run.scores` gives it."""
    raw = json.loads((reference / "german_flattering" / "scores.json").read_text())
    steps = [0, 312, 313]
    shape = (len(raw), len(steps), 2, len(TRAITS), 200)
    score = np.full(shape, np.nan)
    for r, entry in enumerate(raw.values()):
        for s, step in enumerate(steps):
            for c, condition in enumerate(("default", "training")):
                for t, trait in enumerate(TRAITS):
                    values = entry["steps"][str(step)][condition][trait]["values"]
                    score[r, s, c, t] = [np.nan if v is None else v for v in values]
    prompts = ["" if name == "no_inoculation" else name.removesuffix("_mix") for name in raw]
    kinds = [
        "none" if name == "no_inoculation" else "mix" if name.endswith("_mix") else "fixed" for name in raw
    ]
    return dataset(score, list(raw), prompts, kinds, steps=steps, conditions=("default", "training"))


def dataset(
    score: np.ndarray,
    runs: Sequence[str],
    prompts: Sequence[str],
    kinds: Sequence[str],
    *,
    steps: Sequence[int] = (10,),
    conditions: Sequence[str] = ("default",),
    traits: Sequence[str] = TRAITS,
    seeds: Sequence[int] | None = None,
    nominal: Sequence[int] | None = None,
    judge: Mapping[tuple[str, str], str] | None = None,
) -> xr.Dataset:
    """A Dataset of scores [run, step, condition, trait, instruction] with the coordinates of a store."""
    judges = np.full((len(runs), len(traits)), "judge one", dtype=object)
    for (run, trait), name in (judge or {}).items():
        judges[list(runs).index(run), list(traits).index(trait)] = name
    return xr.Dataset(
        {
            "score": (("run", "step", "condition", "trait", "instruction"), score),
            "judge": (("run", "trait"), judges),
        },
        coords={
            "run": list(runs),
            "step": list(steps),
            "condition": list(conditions),
            "trait": list(traits),
            "instruction": [f"i{i}" for i in range(score.shape[-1])],
            "run_prompt": ("run", list(prompts)),
            "prefix_type": ("run", list(kinds)),
            "seed": ("run", list(seeds or [-1] * len(runs))),
            "nominal_step": ("run", list(nominal or [-1] * len(runs))),
        },
    )
