"""The figures of docs/predict.md: errors on what was left out, and how often 95 % intervals hold the truth.

python -m benchmarks.prediction_coverage                        # simulated studies: no data needed
INOC_REFERENCE_DATA=... python -m benchmarks.prediction_coverage --published
"""

import argparse

import numpy as np
import xarray as xr

from benchmarks.published_rows import reference, rows_of_table
from inoc.intervals import prediction_interval
from inoc.outcomes.calibration import error
from inoc.outcomes.candidates import candidates
from inoc.outcomes.features import features
from inoc.outcomes.learning import FEWEST, Model, learn, sample_of
from inoc.outcomes.planning import choose_runs
from inoc.outcomes.prediction import predict_of
from inoc.outcomes.selection import Sample, fit, left_out, nested_predictions

TRAITS = {"Wanted": 90.0, "Leak": 45.0}
GROUPINGS = ("prompt", "family", "store")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--published", action="store_true", help="errors on the published table instead")
    parser.add_argument("--repeats", type=int, default=20, help="simulated studies per size")
    given = parser.parse_args()
    if given.published:
        published()
    else:
        for trained in (5, 8, 20, 40):
            simulated(trained, given.repeats)


def simulated(trained: int, repeats: int) -> None:
    """Studies of so many trained prompts and six new ones, of known and of new families."""
    for name, new_family in (("known families", False), ("a new family", True)):
        hits: list[bool] = []
        for seed in range(repeats):
            rows = study(np.random.default_rng(seed), trained + 6)
            number = np.array([int(p[1:]) for p in rows["prompt"].values])
            old = rows.isel(row=number < trained)
            if new_family:
                old = old.isel(row=old["family"].values != "leak")
            if np.unique(old["prompt"].values.astype(str)).size < FEWEST:
                continue
            new = rows.isel(row=(number >= trained) & ((rows["family"].values == "leak") | (not new_family)))
            found = predict_of(old, new.drop_vars(["suppression", "control"]))
            for row in np.flatnonzero(new["on_target"].values):
                label = {n: str(new[n].values[row]) for n in ("prompt", "prefix_type", "trait")}
                cell = found.sel(label)
                if np.isfinite(cell["lower"]):
                    truth = float(new["suppression"].values[row])
                    hits.append(bool(cell["lower"] - 1e-9 <= truth <= cell["upper"] + 1e-9))
        print(
            f"simulated, {trained} prompts, {name}: {len(hits)} new rows, {100 * np.mean(hits or [np.nan]):.1f} % held"
        )


def study(rng: np.random.Generator, prompts: int) -> xr.Dataset:
    """A made-up study of two traits: shares follow ph, salience and rewording, with noise that prompts share."""
    family = np.array(["wanted", "leak", "neutral"])[np.arange(prompts) % 3]
    strength = np.where(family == "neutral", 0.05, 1.0) * rng.random(prompts)
    alike = rng.uniform(0.3, 1.0, prompts)
    own = rng.normal(0, 0.12, prompts)
    cells = [(p, kind, trait) for p in range(prompts) for kind in ("fixed", "mix") for trait in TRAITS]
    place = np.array([p for p, _, _ in cells])
    mix = np.array([kind == "mix" for _, kind, _ in cells])
    on = np.array([family[p] in ("neutral", trait.lower()) for p, _, trait in cells])
    share = np.where(on, strength[place] * np.where(mix, alike[place], 1.0) + own[place], 0.05)
    level = np.array([TRAITS[trait] for _, _, trait in cells])
    ph = 0.15 * strength[place] + rng.normal(0, 0.01, len(cells))
    heuristics = {
        "elicitation": 60 * strength[place] + rng.normal(0, 15, prompts)[place],
        "ph": ph,
        "mean_square": 0.1 + strength[place] * np.exp(rng.normal(0, 0.3, len(cells))),
        "pool_anchor": alike[place],
    }
    labels = {
        "experiment": np.full(len(cells), "made up", dtype=object),
        "prompt": np.array([f"p{p}" for p, _, _ in cells], dtype=object),
        "family": family[place].astype(object),
        "trait": np.array([trait for _, _, trait in cells], dtype=object),
        "prefix_type": np.array([kind for _, kind, _ in cells], dtype=object),
    }
    return xr.Dataset(
        {
            "suppression": ("row", np.clip(share * level, level - 100, level)),
            "control": ("row", level),
            "heuristic_value": (("heuristic", "row"), np.array(list(heuristics.values()))),
        },
        coords={
            **{name: ("row", values) for name, values in labels.items()},
            "on_target": ("row", on),
            "heuristic": list(heuristics),
        },
    )


