"""The summary of the page in words: what is there, what stands out, what is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from inoc.heuristics.compute import Table
from inoc.heuristics.table import Rows, absences, nan_counts
from inoc.report.columns import Column
from inoc.report.outcomes import Estimate, Outcomes, over_seeds
from inoc.store.summary import StoreSummary

NAMED = 3
"""Prompts named at either end."""


@dataclass(frozen=True)
class Fact:
    """A short title and one or two sentences."""

    title: str
    text: str


def summary(
    store: StoreSummary,
    texts: Mapping[str, str],
    rows: Rows,
    columns: Sequence[Column],
    results: Outcomes,
    completion_set: str,
) -> list[Fact]:
    """What the store holds and which prompts stand out."""
    facts = [Fact("What is here", _contents(store, completion_set))]
    ph = next((column for column in columns if column.name == "ph"), None)
    if ph is not None:
        facts += _strongest(ph, rows, texts)
    for column in columns:
        if column.name.startswith("elicitation["):
            facts += _extremes(column, rows, texts)
    for t, trait in enumerate(results.traits):
        if cells := over_seeds(results.suppression, t):
            facts.append(Fact(f"Training: {trait}", _suppressed(cells, trait, results.control[t])))
    return facts


def _contents(store: StoreSummary, completion_set: str) -> str:
    roles = ", ".join(f"{n} {role}" for role, n in store.prompts.items())
    parts = [f"{sum(store.prompts.values())} prompts ({roles})." if store.prompts else "No prompts."]
    if store.traits:
        parts.append("Traits: " + ", ".join(f"{t.name} ({_wanted(t.role)})" for t in store.traits) + ".")
    for part in store.sets:
        size = f"{part.examples} completions" + (f" of {part.tokens} tokens in all" if part.tokens else "")
        also = "" if part.completion_set == completion_set else ", for comparison"
        parts.append(
            f"{part.prompts} prompts scored on {size}, set {part.completion_set}, prefix "
            f"{' and '.join(part.prefix_types)}{also}."
        )
    if store.runs:
        control = sum(not run.prompt for run in store.runs)
        parts.append(f"{len(store.runs)} training runs, {control} of them without a prompt (control).")
    return " ".join(parts)


def _wanted(role: str) -> str:
    return {"positive": "wanted", "negative": "the leak"}.get(role, role)


def _strongest(ph: Column, rows: Rows, texts: Mapping[str, str]) -> list[Fact]:
    facts: list[Fact] = []
    medians: dict[str, float] = {}
    for kind in dict.fromkeys(rows.prefix_types):
        order = _order(ph, rows, kind)
        if not order:
            continue
        medians[kind] = float(np.median([ph.values[i] or 0.0 for i in order]))
        up = sum((ph.values[i] or 0.0) > 0 for i in order)
        ends = f"Strongest: {_names(order[:NAMED], ph, rows, texts)}."
        if len(order) > 2 * NAMED:
            ends += f" Weakest: {_names(order[: -NAMED - 1 : -1], ph, rows, texts)}."
        facts.append(
            Fact(
                f"Perplexity heuristic, {kind}" if kind else "Perplexity heuristic",
                f"{up} of {len(order)} prompts make the completions more likely. {ends}",
            )
        )
    if {"fixed", "mix"} <= set(medians):
        facts.append(
            Fact(
                "Fixed or reworded",
                f"The median over prompts is {medians['fixed']:+.3f} nats per token with one fixed text and "
                f"{medians['mix']:+.3f} with a rewording per example.",
            )
        )
    return facts


def _extremes(column: Column, rows: Rows, texts: Mapping[str, str]) -> list[Fact]:
    order = _order(column, rows, rows.prefix_types[0])
    trait = column.name[len("elicitation[") : -1]
    if not order:
        return []
    return [
        Fact(
            f"Elicitation: {trait}", f"Most, without training: {_names(order[:NAMED], column, rows, texts)}."
        )
    ]


def _order(column: Column, rows: Rows, kind: str) -> list[int]:
    """Places of the rows of a prefix type, largest value first, those without a value left out."""
    places = [i for i, k in enumerate(rows.prefix_types) if k == kind and column.values[i] is not None]
    return sorted(places, key=lambda i: -(column.values[i] or 0.0))


def _names(places: Sequence[int], column: Column, rows: Rows, texts: Mapping[str, str]) -> str:
    return "; ".join(
        f"{rows.prompts[i]} “{_short(texts.get(rows.prompts[i], ''))}” {_number(column, i)}" for i in places
    )


def _number(column: Column, i: int) -> str:
    places = 1 if column.units == "pp" else 3
    low, high = (side[i] if side else None for side in (column.low, column.high))
    interval = f" [{low:.{places}f}, {high:.{places}f}]" if low is not None and high is not None else ""
    return f"{column.values[i] or 0.0:+.{places}f}{interval} {column.units}".strip()


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _suppressed(cells: Mapping[tuple[str, str], Estimate], trait: str, control: float | None) -> str:
    order = sorted(cells, key=lambda cell: -cells[cell].mean)
    quiet = sum(1 for e in cells.values() if e.low is not None and e.low > 0)
    level = f"Without a prompt the model shows {control:.1f}. " if control is not None else ""
    most = "; ".join(_cell(cell, cells[cell]) for cell in order[:NAMED])
    least = "; ".join(_cell(cell, cells[cell]) for cell in order[: -NAMED - 1 : -1])
    weakest = f" Held back least: {least}." if len(order) > 2 * NAMED else ""
    return (
        f"{level}{quiet} of {len(order)} prompts and prefix types held {trait} back (interval above 0). "
        f"Most: {most}.{weakest}"
    )


def _cell(cell: tuple[str, str], estimate: Estimate) -> str:
    interval = ""
    if estimate.low is not None and estimate.high is not None:
        interval = f" [{estimate.low:.1f}, {estimate.high:.1f}]"
    return f"{cell[0]} ({cell[1]}) {estimate.mean:+.1f}{interval} pp"


def missing(store: StoreSummary, table: Table | None, results: Outcomes, no_tokens: str) -> list[Fact]:
    """What the store lacks and what was left out, with the command that would mend it where there is one."""
    facts: list[Fact] = []
    for part in store.sets:
        where = f"{part.completion_set}, {part.level} level"
        if part.units_pending:
            facts.append(
                Fact("Not scored yet", f"{part.units_pending} units of {where}; `inoc score` goes on.")
            )
        if part.missing:
            facts.append(Fact("Missing values", f"{part.missing} log-probabilities of {where}."))
    pending = sum(run.evaluations_pending for run in store.runs)
    if pending:
        facts.append(Fact("Not evaluated yet", f"{pending} evaluations of runs; `inoc evaluate` goes on."))
    if results.absent:
        facts.append(Fact("No outcomes", results.absent))
    facts += [Fact("Left out of the outcomes", reason) for reason in results.left_out]
    if table is None:
        facts.append(Fact("No heuristics", "The store has no log-probabilities; `inoc score` makes them."))
    else:
        for reason, names in absences(table).items():
            listed = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
            facts.append(Fact("Not computed", f"{listed}: {reason}."))
        if counts := nan_counts(table):
            listed = ", ".join(f"{name} ({n})" for name, n in counts.items())
            facts.append(Fact("Undefined or without data", f"Cells by heuristic: {listed}."))
        facts += [Fact("Note", note) for note in table.notes]
    if no_tokens:
        facts.append(Fact("No token viewer", no_tokens))
    return facts
