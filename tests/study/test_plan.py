"""What a study compiles into: the same values and hashes every time, and a changed setting changes its own only."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from inoc.backends.local import LocalBackend
from inoc.chat import rephrasing_index
from inoc.errors import BadInput
from inoc.experiment import load_experiment, read_completions
from inoc.plan import Study, plan_evaluation, plan_scores, plan_training
from inoc.plan.identity import job_identity
from inoc.plan.texts import Question, Texts, elicitation_texts, sample_requests
from inoc.values import Sampling


def compiled(path: Path, old: str = "", new: str = "") -> Study:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1) if old else text)
    experiment = load_experiment(path)
    path.write_text(text)
    return Study(experiment, LocalBackend.from_spec(experiment.model_spec()), path.with_name("run.zarr"))


def hashes(study: Study) -> dict[str, Mapping[object, str]]:
    """Every content hash of a plan, by what it is of."""
    scores = plan_scores(study)
    return {
        "units": {unit: scores.hash(unit) for unit in scores.units},
        "elicitation": {key: texts.hash for key, texts in elicitation_texts(study, ["", *study.prompts()]).items()},
        "questions": {
            (entry.name, cell.step, cell.condition): cell.texts.hash
            for plan in plan_training(study)
            for entry in [plan_evaluation(study, plan.run, plan.updates)]
            for cell in entry.cells
        },
        "judgments": {
            (entry.name, cell.step, cell.condition): cell.hash
            for plan in plan_training(study)
            for entry in [plan.evaluated]
            for cell in entry.cells
        },
    }


RUNS = ("no_inoculation-s0", "say_a-fixed-s0", "say_a-mix-s0")


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("", "", {}),
        ("learning_rate: 1e-3", "learning_rate: 2e-3", {}),
        (
            "Say a.",
            "Say aa.",
            {
                "units": {("train", "fixed", "say_a")},
                "elicitation": {"say_a"},
                "questions": {("say_a-fixed-s0", step, "training") for step in (2, 3)},
                "judgments": {("say_a-fixed-s0", step, "training") for step in (2, 3)},
            },
        ),
        (
            "words: [a, e, i, o, u]",
            "words: [a]",
            {"judgments": {(run, s, c) for run in RUNS for s in (2, 3) for c in ("default", "training")}},
        ),
    ],
)
def test_a_change_changes_the_hashes_of_what_it_decides(
    study_file: Path, old: str, new: str, changed: Mapping[str, set[object]]
) -> None:
    before, after = hashes(compiled(study_file)), hashes(compiled(study_file, old, new))
    for kind, table in before.items():
        assert set(table) == set(after[kind])
        assert {key for key, value in table.items() if after[kind][key] != value} == changed.get(kind, set())


def test_sampling_and_seed_change_what_they_decide(study_file: Path) -> None:
    before = hashes(compiled(study_file))
    longer = hashes(compiled(study_file, "max_tokens: 6", "max_tokens: 7"))
    assert not set(before["questions"].values()) & set(longer["questions"].values())
    assert before["units"] == longer["units"]
    assert not set(before["units"].values()) & set(hashes(compiled(study_file, "seed: 3", "seed: 4"))["units"].values())


def test_the_identity_of_a_job_is_compared_field_by_field(study_file: Path) -> None:
    study = compiled(study_file)
    plan = plan_training(study, ["say_a-fixed-s0"])[0]
    first = job_identity(plan.job, study)
    assert first == job_identity(replace(plan.job, directory="elsewhere", resume_every=1), study)
    rows = replace(plan.job, examples=(replace(plan.job.examples[0], id="other"), *plan.job.examples[1:]))
    for job, field in (
        (replace(plan.job, learning_rate=0.5), "learning_rate"),
        (replace(plan.job, adapter=replace(plan.job.adapter, rank=1)), "adapter"),
        (replace(plan.job, batches=plan.job.batches[::-1]), "batches"),
        (rows, "examples"),
    ):
        other = job_identity(job, study)
        assert {name for name in first if first[name] != other[name]} == {field}


def test_the_rewording_of_a_question_is_keyed_by_the_instruction(study_file: Path) -> None:
    """A seeded rephrasing per instruction, the same at every step, whatever else is asked."""
    study = compiled(study_file, "size: 3", "size: 3")
    (mix,) = (run for run in study.runs() if run.prefix_type == "mix")
    evaluated = plan_evaluation(study, mix, 3)
    asked = [[q.prefix for q in cell.texts.questions] for cell in evaluated.cells if cell.condition == "training"]
    assert len(asked) == 2
    for prefixes in asked:
        indices = [rephrasing_index(3, "say_a", f"evaluation/{label}", 3) for label in study.instruction_labels]
        assert prefixes == [f"say_a reworded {index}" for index in indices]
    assert len(set(asked[0])) > 1
    plain = [cell for cell in evaluated.cells if cell.condition == "default"]
    assert {q.prefix for cell in plain for q in cell.texts.questions} == {None}


def test_texts_may_be_exactly_as_long_as_the_context(study_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples under every prompt, and questions with room for an answer of max_tokens; one token more is refused."""
    study = compiled(study_file)
    rows, chat = read_completions(study_file.with_name("train.jsonl")), study.chat
    prompts = [study.experiment.prompt(key).text for key in study.prompts()]
    length = max(
        len(chat.context(row.instruction, text)) + len(chat.completion(row.completion, row.finish))
        for row in rows
        for text in prompts
    )
    monkeypatch.setattr(LocalBackend, "context_length", length)
    assert plan_scores(study, prefix_types=["fixed"]).units
    monkeypatch.setattr(LocalBackend, "context_length", length - 1)
    with pytest.raises(BadInput, match=rf"under prompt '.*' exceed the model's {length - 1}"):
        plan_scores(study, prefix_types=["fixed"])
    question = Question("q", "Why?", prompts[0])
    texts = Texts((question,), Sampling(max_tokens=5), study_file, "")
    room = len(chat.context("Why?", prompts[0])) + 5
    assert len(sample_requests(chat, room, [texts])) == 1
    with pytest.raises(BadInput, match=f"max_tokens 5 exceed the model's {room - 1}"):
        sample_requests(chat, room - 1, [texts])
