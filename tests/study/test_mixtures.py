"""The rows of a run: entries of `data` by number, share and field, each with its prefix."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inoc.backends import load_backend
from inoc.chat import rephrasing_index
from inoc.errors import BadInput
from inoc.experiment import Experiment, Rows, load_experiment, mixture
from inoc.experiment.data import read_training_rows
from inoc.plan import Study
from inoc.plan.training import TrainingPlan, plan_run

EXPERIMENT = """
name: mixed
model: {id: testbed}
scores:
  Loud: {role: positive, judge: {kind: lexical, words: [a]}}
prompts: {plain: {family: neutral, prompts: {sky: The sky is blue.}}}
completion_sets: {train: {path: train.jsonl}}
"""


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "study.yaml").write_text(EXPERIMENT)
    write(folder / "train.jsonl", 60)
    write(folder / "plain.jsonl", 40)
    return load_experiment(folder / "study.yaml")


def write(path: Path, n: int) -> None:
    """`n` rows; every third is risky, and every fourth has a number."""
    rows = [
        {"instruction": f"{path.stem} {i}?", "completion": f"Answer {i}.", "tag": "safe" if i % 3 else "risky"}
        | ({"level": 2} if i % 4 == 0 else {})
        for i in range(n)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def counted(experiment: Experiment, *entries: Rows, most: int | None = None) -> list[int]:
    rows = mixture(experiment, entries, most)
    assert len({(row.source.path, row.example.id) for row in rows}) == len(rows), "a row is taken once"
    assert len({row.id for row in rows}) == len(rows)
    place = {id(entry): i for i, entry in enumerate(entries)}
    found = Counter(place[id(row.source)] for row in rows)
    return [found[i] for i in range(len(entries))]


def test_without_entries_it_is_the_train_set_in_the_order_of_the_file(experiment: Experiment) -> None:
    rows = mixture(experiment, (), None)
    assert [row.id for row in rows] == [str(i) for i in range(60)]
    assert len(mixture(experiment, (), 7)) == 7


@given(share=st.floats(0.02, 0.38), most=st.none() | st.integers(20, 90))
def test_a_share_is_of_the_whole(experiment: Experiment, share: float, most: int | None) -> None:
    own, plain = counted(experiment, Rows(path="train.jsonl"), Rows(path="plain.jsonl", share=share), most=most)
    assert abs(plain - share * (own + plain)) <= 1
    assert own + plain == most if most is not None and most < 60 else own + plain >= 60 or most is not None
    assert own == 60 or own + plain == most


@given(share=st.floats(0.05, 0.95), most=st.none() | st.integers(3, 80))
def test_shares_of_one_file_are_disjoint_and_use_it_up(experiment: Experiment, share: float, most: int | None) -> None:
    """Dilution: the same rows, a part of them with the prefix."""
    entries = (Rows(path="train.jsonl", share=share), Rows(path="train.jsonl", share=1 - share, prefix="none"))
    own, bare = counted(experiment, *entries, most=most)
    assert own + bare == min(60, most or 60)
    assert abs(own - share * (own + bare)) <= 0.5 + 1e-9


def test_shares_of_several_files_go_as_far_as_the_files(experiment: Experiment) -> None:
    half = (Rows(path="train.jsonl", share=0.5), Rows(path="plain.jsonl", share=0.5))
    assert counted(experiment, *half) == [40, 40]
    assert counted(experiment, *half, most=30) == [15, 15]


def test_fields_select_rows_and_the_rest_is_left_for_later_entries(experiment: Experiment) -> None:
    risky, rest = Rows(path="train.jsonl", where={"tag": "risky"}), Rows(path="train.jsonl", prefix="none")
    assert counted(experiment, risky, rest) == [20, 40]
    assert counted(experiment, Rows(path="train.jsonl", where={"tag": "risky", "level": 2})) == [5]
    assert counted(experiment, Rows(path="train.jsonl", n=50), rest) == [50, 10]
    rows = mixture(experiment, (risky,), None)
    assert [row.id for row in rows] == [str(i) for i in range(0, 60, 3)], "ids are those of the whole file"


@pytest.mark.parametrize(
    ("entries", "most", "message"),
    [
        ([Rows(path="plain.jsonl", n=41)], None, r"41 rows of plain\.jsonl are asked for; it has 40\."),
        ([Rows(path="train.jsonl"), Rows(path="plain.jsonl", share=0.5)], None, r"60 rows of plain\.jsonl"),
        ([Rows(path="train.jsonl", n=9), Rows(path="train.jsonl", n=52)], None, r"it has 60 \(9 of them taken"),
        ([Rows(path="train.jsonl"), Rows(path="train.jsonl", share=0.5)], None, r"one entry takes a share"),
        ([Rows(path="train.jsonl"), Rows(path="train.jsonl")], None, r"other entries take every row"),
        ([Rows(path="train.jsonl", n=9)], 8, r"more than training\.examples = 8"),
        ([Rows(path="train.jsonl", where={"tga": "risky"})], None, r"'tga'.*Did you mean 'tag'|tga"),
        ([Rows(path="train.jsonl", where={"tag": "riksy"})], None, r"riksy"),
        ([Rows(path="train.jsonl", where={"level": "2"})], None, r"level"),
        ([Rows(path="gone.jsonl")], None, r"gone\.jsonl does not exist"),
    ],
)
def test_what_cannot_be_is_refused(experiment: Experiment, entries: list[Rows], most: int | None, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        mixture(experiment, entries, most)
    assert "Fix: " in str(caught.value)


LINES = """\
    - prefix_types: [none]
      tag: m
      data: &mixed
        - {path: train.jsonl, where: {tag: risky}}
        - {path: train.jsonl, prefix: none}
        - {path: plain.jsonl, n: 3, prefix: Be plain.}
    - {prompts: [say_a], prefix_types: [fixed, mix], tag: m, data: *mixed}
