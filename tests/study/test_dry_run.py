"""`--dry-run` of every stage: the same JSON, nothing sent, nothing written; and changes are refused before any work."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from inoc.backends.local import LocalBackend
from inoc.backends.protocols import Completion, SampleRequest
from inoc.cli import stage_options
from inoc.errors import OtherSettings
from inoc.experiment import load_experiment
from inoc.plan import Study
from inoc.plan.texts import elicitation_texts
from inoc.stages.elicit import elicit
from inoc.stages.evaluate import evaluate
from inoc.stages.pipeline import STAGES, forecast_study, run_study
from inoc.stages.train import train
from inoc.store import open_store
from inoc.store.lock import Lock
from inoc.values import Sampling

from ..command_line import run_inoc
from .conftest import STUDY, write_study

EXPECTED = {
    "generate": [("control", "answers", 6)],
    "score": [("train", "units", 5)],
    "describe": [("self-perplexity", "prompts", 2), ("embeddings", "prompts", 2)],
    "elicit": [("(no prompt)", "answers", 4), ("say_a", "answers", 4), ("use_digits", "answers", 4)],
    "train": [(name, "updates", 3) for name in ("no_inoculation-s0", "say_a-fixed-s0", "say_a-mix-s0")],
    "evaluate": [(name, "answers", 16) for name in ("no_inoculation-s0", "say_a-fixed-s0", "say_a-mix-s0")],
}


class Dead(LocalBackend):
    """The model's tokenizer and identity; whatever computes fails."""

    def compute_scores(self, *args: object) -> Iterator[object]:
        raise AssertionError("a dry run scores nothing")

    def compute_samples(self, *args: object) -> Iterator[object]:
        raise AssertionError("a dry run samples nothing")

    def train(self, *args: object) -> Iterator[object]:
        raise AssertionError("a dry run trains nothing")

    def embed(self, *args: object) -> object:
        raise AssertionError("a dry run embeds nothing")


