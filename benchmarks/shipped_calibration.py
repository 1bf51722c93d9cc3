"""Fit the calibration that comes with inoc to a published study: parameters and errors only, no texts and no rows.

    INOC_REFERENCE_DATA=... python -m benchmarks.shipped_calibration    # writes inoc/outcomes/shipped_calibration.json

One study with two traits: "left-out study" means that the rows of the other trait alone are fitted.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

import inoc.outcomes.shipped as shipped
from benchmarks.published_rows import reference, rows_of_table
from inoc.outcomes.calibration import error
from inoc.outcomes.candidates import GATE, PLAIN, Candidate
from inoc.outcomes.features import features
from inoc.outcomes.gate import Gate
from inoc.outcomes.learning import RELATIONS, related, sample_of
from inoc.outcomes.selection import Sample, fit, left_out, rms_by_prompt

SOURCE = "Llama-3.1-8B-Instruct, German wanted and Flattering leaking"
SETTINGS = "LoRA, learning rate 0.0001, 312 updates of 32"
VARIANTS = (
    (GATE, "mean_square", "pool_anchor"),
    (GATE, "mean_square", "cosine"),
    (GATE, "sigma", "pool_anchor"),
    (GATE, "sigma", "cosine"),
    (PLAIN, "mean_square", ""),
    (PLAIN, "sigma", ""),
    (("elicited",), "", ""),
)


def main() -> None:
    folder = reference()
    table = with_sigma(rows_of_table(folder / "published_table_rows.csv", folder / "rephrasings"), folder)
    gates = {relation: [gate(table, relation, *variant) for variant in VARIANTS] for relation in RELATIONS}
    used = np.isfinite(table["suppression"].values)
    texts = {prompt["text"] for prompt in json.loads((folder / "prompts.json").read_text()).values()}
    document = {
        "source": SOURCE,
        "settings": SETTINGS,
        "studies": 1,
        "prompts": int(np.unique(table["prompt"].values[used].astype(str)).size),
        "rows": int(used.sum()),
        "digests": sorted(shipped.digest(text) for text in texts),
        "gates": gates,
    }
    place = Path(shipped.__file__).with_name(shipped.FILE)
    place.write_text(json.dumps(document, indent=1) + "\n")
    for relation, found in gates.items():
        for one in found:
            told = {kind: {k: round(v["pp"], 1) for k, v in errors.items()} for kind, errors in one["error"].items()}
            print(relation, one["salience"], one["consistency"], told)


def with_sigma(table: xr.Dataset, folder: Path) -> xr.Dataset:
    """The rows with the spread of the example differences."""
    stored = json.loads((folder / "logprobs_by_example.json").read_text())
    default = np.array(stored["baseline"]["lp_train_default"], dtype=float)
    spread = np.full(table.sizes["row"], np.nan)
    for row, (prompt, kind) in enumerate(zip(table["prompt"].values, table["prefix_type"].values, strict=True)):
        values = stored["prompts"].get(str(prompt), {}).get("lp_train_mix" if kind == "mix" else "lp_train_inoc")
        if values is not None:
            w = np.array(values, dtype=float) - default
            spread[row] = w[np.isfinite(w)].std(ddof=1)
    names = [*table["heuristic"].values.tolist(), "sigma"]
    values = np.vstack([table["heuristic_value"].values, spread])
    return (
        table.drop_dims("heuristic")
        .assign(heuristic_value=(("heuristic", "row"), values))
        .assign_coords(heuristic=names)
    )


def gate(table: xr.Dataset, relation: str, reads: Sequence[str], salience: str, consistency: str) -> dict[str, object]:
    """One gate fitted to all rows of a relation, with its errors on what was left out."""
    hidden = {"mean_square", "pool_anchor", "cosine"} - {salience, consistency}
    if salience == "sigma":
        hidden.add("mean_square")
    seen = table.sel(heuristic=[name for name in table["heuristic"].values if name not in hidden])
    read = features(seen)
    assert (read.salience, read.consistency) == (salience, consistency) or reads == ("elicited",)
    sample = sample_of(seen, read.names, read.values[0], relation)
    kept = related(seen, relation) & (seen["control"].values >= 5)
    sample = replace(sample, store=seen["trait"].values[kept].astype(str))
    candidate = Candidate("gate", (*reads, "cell"), Gate, pooled=True)
    fitted = fit(candidate, sample)
    estimator = next(iter(fitted.parts.values()))
    assert isinstance(estimator, Gate)
    kinds = ("fixed", "mix")
    ranges = {kind: columns(sample, reads, kind) for kind in kinds}
    cells = {kind: estimator.cells_[float(sample.take(sample.kind == kind).columns(("cell",))[0, 0])] for kind in kinds}
    return {
        "reads": list(reads),
        "salience": salience,
        "consistency": consistency,
        "mean": rounded(estimator.coef_),
        "covariance": [rounded(row) for row in estimator.covariance_],
        "cell": {kind: round(value, 6) for kind, value in cells.items()},
        "low": {kind: rounded(x.min(axis=0)) for kind, x in ranges.items()},
        "high": {kind: rounded(x.max(axis=0)) for kind, x in ranges.items()},
        "error": {kind: errors(candidate, sample, kind) for kind in kinds},
    }


def columns(sample: Sample, reads: Sequence[str], kind: str) -> np.ndarray:
    x = sample.take(sample.kind == kind).columns(reads)
    return x[np.isfinite(x).all(axis=1)]


def errors(candidate: Candidate, sample: Sample, kind: str) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for name, grouping in (("prompt", "prompt"), ("family", "family"), ("study", "store")):
        predicted = left_out(candidate, sample, sample.groups(grouping))
        here = sample.kind == kind
        residuals = rms_by_prompt(sample.take(here), predicted[here])
        found[name] = {
            "pp": round(error((predicted * sample.control)[here], (sample.share * sample.control)[here]), 2),
            "share": round(float(np.sqrt(np.mean(residuals**2))), 4),
            "prompts": residuals.size,
        }
    return found


def rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 6) for value in values]


if __name__ == "__main__":
    main()