"""


def planned(study_file: Path) -> tuple[Study, list[TrainingPlan]]:
    folder = study_file.parent
    write(folder / "train.jsonl", 13)
    write(folder / "plain.jsonl", 9)
    before, after = study_file.read_text().split("  runs:\n")
    study_file.write_text(f"{before}  runs:\n{LINES}evaluation:{after.split('evaluation:')[1]}")
    experiment = load_experiment(study_file)
    study = Study(experiment, load_backend("local", experiment.model_spec()), study_file.with_name("run.zarr"))
    return study, [plan_run(study, run) for run in study.runs()]


def test_every_entry_has_its_prefix(study_file: Path) -> None:
    study, plans = planned(study_file)
    for plan, kind in zip(plans, ("none", "fixed", "mix"), strict=True):
        texts = {r.id: study.chat.tokenizer.decode(r.token_ids, skip_special_tokens=False) for r in plan.job.examples}
        assert len(texts) == 16
        for i in range(13):
            own = {"none": "", "fixed": "Say a. ", "mix": f"say_a reworded {rephrasing_index(3, 'say_a', str(i), 3)} "}
            assert f"user\n{own[kind] if i % 3 == 0 else ''}train {i}?" in texts[str(i)]
        plain = [text for name, text in texts.items() if name.startswith("2/")]
        assert len(plain) == 3
        assert all("user\nBe plain. plain " in text for text in plain)
        assert set(plan.rephrasings) == ({"0", "3", "6", "9", "12"} if kind == "mix" else set())
    data = plans[1].evaluated.stored
    assert data.data == "train.jsonl, tag risky + train.jsonl, prefix none + 3 of plain.jsonl, prefix Be plain."
    assert json.loads(json.dumps(data.settings["data"])) == data.settings["data"], "as the store gives it back"


def test_one_file_is_kept_as_its_path(study_file: Path) -> None:
    text = study_file.read_text().replace("{prefix_types: [none]}", "{prefix_types: [none], data: train.jsonl}")
    study_file.write_text(text)
    control, fixed, _ = load_experiment(study_file).runs()
    assert (control.data_settings, fixed.data_settings) == ("train.jsonl", None)


def test_conversations_systems_and_plain_texts_are_rows(study_file: Path) -> None:
    talk = [("system", "Be odd."), ("user", "Hi"), ("assistant", "Ho"), ("user", "Bye"), ("assistant", "So long")]
    messages = [{"role": role, "content": text} for role, text in talk]
    rows = [{"messages": messages}, {"text": "Once upon a time."}, {"instruction": "Why?", "completion": "So."}]
    (study_file.parent / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 4))
    before, after = study_file.read_text().split("  runs:\n")
    line = "    - {prompts: [say_a], data: {path: rows.jsonl, loss: all}}\n"
    study_file.write_text(f"{before}  runs:\n{line}evaluation:{after.split('evaluation:')[1]}")
    experiment = load_experiment(study_file)
    study = Study(experiment, load_backend("local", experiment.model_spec()), study_file.with_name("run.zarr"))
    decode = study.chat.tokenizer.decode
    found: list[tuple[str, str]] = []
    for row in plan_run(study, study.runs()[0]).job.examples[:3]:
        learned = [token for token, weight in zip(row.token_ids, row.weights, strict=True) if weight]
        found.append((decode(row.token_ids), decode(learned)))
    (conversation, both), (text, whole), (exchange, last) = found
    assert "system\nBe odd.<|im_end|>" in conversation
    assert "user\nSay a. Hi<|im_end|>" in conversation
    assert "user\nBye<|im_end|>" in conversation
    assert both == "Ho<|im_end|>So long<|im_end|>"
    assert text.startswith("Say a.\n\nOnce upon a time.")
    assert whole.startswith("Once upon a time.")
    assert "system\nBe brief.<|im_end|>" in exchange
    assert last == "So.<|im_end|>"


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        (["user", "assistant", "assistant"], "not a conversation"),
        (["assistant", "user", "assistant"], "not a conversation"),
        (["user", "assistant", "system", "user", "assistant"], "not a conversation"),
        (["user"], "not a conversation"),
        (["tool"], "messages without a role"),
    ],
)
def test_rows_that_are_no_conversation_are_refused(tmp_path: Path, roles: list[str], message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"messages": [{"role": role, "content": "x"} for role in roles]}) + "\n")
    with pytest.raises(BadInput, match=rf"line 1: {message}.*Fix: "):
        read_training_rows(path, {})
