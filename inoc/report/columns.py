"""The columns of the page's table and scatter: every heuristic with one number per row, and the outcomes."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from inoc.heuristics.frame.registry import find
from inoc.heuristics.frame.rows import Rows
from inoc.heuristics.frame.table import Table
from inoc.heuristics.maths.gram import decompose, gram_matrix
from inoc.heuristics.maths.prompt_level import unit
from inoc.report.outcomes import Outcomes, over_seeds
from inoc.store.store import Store

SHOWN = ("ph", "gamma", "snr", "ppd", "elicitation", "pca[1]", "pca[2]", "top_quarter", "suppression", "gap")
"""Columns (or variables) the table shows at first."""
DIGITS = 6
"""Significant digits of a number in the page."""

Numbers = list[float | None]


@dataclass(frozen=True)
class Column:
    """One number per row, with the bounds of its 95 % interval where it has one."""

    name: str
    group: str
    meaning: str
    units: str
    formula: str
    shown: bool
    values: Numbers
    low: Numbers | None = None
    high: Numbers | None = None


def columns(store: Store, table: Table | None, rows: Rows, results: Outcomes) -> list[Column]:
    """Heuristics in the order of the table, embeddings, outcomes. Interval bounds join the column they belong to."""
    found = [*_embeddings(store, rows), *_outcomes(rows, results)]
    if table is not None:
        found = [*_heuristics(rows), *found]
    return [column for column in found if any(value is not None for value in column.values)]


def _heuristics(rows: Rows) -> Iterable[Column]:
    for column in rows.columns.values():
        if column.variable.endswith("_ci"):
            continue
        low, high = (rows.columns.get(name) for name in column.bounds())
        yield Column(
            column.name,
            find(column.variable).family,
            str(column.attrs["long_name"]),
            "" if column.attrs["units"] == "1" else str(column.attrs["units"]),
            str(column.attrs["formula"]),
            column.name in SHOWN or column.variable in SHOWN,
            numbers(column.values),
            numbers(low.values) if low else None,
            numbers(high.values) if high else None,
        )


def _embeddings(store: Store, rows: Rows) -> Iterable[Column]:
    """Where the texts of the prompts are, seen along the three directions in which they differ most."""
    stored = store.embeddings
    if stored is None:
        return
    grams = gram_matrix(unit(stored["prompt_vector"].transpose("prompt", ...).values))
    if np.isfinite(np.diagonal(grams)).sum() < 2:
        return
    fit = decompose(grams, centered=True, components=3)
    keys = stored["prompt"].values.astype(str).tolist()
    for k, share in enumerate(100 * np.nan_to_num(fit.share)):
        of = dict(zip(keys, fit.coordinates[:, k], strict=True))
        yield Column(
            f"embedding[{k + 1}]", "prompt_level", f"principal component {k + 1} of the embeddings, {share:.1f} %", "",
            "U s of the unit embeddings of the prompt texts, centered over prompts", False,
            numbers(np.array([of.get(prompt, np.nan) for prompt in rows.prompts])),
        )  # fmt: skip


def _outcomes(rows: Rows, results: Outcomes) -> Iterable[Column]:
    for t, trait in enumerate(results.traits):
        by_run, by_prompt = over_seeds(results.suppression, t), over_seeds(results.gap, t)
        cells = list(zip(rows.prompts, rows.prefix_types, strict=True))
        for name, estimates, meaning, formula in (
            ("suppression", [by_run.get(cell) for cell in cells],
             f"how much training with the prompt held {trait} back" if results.effects[t] == "suppression"
             else f"how much {trait}, which is wanted, training with the prompt lost",
             "control-run score minus run score, paired by question, final step"),
            ("gap", [by_prompt.get((prompt, "")) for prompt, _ in cells],
             f"what the prompt loses for {trait} when it is reworded per example",
             "fixed minus mix suppression"),
        ):  # fmt: skip
            ends = ([getattr(e, end) if e else None for e in estimates] for end in ("mean", "low", "high"))
            yield Column(f"{name}[{trait}]", "outcomes", meaning, "pp", formula, True, *ends)


def numbers(values: np.ndarray) -> Numbers:
    """Values with DIGITS significant digits; None where not finite."""
    return [float(f"{float(v):.{DIGITS}g}") if np.isfinite(v) else None for v in values]
