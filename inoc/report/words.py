"""The summary of the page in words: what the store holds, which prompts are strongest, what is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from inoc.heuristics.frame.rows import Rows, absences, nan_counts
from inoc.heuristics.frame.table import Table
from inoc.report.columns import Column
from inoc.report.outcomes import Estimate, Outcomes, over_seeds
from inoc.store.summary import StoreSummary

NAMED = 3
"""Prompts named at either end."""
ROLE_WORDS = {
    "negative": "that ask for the leak",
    "positive": "that ask for what is wanted",
    "neutral": "of the neutral",
}
"""How the prompts of a role are called, the ones that may be of use first."""


@dataclass(frozen=True)
class Item:
    """A prompt in a ranking, with its number as text."""

    prompt: str
    text: str
    number: str


@dataclass(frozen=True)
class Ranking:
    """A few prompts in order."""

    title: str
    items: list[Item]


@dataclass(frozen=True)
class Fact:
    """A short title, sentences, and rankings of prompts that belong to it."""

    title: str
    lines: list[str]
    rankings: list[Ranking] = field(default_factory=list[Ranking])


def summary(
    store: StoreSummary,
    texts: Mapping[str, str],
    rows: Rows,
    columns: Sequence[Column],
    results: Outcomes,
    completion_set: str,
) -> list[Fact]:
    """The evidence: what training did, what the base model says of the prompts, what the store holds."""
    facts: list[Fact] = []
    roles = dict(zip(rows.prompts, rows.roles, strict=True))
    for t, trait in enumerate(results.traits):
        if cells := over_seeds(results.suppression, t):
            facts.append(_suppressed(cells, trait, results.effects[t], results.control[t], texts, roles))
    ph = next((column for column in columns if column.name == "ph"), None)
    if ph is not None:
        facts += _strongest(ph, rows, texts)
    elicited = [column for column in columns if column.name.startswith("elicitation[")]
    if elicited:
        facts.append(_elicited(elicited, rows, texts))
    return [*facts, Fact("Contents", _contents(store, completion_set))]


def _contents(store: StoreSummary, completion_set: str) -> list[str]:
    roles = ", ".join(f"{n} {role}" for role, n in store.prompts.items())
    lines = [f"{sum(store.prompts.values())} prompts ({roles})." if store.prompts else "No prompts."]
    if store.traits:
        lines.append("Traits: " + ", ".join(f"{t.name} ({_wanted(t.role)})" for t in store.traits) + ".")
    for part in store.sets:
        size = f"{part.examples} completions" + (f" ({part.tokens} tokens)" if part.tokens else "")
        also = "" if part.completion_set == completion_set else ", for comparison"
        lines.append(
            f"Set {part.completion_set}{also}: {part.prompts} prompts scored on {size}, prefix "
            f"{' and '.join(part.prefix_types)}."
        )
    if store.runs:
        control = sum(not run.prompt for run in store.runs)
        lines.append(f"{len(store.runs)} training runs, {control} of them without a prompt (control).")
    return lines


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
        title = f"Perplexity heuristic, {kind}" if kind else "Perplexity heuristic"
        line = (
            f"{up} of {len(order)} prompts make the completions more likely (nats per token). The stronger, the more "
            "training with the prompt holds back what it asks for: good where that is the leak, bad where it is wanted."
        )
        rankings: list[Ranking] = []
        for role, what in ROLE_WORDS.items():
            mine = [_item(i, ph, rows, texts) for i in order if rows.roles[i] == role]
            rankings += [Ranking(f"Strongest {what}", mine[:NAMED])] if mine else []
        rest = _ends("Strongest", "Weakest", [_item(i, ph, rows, texts) for i in order])
        facts.append(Fact(title, [line], rankings or rest))
    if {"fixed", "mix"} <= set(medians):
        line = (
            f"The median over prompts is {signed(medians['fixed'], 3)} nats per token with one fixed text and "
            f"{signed(medians['mix'], 3)} with a rewording per example."
        )
        facts.append(Fact("Fixed or reworded", [line]))
    return facts


def _elicited(columns: Sequence[Column], rows: Rows, texts: Mapping[str, str]) -> Fact:
    rankings: list[Ranking] = []
    for column in columns:
        order = _order(column, rows, rows.prefix_types[0])[:NAMED]
        trait = column.name[len("elicitation[") : -1]
        rankings.append(Ranking(f"Most {trait}", [_item(i, column, rows, texts) for i in order]))
    return Fact("Elicitation", ["What the prompt alone adds to the base model's score, in pp."], rankings)


def _order(column: Column, rows: Rows, kind: str) -> list[int]:
    """Places of the rows of a prefix type, largest value first, those without a value left out."""
    places = [i for i, k in enumerate(rows.prefix_types) if k == kind and column.values[i] is not None]
    return sorted(places, key=lambda i: -(column.values[i] or 0.0))


def _ends(first: str, last: str, items: Sequence[Item]) -> list[Ranking]:
    """The first and the last few; one ranking where they would overlap."""
    found = [Ranking(first, list(items[:NAMED]))]
    if len(items) >= 2 * NAMED:
        found.append(Ranking(last, list(items[: -NAMED - 1 : -1])))
    return found


def _item(i: int, column: Column, rows: Rows, texts: Mapping[str, str]) -> Item:
    places = 1 if column.units == "pp" else 3
    low, high = (side[i] if side else None for side in (column.low, column.high))
    number = signed(column.values[i] or 0.0, places) + bounds(low, high, places)
    return Item(rows.prompts[i], texts.get(rows.prompts[i], ""), number)


def signed(value: float, places: int) -> str:
    """A number with its sign, a true minus; none where it rounds to 0."""
    return f"{value:+z.{places}f}".replace("-", "−") if round(value, places) else f"{0:.{places}f}"


def bounds(low: float | None, high: float | None, places: int) -> str:
    """The interval in brackets; "" where there is none."""
    if low is None or high is None:
        return ""
    return f" [{low:z.{places}f}, {high:z.{places}f}]".replace("-", "−")


def _suppressed(
    cells: Mapping[tuple[str, str], Estimate],
    trait: str,
    effect: str,
    control: float | None,
    texts: Mapping[str, str],
    roles: Mapping[str, str],
) -> Fact:
    """What training did to a trait, good ends first. Prompts that ask for what is wanted are not ranked by the leak."""
    loss = effect == "loss"
    order = sorted(cells, key=lambda cell: cells[cell].mean if loss else -cells[cell].mean)
    order = order if loss else [cell for cell in order if roles.get(cell[0]) != "positive"]
    quiet = sum(1 for cell in order if (cells[cell].low or 0.0) > 0)
    level = f"Trained without a prompt, the model scores {control:.1f}. " if control is not None else ""
    line = (
        f"{level}{quiet} of {len(order)} prompts and prefix types left less {trait}, the whole interval above 0 "
        f"({effect} in pp; {'less is better' if loss else 'more is better'})."
    )
    items = [
        Item(f"{prompt}, {kind}", texts.get(prompt, ""), signed(e.mean, 1) + bounds(e.low, e.high, 1))
        for (prompt, kind), e in ((cell, cells[cell]) for cell in order)
    ]
    ends = ("Good: lost least", "Bad: lost most") if loss else ("Good: held back most", "Bad: held back least")
    rankings = _ends(*ends, items) if len(items) >= 2 * NAMED else [Ranking("Best first", items)]
    return Fact(f"{'Wanted' if loss else 'Leak'}: {trait}", [line], rankings)


def missing(store: StoreSummary, table: Table | None, results: Outcomes, no_tokens: str) -> list[Fact]:
    """What the store lacks and what was left out, with the command that adds it where there is one."""
    facts: list[Fact] = []
    for part in store.sets:
        where = f"{part.completion_set}, {part.level} level"
        if part.units_pending:
            lines = [f"{_many(part.units_pending, 'unit')} of {where}; `inoc score` resumes."]
            facts.append(Fact("Not scored yet", lines))
        if part.missing:
            facts.append(Fact("Missing values", [f"{_many(part.missing, 'value')} of {where}."]))
    pending = sum(run.evaluations_pending for run in store.runs)
    if pending:
        lines = [f"{_many(pending, 'evaluation')} of runs; `inoc evaluate` resumes."]
        facts.append(Fact("Not evaluated yet", lines))
    if results.absent:
        facts.append(Fact("No outcomes", [results.absent]))
    if results.left_out:
        facts.append(Fact("Left out of the outcomes", results.left_out))
    if table is None:
        facts.append(Fact("No heuristics", ["The store has no log-probabilities; `inoc score` adds them."]))
    else:
        lines = [f"{_listed(names)}: {reason}." for reason, names in absences(table).items()]
        if lines:
            facts.append(Fact("Not computed", lines))
        if counts := nan_counts(table):
            listed = ", ".join(f"{name} ({n})" for name, n in counts.items())
            facts.append(Fact("Undefined or without data", [f"Cells by heuristic: {listed}."]))
        if table.notes:
            facts.append(Fact("Notes", list(table.notes)))
    if no_tokens:
        facts.append(Fact("No token viewer", [no_tokens]))
    return facts


def _listed(names: Sequence[str], most: int = 6) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _many(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
