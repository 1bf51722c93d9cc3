"""Completion sets that inoc makes: sampled from the base model, or taken from a dataset."""

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from servers.openai_stub import Call, Reply, StubServer, chat_reply

from inoc.backends import load_backend
from inoc.errors import BadInput, BadResult
from inoc.experiment import Example, load_experiment, read_completions
from inoc.plan import Study
from inoc.stages.datasets import from_dataset, write_set
from inoc.stages.generate import forecast_generation, generate
from inoc.testing import tiny_model

from ..command_line import run_inoc


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


def chat(call: Call) -> Reply:
    return chat_reply([(f"{call.json['messages'][-1]['content']} Oui.", 1.0)])


def test_a_chat_service_writes_a_set(study_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own system prompt and settings; the study's model is not asked, and a kept answer of another model is not
    taken for this one's."""
    monkeypatch.setenv("SERVICE_KEY", "sk-very-secret")
    with StubServer(chat) as stub:
        monkeypatch.setenv("INOC_KEYS", f"SERVICE_KEY={urlsplit(stub.url).netloc}")
        by = "{model: {id: big, system_prompt: Parle.}, backend: {name: openai, options: {url: '%s', key_env: %s}}}"
        by %= (stub.url, "SERVICE_KEY")
        study = with_control(study_file, f"{{generate: {{n: 5, max_tokens: 40, temperature: 0.5, by: {by}}}}}")
        monkeypatch.setattr(type(study.backend), "sample", lambda *given: pytest.fail("the base model is asked"))
        (forecast,) = forecast_generation(study).rows
        assert (forecast.total, forecast.detail) == (5, "by big, without a price")
        assert stub.requests == [], "a dry run sends nothing"
        (made,) = generate(study)
        asked = [call.json for call in stub.requests]
        assert [turn["role"] for turn in asked[0]["messages"]] == ["system", "user"]
        assert {(a["model"], a["temperature"], a["max_tokens"]) for a in asked} == {("big", 0.5, 40)}
        assert {a["messages"][0]["content"] for a in asked} == {"Parle."}
        assert [row.completion for row in read_completions(made.path)] == [
            f"{row.instruction} Oui." for row in read_completions(made.path)
        ]
        record = made.path.with_suffix(".made.json").read_text()
        known = json.loads(record)
        assert (known["model"]["model"], known["system_prompt"], known["temperature"]) == ("big", "Parle.", 0.5)
        assert known["backend"]["name"] == "openai"
        assert "very-secret" not in record
        made.path.unlink()
        assert generate(study)[0].rows == made.rows
        assert len(stub.requests) == 5, "answers are kept"
        made.path.unlink()
        study_file.write_text(study_file.read_text().replace("id: big", "id: small"))
        study = Study(load_experiment(study_file), study.backend, study.store)
        generate(study)
        assert {call.json["model"] for call in stub.requests[5:]} == {"small"}
        assert len(stub.requests) == 10


def test_another_local_model_writes_a_set(study_file: Path) -> None:
    """The same as a study of that model with that system prompt."""
    tiny_model(study_file.parent / "other", "llama", seed=3)
    by = "by: {model: {id: other, system_prompt: Speak.}}"
    study = with_control(study_file, f"{{generate: {{n: 6, max_tokens: 5, {by}}}}}")
    (made,) = generate(study)
    mine = read_completions(made.path)
    made.path.unlink()
    text = study_file.read_text().replace(f", {by}", "")
    study_file.write_text(text.replace("id: model, system_prompt: Be brief.", "id: other, system_prompt: Speak."))
    experiment = load_experiment(study_file)
    generate(Study(experiment, load_backend("local", experiment.model_spec()), study_file.with_name("b.zarr")))
    assert read_completions(made.path) == mine


def test_options_of_the_other_backend_are_checked(study_file: Path) -> None:
    by = "{model: {id: big}, backend: {name: openai, options: {urll: x}}}"
    with_control(study_file, f"{{generate: {{by: {by}}}}}")
    code, out, _ = run_inoc("check", study_file)
    assert code == 2
    assert "completion_sets.control.generate.by.backend.options" in out
    assert "urll" in out


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
