"""Reading tables of prefill counts: CSV, JSON or JSONL with a row for each run, checkpoint, prefill and behavior."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from inoc.errors import BadInput
from inoc.reading import read_text
from inoc.store.imports.reading import Node, load_json, load_jsonl
from inoc.store.prefills import PrefillCounts, check_counts

NEEDED = ("run", "checkpoint", "prefill", "behavior", "successes", "trials")
NUMBERS = ("mean_neg_kl", "surprisal")
TEXTS = ("question", "text")
Key = tuple[int, int, str, str, str]


def read_prefill_counts(path: Path, source: str) -> dict[str, PrefillCounts]:
    """The counts of every run in a table: CSV with a head line, JSON {"rows": [...]}, or JSONL. Columns: run,
    checkpoint, prefill, behavior, successes, trials, and optionally mean_neg_kl, surprisal, question and text.
    `source`: where the prefills come from. BadInput where a column is missing or unknown, a cell comes twice or out of
    order, or a count cannot be."""
    runs: dict[str, dict[Key, tuple[int, int, float, float]]] = {}
    for row in _rows(path):
        for name in row.fields:
            if name not in (*NEEDED, *NUMBERS, *TEXTS):
                raise BadInput(
                    f"{row.where}: unknown column {name!r}. Fix: name it one of {', '.join(NEEDED + NUMBERS)}."
                )
        question, text = (row.get(name, "").text() for name in TEXTS)
        cell = row["checkpoint"].integer(), row["prefill"].integer(), row["behavior"].text(), question, text
        cells = runs.setdefault(row["run"].text(), {})
        if cell in cells:
            raise BadInput(
                f"{row.where}: checkpoint {cell[0]}, prefill {cell[1]}, behavior {cell[2]} comes twice. Fix: keep one."
            )
        last = next((key for key in reversed(cells) if key[2:] == cell[2:]), cell)
        if last[:2] > cell[:2]:
            raise BadInput(
                f"{row.where}: checkpoint {cell[0]}, prefill {cell[1]} comes after checkpoint {last[0]}, prefill "
                f"{last[1]}. Fix: sort the rows of a behavior by checkpoint and prefill."
            )
        neg_kl, surprisal = (_number(row, name) for name in NUMBERS)
        cells[cell] = row["successes"].integer(), row["trials"].integer(), surprisal, neg_kl
    if not runs:
        raise BadInput(f"{path} has no rows. Fix: give one for each run, checkpoint, prefill and behavior.")
    found = {name: _counts(cells, source) for name, cells in runs.items()}
    for name, counts in found.items():
        check_counts(counts, f"{path}: run {name}")
        if len(counts.checkpoint) < 2:
            raise BadInput(f"{path}: run {name} has one checkpoint only. Fix: forecasts need at least two.")
    return found


def _rows(path: Path) -> Iterator[Node]:
    if path.suffix == ".jsonl":
        yield from load_jsonl(path)
    elif path.suffix == ".json":
        yield from load_json(path)["rows"].rows()
    else:
        reader = csv.DictReader(io.StringIO(read_text(path)), strict=True)
        try:
            for row in reader:
                where = f"{path}:{reader.line_num}"
                if None in row or None in row.values():
                    raise BadInput(
                        f"{where}: the row has another number of columns than the head line. Fix: correct it."
                    )
                yield Node({name: value for name, value in row.items() if value != ""}, where, ": ")
        except csv.Error as error:
            raise BadInput(f"{path}:{reader.line_num} is not CSV: {error}.") from None


def _number(row: Node, name: str) -> float:
    node = row.get(name)
    if not isinstance(node.value, str):
        return node.number()
    try:
        return float(node.value)
    except ValueError:
        raise BadInput(
            f"{node.where}: a number is needed, not {node.value!r}. Fix: leave it empty if unknown."
        ) from None


def _counts(cells: dict[Key, tuple[int, int, float, float]], source: str) -> PrefillCounts:
    checkpoint, prefill = sorted({key[0] for key in cells}), sorted({key[1] for key in cells})
    behavior = list(dict.fromkeys(key[2] for key in cells))
    slots: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for key in cells:
        texts = slots.setdefault(key[:2], [])
        if key[3:] not in texts:
            texts.append((key[3], key[4]))
    n = max(len(texts) for texts in slots.values())
    shape = len(checkpoint), len(prefill), n
    text, questions = np.full(shape, "", dtype=object), [""] * n
    successes, trials = np.zeros((2, *shape, len(behavior)), np.int64)
    surprisal, neg_kl = np.full((2, *shape, len(behavior)), np.nan)
    for key, values in cells.items():
        c, p, b = checkpoint.index(key[0]), prefill.index(key[1]), behavior.index(key[2])
        t = slots[key[:2]].index((key[3], key[4]))
        text[c, p, t], questions[t] = key[4], key[3] or questions[t]
        successes[c, p, t, b], trials[c, p, t, b], surprisal[c, p, t, b], neg_kl[c, p, t, b] = values
    return PrefillCounts(checkpoint, prefill, behavior, questions, text, successes, trials, surprisal, neg_kl, source)
