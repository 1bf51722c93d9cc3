"""How well each feature predicts what training did: errors on what was left out, from benchmarks/prediction_rows.csv.

    python -m benchmarks.prediction_errors      # writes prediction_errors.csv and docs/images/prediction_errors.png

A cell is a base model, learning rate, training seed and trait. Every candidate predicts the share of the control's
score that a prompt takes away; errors are root mean squares in points of the score. Splits: each prompt, each family,
each base model left out. Intervals of the difference to elicitation alone: prompts drawn again, 2000 times.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Shaped

from benchmarks.prediction import FEATURES, ROWS
from inoc.intervals import prediction_interval
from inoc.outcomes.candidates import MEAN, Candidate
from inoc.outcomes.estimators import Monotone, StandardRidge
from inoc.outcomes.gate import Gate
from inoc.outcomes.selection import Sample, left_out, nested_predictions, rms_by_prompt

TABLE = ROWS.with_name("prediction_errors.csv")
FIGURE = ROWS.parents[1] / "docs" / "images" / "prediction_errors.png"
BASELINE = "elicitation"
RELATIONS = ("own", "all")
SPLITS = ("prompt", "family", "base")
CELL = ["base", "rate", "seed", "trait"]
WIDE = ("elicitation", "mean_abs", "gradient_cosine", "gradient_influence")
GATE = ("direction", "salience", "relevant_consistency", "consistency", "cell")
CANDIDATES = (
    MEAN,
    *(Candidate(name, (name,), Monotone) for name in FEATURES if name not in ("pool_anchor", "mean_square")),
    Candidate("ridge on four", WIDE, StandardRidge),
    Candidate("gate", GATE, partial(Gate, None), pooled=True),
)
"""Fixed before any result was seen. `ridge on four` reads elicitation, mean_abs and both gradient features."""
CHOSEN = "chosen"
"""Nested: the candidate with the least error on families left out of the rest (`inoc.outcomes.selection.rank`)."""
DRAWS = 2000
WIDEST = 45.0
"""Points to the left and right in the figure; what is farther is an arrow with its number."""
FEWEST = 15
"""Prompts of a cell; one that is not trained to its end yet is left out."""
Column = Float64[np.ndarray, " row"]
Mask = Bool[np.ndarray, " row"]


def sample_of(rows: pd.DataFrame) -> Sample:
    """Rows as the predictors of inoc take them; the store is the base model."""
    mix = (rows["prefix_type"] == "mix").to_numpy()
    relevant = (rows["family"] != "neutral").to_numpy().astype(np.float64)
    alike = np.where(mix, rows["pool_anchor"], 1.0)
    made = {
        "direction": np.tanh(rows["ph"] / 0.1),
        "salience": np.log(rows["mean_square"]),
        "consistency": alike,
        "relevant_consistency": relevant * alike,
        "cell": pd.factorize(rows["base"].astype(str) + rows["prefix_type"])[0],
    }
    names = (*FEATURES, *made)
    x = np.column_stack([*(rows[name] for name in FEATURES), *made.values()]).astype(np.float64)
    labels = (rows[name].to_numpy().astype(str) for name in ("prompt", "family", "base", "prefix_type"))
    numbers = (rows[name].to_numpy().astype(np.float64) for name in ("share", "control"))
    return Sample(names, x, *numbers, *labels)


def predictions(sample: Sample, groups: Shaped[np.ndarray, " row"], split: str) -> dict[str, Column]:
    """Shares predicted without the row's group, by candidate."""
    found = {candidate.name: left_out(candidate, sample, groups) for candidate in CANDIDATES}
    grouping = {"base": "store"}.get(split, split)
    found[CHOSEN] = nested_predictions(sample, grouping, CANDIDATES[1:])
    return found


def holds(sample: Sample, predicted: Column) -> Mask:
    """Whether each row lies in the 95 % interval made of the other prompts' left-out errors."""
    inside = np.zeros(sample.share.size, dtype=bool)
    for row in range(inside.size):
        others = sample.prompt != sample.prompt[row]
        same = others & (sample.kind == sample.kind[row])
        interval = prediction_interval(float(predicted[row]), rms_by_prompt(sample.take(same), predicted[same]))
        inside[row] = interval.lower <= sample.share[row] <= interval.upper
    return inside


