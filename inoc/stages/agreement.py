"""Judges against people: the texts of a file are scored by the study's judges and compared with its labels."""

from pathlib import Path
from typing import cast

import numpy as np

from inoc.errors import BadInput
from inoc.judge import JudgeRequest
from inoc.judge.agreement import Agreement, agreement
from inoc.plan import Study
from inoc.reading import read_json_lines
from inoc.values import Json

PEOPLE = "people: "
"""Before the name of a column of human labels."""


def compare_with_people(study: Study, path: Path, threshold: float = 50.0) -> list[Agreement]:
    """Judge the texts of a file and compare every judge with the labels of people and with every other judge.

    The file is JSONL of `{"instruction": ..., "response": ..., "labels": {SCORE: 0-100, true or false}}`; scores above
    `threshold` count as yes for Cohen's kappa. BadInput for a wrong row.
    """
    asked, answers, labels = _read(path)
    columns = {f"{PEOPLE}{name}": values for name, values in labels.items()}
    for name, judge in study.judges.by_score.items():
        requests = [
            JudgeRequest(str(i), name, question, answer)
            for i, (question, answer) in enumerate(zip(asked, answers, strict=True))
        ]
        values = np.full(len(answers), np.nan)
        for judgment in judge.judge(requests):
            values[int(judgment.id)] = judgment.score
        columns[name] = values
    return agreement(columns, asked, threshold)


def _read(path: Path) -> tuple[list[str], list[str], dict[str, np.ndarray]]:
    rows = list(read_json_lines(path))
    asked, answers = list[str](), list[str]()
    names = dict.fromkeys(
        name
        for _, row in rows
        if isinstance(row, dict) and isinstance(row.get("labels"), dict)
        for name in cast(dict[str, Json], row["labels"])
    )
    labels = {name: np.full(len(rows), np.nan) for name in names}
    for i, (line, row) in enumerate(rows):
        where = f"{path}, line {line}"
        whole = isinstance(row, dict) and isinstance(row.get("labels"), dict) and isinstance(row.get("response"), str)
        if not isinstance(row, dict) or not whole:
            raise BadInput(f'{where}: not a labeled text. Fix: write {{"response": ..., "labels": {{SCORE: 0-100}}}}.')
        asked.append(str(row.get("instruction") or ""))
        answers.append(str(row["response"]))
        for name, value in cast(dict[str, Json], row["labels"]).items():
            number = 100.0 * value if isinstance(value, bool) else value
            if value is None:
                continue
            if not isinstance(number, int | float) or not 0 <= number <= 100:
                raise BadInput(f"{where}: the label {name!r} is not 0 to 100. Fix: write a number, a bool or null.")
            labels[name][i] = number
    if not labels:
        raise BadInput(f"{path} has no labels. Fix: give every row `labels`.")
    return asked, answers, labels
