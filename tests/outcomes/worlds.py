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
    kinds = ["none" if name == "no_inoculation" else "mix" if name.endswith("_mix") else "fixed" for name in raw]
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
    """A Dataset of scores [run, step, condition, trait, question] with the coordinates of a store."""
    judges = np.full((len(runs), len(traits)), "judge one", dtype=object)
    for (run, trait), name in (judge or {}).items():
        judges[list(runs).index(run), list(traits).index(trait)] = name
    return xr.Dataset(
        {"score": (("run", "step", "condition", "trait", "question"), score), "judge": (("run", "trait"), judges)},
        coords={
            "run": list(runs),
            "step": list(steps),
            "condition": list(conditions),
            "trait": list(traits),
            "question": [f"i{i}" for i in range(score.shape[-1])],
            "run_prompt": ("run", list(prompts)),
            "prefix_type": ("run", list(kinds)),
            "seed": ("run", list(seeds or [-1] * len(runs))),
            "nominal_step": ("run", list(nominal or [-1] * len(runs))),
        },
    )


def published_rows(reference: Path) -> xr.Dataset:
    """The published table as tidy rows, its columns under the names its heuristics are published by."""
    import pandas as pd

    table = pd.read_csv(reference / "german_flattering" / "published_table_rows.csv")
    mix = (table.prefix_type == "mix").to_numpy()
    positive = (table.trait_role == "positive").to_numpy()
    own = {
        "H1": "elicitation",
        "H2": "ph_combined",
        "H3": "pc1_trait_svd",
        "H4": "pc1_trait_tok_svd",
        "H5": "emb_dist_from_neutral",
        "H6": "emb_rephrase_std_cos",
        "HB1": "hb1_pc1_var_frac",
        "HB2": "hb2_sim_loss_decay",
        "HB3": "hb3_persistent_loss_frac",
        "HB4": "hb4_strength_x_coherence",
        "HB5": "hb5_effective_rank",
        "HB6": "hb6_sim_residual",
    }
    by_prefix = {
        "H11": "h11_mean_abs_diff",
        "H13": "h13_mean_sq_diff",
        "H14": "h14_mean_signed_tok_diff",
        "HA2": "ha2_filter",
        "HA3": "ha3_topk",
        "HA4": "ha4_grad_mag",
        "HA5": "ha5_filter_grad",
    }
    values = {name: table[column].to_numpy(float) for name, column in own.items()}
    for name, column in by_prefix.items():
        values[name] = np.where(mix, table[f"{column}_mix"], table[column]).astype(float)
    z = {name: (values[name] - np.nanmean(values[name])) / np.nanstd(values[name], ddof=1) for name in values}
    values["H7"] = z["H1"] + z["H4"] + z["H5"] - np.where(mix, z["H6"], 0.0)
    values["H9a"] = np.where(positive, table.emb_cos_to_neg_trait, table.emb_cos_to_pos_trait).astype(float)
    values["H9b"] = np.where(positive, -1, 1) * table.sv2_truncated_fixed.to_numpy(float)
    values["H10"] = np.where(positive, -1, 1) * table.pc2_tokens_oriented.to_numpy(float)

    key = ["prompt_key", "prefix_type", "trait_name"]
    held = table.set_index(key).suppression
    control = table.set_index(key).no_inoc_score
    other = dict(zip(TRAITS, TRAITS[::-1], strict=True))
    swapped = [(p, k, other[t]) for p, k, t in table[key].itertuples(index=False)]
    pairs = list(zip(table.prompt_key, table.trait_name, strict=True))
    gap = [held[p, "fixed", t] - held[p, "mix", t] for p, t in pairs]
    family = table.prompt_family.to_numpy()
    return xr.Dataset(
        {
            "suppression": ("row", table.suppression.to_numpy(float)),
            "cross": ("row", held.loc[swapped].to_numpy(float)),
            "gap": ("row", np.array(gap, dtype=float)),
            "control": ("row", table.no_inoc_score.to_numpy(float)),
            "cross_control": ("row", control.loc[swapped].to_numpy(float)),
            "heuristic_value": (("heuristic", "row"), np.array(list(values.values()))),
        },
        coords={
            "experiment": ("row", table.experiment.to_numpy(object)),
            "prompt": ("row", table.prompt_key.to_numpy(object)),
            "family": ("row", family.astype(object)),
            "trait": ("row", table.trait_name.to_numpy(object)),
            "prefix_type": ("row", table.prefix_type.to_numpy(object)),
            "on_target": ("row", (family == "neutral") | (family == table.trait_name.str.lower().to_numpy())),
            "heuristic": list(values),
        },
    )


def simulated_rows(rng: np.random.Generator, prompts: int, experiment: str = "sim", noise: float = 0.1) -> xr.Dataset:
    """Tidy rows of a made-up study: the share a prompt takes away rises with its ph; elicitation is a noisy ph."""
    families = np.array(["german", "flattering", "neutral"])[np.arange(prompts) % 3]
    strength = np.where(families == "neutral", 0.1, 1.0) * rng.random(prompts)
    control = {"German": 90.0, "Flattering": 45.0}
    asks = {"german": "German", "flattering": "Flattering"}
    cells = [(p, kind, t) for p in range(prompts) for kind in ("fixed", "mix") for t in TRAITS]
    on_target = np.array([asks.get(families[p], t) == t for p, _, t in cells])
    share = np.array([strength[p] * (1.0 if kind == "fixed" else 0.7) for p, kind, _ in cells])
    own = rng.normal(0, noise, prompts)
    share = np.where(on_target, share + own[[p for p, _, _ in cells]], 0.1 * share)
    level = np.array([control[t] for _, _, t in cells])
    ph = np.array([strength[p] for p, _, _ in cells])
    elicitation = ph * 60 + np.repeat(rng.normal(0, 20, prompts), 4)
    held = np.clip(share * level, level - 100.0, level)  # no run scores below 0 or above 100
    return xr.Dataset(
        {
            "suppression": ("row", held),
            "cross": ("row", held),
            "gap": ("row", held),
            "control": ("row", level),
            "cross_control": ("row", level),
            "heuristic_value": (("heuristic", "row"), np.array([elicitation, ph])),
        },
        coords={
            "experiment": ("row", np.full(len(cells), experiment, dtype=object)),
            "prompt": ("row", np.array([f"p{p}" for p, _, _ in cells], dtype=object)),
            "family": ("row", np.array([families[p] for p, _, _ in cells], dtype=object)),
            "trait": ("row", np.array([t for _, _, t in cells], dtype=object)),
            "prefix_type": ("row", np.array([k for _, k, _ in cells], dtype=object)),
            "on_target": ("row", on_target),
            "heuristic": ["elicitation", "ph"],
        },
    )
