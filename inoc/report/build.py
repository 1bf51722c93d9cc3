"""From a store to everything its page shows, as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inoc._version import __version__
from inoc.errors import IncompleteStore
from inoc.heuristics.frame.rows import Rows, is_per_prompt, label
from inoc.heuristics.frame.rows import rows as table_rows
from inoc.heuristics.frame.table import Table, measure
from inoc.names import refuse_unknown
from inoc.report.answers import AnswerView, answer_view
from inoc.report.columns import Column, columns
from inoc.report.curves import Chart, Leaks, curves, leaks
from inoc.report.decode import model_name
from inoc.report.emergence import EmergenceRows, emergence_rows
from inoc.report.figures import PluginFigure, plugin_figures
from inoc.report.outcomes import Outcomes, outcomes
from inoc.report.tokens import TokenView, token_view
from inoc.report.verdict import verdict
from inoc.report.words import Fact, missing, summary
from inoc.store.store import Store
from inoc.store.summary import summarize
from inoc.values import Recipe

MOST_PROMPTS_IN_MATRIX = 100


@dataclass(frozen=True)
class PromptLabel:
    """A prompt as the page names it."""

    key: str
    text: str
    group: str
    family: str
    role: str


@dataclass(frozen=True)
class AngleMatrix:
    """Angles in degrees between prompts, one square per prefix type; None where undefined."""

    name: str
    prefix_type: str
    values: list[list[float | None]]


@dataclass(frozen=True)
class Angles:
    """All angle matrices, over the same prompts."""

    prompts: list[str]
    matrices: list[AngleMatrix]
    note: str


@dataclass(frozen=True)
class Report:
    """Everything the page shows.

    Attributes:
        title: The name of the experiment, or of the store.
        about: One sentence: model, store, completion set, recipe, version.
        summary: Which prompt to use and why, then the evidence.
        missing: What the store lacks and what was left out.
        prompts: All prompts of the store.
        row_prompt: The prompt of each row of the table.
        row_prefix_type: The prefix type of each row of the table.
        columns: The columns of the table and of the scatter.
        angles: Angles between prompts; None without any.
        outcomes: What training did.
        tokens: What the token viewer shows; None without tokens.
        no_tokens: Why there is no token viewer; "" if there is.
        emergence: Rare behaviors and their forecasts.
        answers: Stored answers with their scores, side by side.
        curves: Scores and losses by update.
        leaks: Scores by condition; None without evaluated runs.
        figures: Of plugins.
    """

    title: str
    about: str
    summary: list[Fact]
    missing: list[Fact]
    prompts: list[PromptLabel]
    row_prompt: list[str]
    row_prefix_type: list[str]
    columns: list[Column]
    angles: Angles | None
    outcomes: Outcomes
    tokens: TokenView | None
    no_tokens: str
    emergence: EmergenceRows
    answers: AnswerView
    curves: list[Chart]
    leaks: Leaks | None
    figures: list[PluginFigure]


def build_report(
    store: Store,
    *,
    completion_set: str = "train",
    recipe: Recipe = "corrected",
    tokenizer: Path | None = None,
    seed: int = 0,
) -> Report:
    """Compute everything the page shows. What the store lacks is named in `missing`.

    Args:
        store: The store to read.
        completion_set: The set whose heuristics and tokens are shown.
        recipe: "corrected" or "published".
        tokenizer: Directory or `tokenizer.json` of the model's tokenizer; None for the model's own, if it is on
            this machine.
        seed: Of the samples that are shown.

    Returns:
        The report as plain values.

    Raises:
        BadInput: The completion set is unknown, or the tokenizer cannot be read.
        BrokenStore: The store is damaged.
    """
    sets = store.completion_sets
    refuse_unknown("completion set", [completion_set] if sets else [], sets, f"{store.path}: ")
    stored = summarize(store)
    table = measure(store, recipe=recipe, completion_set=completion_set) if sets else None
    results = outcomes(store)
    labels = prompt_labels(store)
    shown = _rows(table, labels, results)
    view, reason = _tokens(store, completion_set, tokenizer, seed)
    found = columns(store, table, shown, results)
    model = model_name(store)
    return Report(
        str(store.experiment.get("name") or store.path.stem),
        f"{f'Base model {model}. ' if model else ''}Store {store.path.name}, completion set {completion_set}, "
        f"recipe {recipe}, inoc {__version__}.",
        verdict(store)
        + summary(stored, {prompt.key: prompt.text for prompt in labels}, shown, found, results, completion_set),
        missing(stored, table, results, reason),
        labels,
        list(shown.prompts),
        list(shown.prefix_types),
        found,
        angles(table, seed) if table is not None else None,
        results,
        view,
        reason,
        emergence_rows(store),
        answer_view(store, seed),
        curves(store),
        leaks(store),
        plugin_figures(store),
    )


def prompt_labels(store: Store) -> list[PromptLabel]:
    """All prompts of the store, in its order."""
    if not store.has("prompts"):
        return []
    prompts = store.prompts
    fields = [prompts[name].values for name in ("prompt", "text", "group", "family", "role")]
    return [PromptLabel(*(str(value) for value in row)) for row in zip(*fields, strict=True)]


def angles(table: Table, seed: int) -> Angles | None:
    """The angle matrices of a table; of many prompts, a seeded sample in the order of the experiment."""
    keys = [str(p) for p in table.coords["prompt"][1]]
    places = np.arange(len(keys))
    note = ""
    if len(keys) > MOST_PROMPTS_IN_MATRIX:
        places = np.sort(np.random.default_rng(seed).choice(len(keys), MOST_PROMPTS_IN_MATRIX, replace=False))
        note = f"{len(places)} of {len(keys)} prompts, drawn at random (seed {seed})."
    matrices: list[AngleMatrix] = []
    for name, variable in table.variables.items():
        if is_per_prompt(variable) or "other_prompt" not in variable.dims:
            continue
        for place in np.ndindex(variable.values.shape[:-2]):
            parts = [label(table, dim, i) for dim, i in zip(variable.dims[:-2], place, strict=True)]
            by_dim = dict(zip(variable.dims[:-2], parts, strict=True))
            kind = by_dim.pop("prefix_type", "")
            square = variable.values[place][np.ix_(places, places)]
            matrices.append(
                AngleMatrix(
                    f"{name}[{','.join(by_dim.values())}]",
                    kind,
                    [[round(float(v), 1) if np.isfinite(v) else None for v in row] for row in square],
                )
            )
    return Angles([keys[i] for i in places], matrices, note) if matrices else None


def _rows(table: Table | None, labels: Sequence[PromptLabel], results: Outcomes) -> Rows:
    """The rows of the table; without a table, those of the runs."""
    if table is not None:
        return table_rows(table)
    roles = {prompt.key: prompt.role for prompt in labels}
    cells = list(dict.fromkeys((row.prompt, row.prefix_type) for row in results.suppression))
    if not cells:
        cells = [(prompt.key, "") for prompt in labels]
    return Rows(tuple(p for p, _ in cells), tuple(k for _, k in cells), tuple(roles.get(p, "") for p, _ in cells), {})


def _tokens(store: Store, completion_set: str, tokenizer: Path | None, seed: int) -> tuple[TokenView | None, str]:
    try:
        view = token_view(store, completion_set, tokenizer, seed)
    except IncompleteStore:
        return None, (
            f"The set {completion_set} has no tokens: it is stored as means over examples, or not at all. "
            "`inoc score` stores every token."
        )
    if not view.examples:
        return None, f"All completions of the set {completion_set} are empty."
    return view, ""
