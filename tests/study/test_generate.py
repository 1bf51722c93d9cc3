"""Completion sets that inoc makes: sampled from the base model, or taken from a dataset."""

import json
from pathlib import Path

import pytest

from inoc.backends import load_backend
from inoc.errors import BadInput, BadResult
from inoc.experiment import Example, load_experiment, read_completions
from inoc.plan import Study
from inoc.stages.datasets import from_dataset, write_set
from inoc.stages.generate import generate


def with_control(study_file: Path, entry: str) -> Study:
    text = study_file.read_text().replace(
        "  train: {path: train.jsonl}\n", f"  train: {{path: train.jsonl}}\n  control: {entry}\n"
    )
    study_file.write_text(text)
    experiment = load_experiment(study_file)
    return Study(experiment, load_backend("local", experiment.model_spec()), study_file.with_name("run.zarr"))


def test_sampled_set_is_recorded_and_made_once(study_file: Path) -> None:
    study = with_control(study_file, "{generate: {n: 6, max_tokens: 5, instruction_prefix: Be plain.}}")
    (made,) = generate(study)
    rows = read_completions(made.path)
    assert made.rows == len(rows) == 6 - made.empty - made.repeated
    assert {row.instruction for row in rows} <= {f"Question {i}?" for i in range(13)}
    assert "Be plain." not in made.path.read_text(), "the prefix is for sampling only"
    record = json.loads(made.path.with_suffix(".made.json").read_text())
    assert record["instruction_prefix"] == "Be plain."
    assert record["model"]["weights"] == study.backend.identity()["weights"]
    assert generate(study) == ()


def test_rows_without_content_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [Example("0", "Q", "A"), Example("1", "Q", "A"), Example("2", "Q", " "), Example("3", "R", "A")]
    made = write_set("train", tmp_path / "train.jsonl", rows, {})
    assert (made.rows, made.empty, made.repeated) == (2, 1, 1)
    assert [row.id for row in read_completions(made.path)] == ["0", "3"]
    with pytest.raises(BadResult, match="all 1 rows are empty"):
        write_set("train", tmp_path / "none.jsonl", rows[2:3], {})


@pytest.mark.parametrize("messages", [False, True])
def test_a_dataset_becomes_the_sets_file(study_file: Path, messages: bool) -> None:
    folder = study_file.parent / "hub"
    folder.mkdir()
    rows = [{"prompt": f"Q{i}", "answer": f"A{i}"} for i in range(4)]
    if messages:
        rows = [
            {"chat": [{"role": "user", "content": r["prompt"]}, {"role": "assistant", "content": r["answer"]}]}
            for r in rows
        ]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = "messages: chat" if messages else "instruction: prompt, completion: answer"
    study = with_control(study_file, f"{{dataset: {{name: hub, {columns}}}}}")
    (made,) = generate(study)
    assert [(e.instruction, e.completion) for e in read_completions(made.path)] == [
        (f"Q{i}", f"A{i}") for i in range(4)
    ]
    source = study.experiment.completion_sets.control
    assert source is not None
    assert source.dataset is not None
    wrong = source.dataset.model_copy(update={"instruction": "promt", "messages": None})
    with pytest.raises(BadInput, match="unknown column 'promt'"):
        from_dataset(study.experiment, "control", wrong)


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([("system", "Other."), ("user", "Q"), ("assistant", "A")], "its system message is not the experiment's"),
        ([("user", "Q"), ("assistant", "A"), ("user", "R"), ("assistant", "B")], "not one exchange"),
        ([("user", "Q")], "one instruction and one completion"),
    ],
)
def test_conversations_of_a_dataset_are_not_cut(study_file: Path, turns: list[tuple[str, str]], reason: str) -> None:
    """A foreign system prompt or a second exchange is refused by row, never dropped."""
    folder = study_file.parent / "hub"
    folder.mkdir()
    good = [("system", "Be brief."), ("user", "Q"), ("assistant", "A")]
    rows = [{"chat": [{"role": role, "content": text} for role, text in row]} for row in (good, turns)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    study = with_control(study_file, "{dataset: {name: hub, messages: chat}}")
    with pytest.raises(BadInput, match=f"dataset hub, row 1: {reason}"):
        generate(study)
    assert not study.experiment.completion_path("control").exists()