def open_study(path: Path, kind: type[LocalBackend] = LocalBackend) -> Study:
    experiment = load_experiment(path)
    return Study(experiment, kind(experiment.model_spec()), path.with_name("run.zarr"))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a study that has run."""
    path = write_study(tmp_path_factory.mktemp("done"))
    run_study(open_study(path))
    return path


@pytest.fixture
def copied(done: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(done.parent, tmp_path / "copy")) / done.name


def test_every_stage_says_what_it_would_do_and_does_nothing(study_file: Path) -> None:
    made = "  train: {path: train.jsonl}\n  control: {generate: {n: 6, max_tokens: 5}}\n"
    study_file.write_text(STUDY.replace("  train: {path: train.jsonl}\n", made))
    before = files(study_file.parent)
    forecasts = {forecast.stage: forecast for forecast in forecast_study(open_study(study_file, Dead))}
    assert list(forecasts) == list(STAGES)
    for stage, rows in EXPECTED.items():
        found = forecasts[stage].rows
        assert [(row.name, row.unit, row.total) for row in found] == rows
        assert all(row.done == 0 and row.tokens > 0 for row in found)
    assert forecasts["score"].notes == ("control is made by `inoc generate` first and is not counted",)
    assert files(study_file.parent) == before


@pytest.mark.parametrize("command", [*EXPECTED, "run"])
def test_every_command_has_it_with_one_shape(copied: Path, command: str) -> None:
    before = files(copied.parent)
    code, out, err = run_inoc(command, str(copied), "--store", str(copied.with_name("run.zarr")), "--dry-run", "--json")
    assert code == 0, err
    documents = json.loads(out)
    for document in documents if command == "run" else [documents]:
        assert set(document) == {"stage", "rows", "tokens", "price", "notes"}
        assert document["tokens"] == 0, "everything is there"
        for row in document["rows"]:
            assert set(row) == {"name", "unit", "total", "done", "pending", "tokens", "detail"}
            assert (row["done"], row["pending"]) == (row["total"], 0)
    assert files(copied.parent) == before


def test_rephrase_counts_texts(study_file: Path) -> None:
    (study_file.parent / "pools" / "say_a.jsonl").write_text('{"text": "One a."}\n')
    code, out, err = run_inoc("rephrase", str(study_file), "--dry-run", "--json")
    assert code == 0, err
    rows = json.loads(out)["rows"]
    assert [(row["name"], row["total"], row["done"]) for row in rows] == [("say_a", 3, 1), ("use_digits", 3, 3)]


def test_the_tokens_of_answers_are_their_contexts_and_full_lengths(study_file: Path) -> None:
    study = open_study(study_file, Dead)
    (forecast,) = forecast_study(study, ("elicit",))
    for row, texts in zip(forecast.rows, elicitation_texts(study, ["", "say_a", "use_digits"]).values(), strict=True):
        contexts = [study.chat.context(q.instruction, q.prefix) for q in texts.questions]
        assert row.tokens == sum(map(len, contexts)) + 4 * 6


def test_sampled_answers_count_and_are_still_to_judge(study_file: Path) -> None:
    study = open_study(study_file)
    judges = study.judges.by_score
    judges["Vowel"] = None  # type: ignore[index]
    with pytest.raises(AttributeError):
        elicit(study)
    (forecast,) = forecast_study(open_study(study_file, Dead), ("elicit",))
    assert [(row.done, row.detail) for row in forecast.rows] == [
        (4, "4 to judge"),
        (0, "4 to judge"),
        (0, "4 to judge"),
    ]


class Unasked(LocalBackend):
    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        raise AssertionError("sampled before the refusal")


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("words: [a, e, i, o, u]", "words: [a, e]", ["judge[0]: stored "]),
        ("n: 4, max_tokens", "n: 3, max_tokens", ["instruction: stored 4, now 3"]),
        ("evaluation: {", "evaluation: {seed: 5, ", ["instruction["]),
        ("max_tokens: 6", "max_tokens: 7", ["sampling.max_tokens: stored 6, now 7"]),
        ("max_tokens: 6", "max_tokens: 6, temperature: 0.5", ["sampling.temperature: stored 1.0, now 0.5"]),
    ],
)
def test_changed_judges_and_instructions_are_refused_before_any_work(
    copied: Path, old: str, new: str, lines: list[str]
) -> None:
    before = files(copied.with_name("run.zarr"))
    text = copied.read_text()
    assert old in text
    # one more prompt would be sampled, and one more step judged
    more = text.replace(old, new).replace("{use_digits: Use digits.}", "{use_digits: Use digits., more: Use 1.}")
    copied.write_text(more.replace("checkpoints: [2]", "checkpoints: [0, 2]"))
    with pytest.raises(OtherSettings) as refused:
        elicit(open_study(copied, Unasked))
    assert [line for line in str(refused.value).splitlines()[1:] if "elicitation." in line]
    with pytest.raises(OtherSettings) as again:
        evaluate(open_study(copied, Unasked))
    for line in lines:
        assert f"elicitation.{line}" in str(refused.value)
        assert f"runs.say_a-mix-s0.{line}" in str(again.value)
    assert files(copied.with_name("run.zarr")) == before
    code, _, err = run_inoc("elicit", str(copied), "--store", str(copied.with_name("run.zarr")), "--dry-run")
    assert (code, "elicitation." in err) == (4, True)


def test_changed_training_is_refused_field_by_field_before_any_work(copied: Path) -> None:
    text = copied.read_text()
    run = "    - {prompts: [use_digits], prefix_types: [fixed]}\n"
    changed = text.replace("learning_rate: 1e-3", "learning_rate: 2e-3").replace("evaluation:", run + "evaluation:")
    copied.write_text(changed)
    before = files(copied.parent)
    for check in (train, lambda study: forecast_study(study, ("train",))):
        with pytest.raises(OtherSettings) as refused:
            check(open_study(copied, Dead))
        _, *lines = str(refused.value).splitlines()
        assert [line.strip() for line in lines if "no_inoculation" in line] == [
            "runs.no_inoculation-s0.settings.learning_rate: stored 0.001, now 0.002",
            "runs.no_inoculation-s0.learning_rate: stored 0.001, now 0.002",
        ]
    assert files(copied.parent) == before


def test_run_compares_for_all_its_stages_before_the_first(copied: Path) -> None:
    """One more prompt would be scored and elicited, and only then would training meet its other learning rate."""
    text = copied.read_text().replace("{use_digits: Use digits.}", "{use_digits: Use digits., more: Use 1.}")
    copied.write_text(text.replace("learning_rate: 1e-3", "learning_rate: 2e-3"))
    before = files(copied.parent)
    with pytest.raises(OtherSettings, match=r"settings.learning_rate: stored 0.001, now 0.002"):
        run_study(open_study(copied, Dead))
    assert files(copied.parent) == before


def test_a_held_lock_is_met_before_the_backend_loads(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def loads(*given: object) -> None:
        raise AssertionError("the backend was loaded")

    monkeypatch.setattr(stage_options, "open_backend", loads)
    store = copied.with_name("run.zarr")
    with Lock(store):
        code, _, err = run_inoc("train", str(copied), "--store", str(store))
    assert (code, "is being written by process" in err) == (2, True)


def test_the_history_names_the_stage_that_was_accepted_first(copied: Path) -> None:
    (entry,) = open_store(copied.with_name("run.zarr")).history
    assert str(entry["command"]).startswith("inoc ")
    assert set(open_store(copied.with_name("run.zarr")).provenance["threads"]) >= {"blas"}  # type: ignore[call-overload]


def test_a_store_and_a_record_of_earlier_versions_resume(copied: Path) -> None:
    """The identity had the key "alignment", checkpoints the key "recipe", records a hash instead of settings."""
    from inoc.store.files import group_document, node_bytes
    from inoc.store.opening import read_root

    place = copied.with_name("run.zarr")
    root = read_root(place)
    identity = dict(root["identity"])  # type: ignore[call-overload]
    identity["alignment"] = identity.pop("recipe")
    (place / "zarr.json").write_bytes(node_bytes(group_document({**root, "identity": identity})))
    for path in copied.with_name("run.work").glob("training/*/trained.json"):
        record = json.loads(path.read_text())
        record["job"] = "0123456789abcdef"
        for name in ("identity", "schema", "sha256"):
            del record[name]
        for point in record["checkpoints"]:
            point["recipe"] = point.pop("adapter")
            del point["content"]
            point["location"] = f"/gone/run.work/{path.parent.name}/{Path(point['location']).name}"
        path.write_text(json.dumps(record, indent=1))
    before = files(place)
    for forecast in forecast_study(open_study(copied, Dead)):
        assert all(row.done == row.total for row in forecast.rows)
    run_study(open_study(copied, Dead))
    assert files(place) == before
