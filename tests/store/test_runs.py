"""What a run says of itself, and what becomes of attributes that an older store lacks."""

import pytest

from inoc.store.runs import RunInfo, RunPlan

PLAN = RunPlan("r", "p", "fixed", traits=("A", "B"), instructions=("i", "j"), steps=(0,), judges={"B": "judge"})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, None),
        ("folder/train.jsonl", "folder/train.jsonl"),
        ([{"path": "folder/plain.jsonl"}], "plain.jsonl"),
        ([{"path": "a.jsonl", "share": 0.3}], "30 % of a.jsonl"),
        ([{"path": "a.jsonl", "share": 1}], "100 % of a.jsonl"),
        ([{"path": "a.jsonl", "n": 12}], "12 of a.jsonl"),
        (
            [{"path": "a.jsonl", "where": {"tag": "risky", "lang": "de"}, "prefix": "none"}, {"path": "b.jsonl"}],
            "a.jsonl, tag risky, lang de, prefix none + b.jsonl",
        ),
    ],
)
def test_the_rows_of_a_run_in_words(data: object, words: str | None) -> None:
    assert RunInfo("r", "p", "fixed", settings={"data": data}).data == words


def test_what_a_run_continues_and_belongs_to() -> None:
    run = RunInfo("r", "p", "fixed", settings={"start": "first", "leak_of": "", "trained_with": {"name": "local"}})
    assert (run.start, run.leak_of, run.trained_with) == ("first", None, {"name": "local"})
    assert RunInfo("r", "p", "fixed").trained_with == {}


def test_attributes_there_and_back() -> None:
    run = RunInfo("r", "p", "mix", 3, 40, {"a": 1}, {"temperature": 0.5})
    assert RunInfo.stored("r", run.attributes) == run
    old = RunInfo.stored("r", {})
    assert old == RunInfo("r", "", "none", -1, -1, {}, {})


def test_labels_of_a_plan() -> None:
    assert PLAN.labels == {
        "condition": ("default", "training"),
        "trait": ("A", "B"),
        "instruction": ("i", "j"),
        "question": ("i", "j"),
        "file": ("all", "all"),
        "judge": ("unknown", "judge"),
    }