def published() -> None:
    """Errors and coverage on the published study: prompts, families, and one of its two traits left out."""
    folder = reference()
    table = rows_of_table(folder / "published_table_rows.csv", folder / "rephrasings")
    table = table.assign_coords(experiment=("row", table["trait"].values))
    read = features(table)
    sample = sample_of(table, read.names, read.values[0], "on_target")
    kept = np.isfinite(sample.columns(("elicitation", "direction", "salience"))).all(axis=1)
    sample = sample.take(kept)
    tried = candidates(read.consistency)
    print(f"published, {sample.prompts} prompts, {sample.share.size} rows; RMSE in pp, fixed / mix")
    for candidate in tried:
        told = [both(sample, left_out(candidate, sample, sample.groups(g))) for g in GROUPINGS]
        print(f"  {candidate.name:38s} prompt {told[0]}, family {told[1]}, trait {told[2]}")
    model = learn(sample, tried)
    assert model is not None
    told = [both(sample, model.left_out[g]) for g in GROUPINGS]
    print(f"  {'nested choice':38s} prompt {told[0]}, family {told[1]}, trait {told[2]}")
    for grouping in GROUPINGS:
        print(f"  95 % intervals on a left-out {grouping}: {held(sample, model, grouping):.1f} % held")
    named_against_random(sample)


def both(sample: Sample, predicted: np.ndarray) -> str:
    parts = [
        error((predicted * sample.control)[sample.kind == kind], (sample.share * sample.control)[sample.kind == kind])
        for kind in ("fixed", "mix")
    ]
    return f"{parts[0]:.1f} / {parts[1]:.1f}"


def held(sample: Sample, model: Model, grouping: str) -> float:
    """Share of left-out rows inside intervals whose width comes from the other groups alone."""
    hits: list[bool] = []
    for label in np.unique(sample.groups(grouping)):
        inside = sample.groups(grouping) == label
        rest = sample.take(~inside)
        inner = nested_predictions(rest, grouping, candidates("pool_anchor"))
        if not np.isfinite(inner).any():
            inner = nested_predictions(rest, "family", candidates("pool_anchor"))
        other = Model(rest, (), {grouping: inner})
        for row in np.flatnonzero(inside):
            center, kind = float(model.left_out[grouping][row]), str(sample.kind[row])
            found = prediction_interval(center, other.residuals(grouping, kind))
            level = float(sample.control[row])
            low, high = (np.clip(v * level, level - 100, level) for v in (found.lower, found.upper))
            truth = float(sample.share[row]) * level
            if np.isfinite(low):
                hits.append(bool(low - 1e-9 <= truth <= high + 1e-9))
    return 100 * float(np.mean(hits))


def named_against_random(sample: Sample, repeats: int = 100) -> None:
    """Error on the rows not trained after K runs: those that `--train` names, against K drawn at random."""
    gate = candidates("pool_anchor")[0]
    x = sample.columns(gate.reads)
    runs = np.unique([f"{p}\t{k}" for p, k in zip(sample.prompt, sample.kind, strict=True)], return_inverse=True)[1]
    neutral = (sample.family == "neutral") & (sample.kind == "fixed")
    rng = np.random.default_rng(0)
    for k in (4, 8, 12):
        chosen = choose_runs(x[:0], sample.share[:0], x, runs, k, first=neutral)
        drawn = [rng.choice(runs.max() + 1, k, replace=False) for _ in range(repeats)]
        errors = [after(sample, gate, np.isin(runs, picked)) for picked in (chosen, *drawn)]
        low, middle, high = np.nanquantile(errors[1:], [0.1, 0.5, 0.9])
        print(f"  {k} runs: {errors[0]:.1f} pp as named, at random {middle:.1f} pp (80 %: {low:.1f} to {high:.1f})")


def after(sample: Sample, gate: object, trained: np.ndarray) -> float:
    predicted = fit(gate, sample.take(trained)).predict(sample.take(~trained))
    rest = sample.take(~trained)
    return error(predicted * rest.control, rest.share * rest.control)


if __name__ == "__main__":
    main()