def errors(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each split, relation and candidate."""
    found: list[dict[str, object]] = []
    rows = rows[rows.groupby(CELL)["prompt"].transform("nunique") >= FEWEST]
    for relation in RELATIONS:
        used = rows[rows["share"].notna() & ((relation == "all") | on_target(rows))]
        for split in SPLITS:
            outer = ["rate", "seed", "trait"] if split == "base" else CELL
            parts = [part for _, part in used.groupby(outer, sort=True)]
            cells = [sample_of(part) for part in parts if split != "base" or part["base"].nunique() > 1]
            if not cells:
                continue
            predicted = [predictions(s, s.groups("store" if split == "base" else split), split) for s in cells]
            for name in predicted[0]:
                found.append({"split": split, "rows": relation, "candidate": name} | summary(cells, predicted, name))
    return pd.DataFrame(found)


def on_target(rows: pd.DataFrame) -> pd.Series:
    """Rows whose prompt asks for the row's trait, or for none."""
    return (rows["family"] == "neutral") | (rows["family"] == rows["trait"].str.lower())


def summary(cells: Sequence[Sample], predicted: Sequence[dict[str, Column]], name: str) -> dict[str, object]:
    """Error over all cells and in the median cell, its difference to elicitation with an interval, coverage."""
    wrong = [(p[name] - s.share) * s.control for s, p in zip(cells, predicted, strict=True)]
    usual = [(p[BASELINE] - s.share) * s.control for s, p in zip(cells, predicted, strict=True)]
    ratio = [rms(a) / rms(b) for a, b in zip(wrong, usual, strict=True)]
    prompts = np.concatenate([s.prompt for s in cells])
    a, b = np.concatenate(wrong), np.concatenate(usual)
    both = np.isfinite(a) & np.isfinite(b)
    low, high = bootstrap(prompts[both], a[both] ** 2, b[both] ** 2)
    inside = np.concatenate([holds(s, p[name]) for s, p in zip(cells, predicted, strict=True)])
    return {
        "n": int(both.sum()),
        "prompts": int(np.unique(prompts[both]).size),
        "cells": len(cells),
        "error": rms(a[both]),
        "difference": rms(a[both]) - rms(b[both]),
        "lower": low,
        "upper": high,
        "median_ratio": float(np.median(ratio)),
        "held": float(inside[both].mean()),
    }


def rms(values: Column) -> float:
    """Root mean square of what is finite."""
    return float(np.sqrt(np.nanmean(values**2)))


def bootstrap(prompts: Shaped[np.ndarray, " row"], one: Column, two: Column) -> tuple[float, float]:
    """95 % percentile interval of the difference of root mean squares, prompts drawn again."""
    _, place = np.unique(prompts, return_inverse=True)
    sums: Callable[[Column], Column] = lambda x: np.bincount(place, x)
    count, a, b = sums(np.ones(place.size)), sums(one), sums(two)
    drawn = np.random.default_rng(0).integers(0, count.size, size=(DRAWS, count.size))
    n = count[drawn].sum(1)
    differences = np.sqrt(a[drawn].sum(1) / n) - np.sqrt(b[drawn].sum(1) / n)
    low, high = np.percentile(differences, [2.5, 97.5])
    return float(low), float(high)


def draw(table: pd.DataFrame, place: Path) -> None:
    """Differences to elicitation by split, one panel for each relation."""
    splits = [split for split in SPLITS if split in set(table["split"])]
    names = [name for name in dict.fromkeys(table["candidate"]) if name != BASELINE]
    figure, axes = plt.subplots(
        len(RELATIONS), len(splits), figsize=(2.6 * len(splits) + 1.6, 5.4), sharex=True, sharey=True, squeeze=False
    )
    titles = {"own": "own trait and neutral", "all": "all prompts"}
    for row, relation in enumerate(RELATIONS):
        for column, split in enumerate(splits):
            ax, part = axes[row, column], table[(table["rows"] == relation) & (table["split"] == split)]
            part = part.set_index("candidate")
            base = part.loc[BASELINE, "error"]
            for y, name in enumerate(names):
                line = part.loc[name]
                clear = line["upper"] < 0 or line["lower"] > 0
                color = "#0072B2" if clear and line["difference"] < 0 else "#D55E00" if clear else "#5A5A5A"
                if line["difference"] > WIDEST:
                    far = f"+{line['difference']:.0f} \u2192"
                    ax.text(WIDEST - 1, y, far, fontsize=6, color=color, ha="right", va="center")
                    continue
                ax.plot([line["lower"], min(line["upper"], WIDEST)], [y, y], color=color, lw=1.2)
                ax.plot(line["difference"], y, "o", ms=3.5, color=color)
            ax.axvline(0, color="0.6", lw=0.8, zorder=0)
            ax.set_title(f"{titles[relation]}\n{split} left out; elicitation errs {base:.1f}", fontsize=7)
            ax.set_yticks(range(len(names)), names, fontsize=6)
            ax.tick_params(axis="x", labelsize=6)
            ax.set_xlim(-WIDEST, WIDEST)
            ax.invert_yaxis() if row == column == 0 else None
    figure.supxlabel("error minus elicitation's, points (left is better); 95 % intervals over prompts", fontsize=7)
    figure.tight_layout()
    figure.savefig(place, dpi=200, metadata={"Software": None})
    plt.close(figure)


def markdown(table: pd.DataFrame) -> str:
    """The table of docs/probe.md: errors, the interval of the difference to elicitation, the median cell's ratio."""
    columns = list(table[["split", "rows"]].drop_duplicates().itertuples(index=False, name=None))
    heads = ["candidate", *(f"{split}, {relation}" for split, relation in columns)]
    lines = [heads, ["---"] * len(heads)]
    for name in dict.fromkeys(table["candidate"]):
        part = table[table["candidate"] == name].set_index(["split", "rows"])
        cells = [part.loc[column] for column in columns]
        between = [f" [{cell['lower']:+.0f}, {cell['upper']:+.0f}]" if name != BASELINE else "" for cell in cells]
        words = [f"{cell['error']:.1f}{b}, {cell['median_ratio']:.2f}" for cell, b in zip(cells, between, strict=True)]
        lines.append([name, *words])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    table = errors(pd.read_csv(ROWS))
    table.to_csv(TABLE, index=False, float_format="%.4g")
    draw(table, FIGURE)
    print(markdown(table))


if __name__ == "__main__":
    main()
