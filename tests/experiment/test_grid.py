"""The grid of runs, and what stages take from an experiment."""

from pathlib import Path

import pytest
import yaml

from inoc.backends.protocols import AdapterSettings
from inoc.errors import BadInput
from inoc.experiment import Experiment, load_experiment

from .test_check import GOOD

GRID = (
    GOOD
    + """\
rephrasings: {path: pools}
training:
  rank: 16
  runs:
    - {prefix_types: [none], seeds: [0, 1]}
    - {prompts: [plain, clown], prefix_types: [fixed, mix]}
    - {prompts: [clown], tag: slow, overrides: {learning_rate: 1e-5, targets: [q_proj]}}
evaluation: {questions: held_out.jsonl}
"""
)


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    path = tmp_path / "study.yaml"
    path.write_text(GRID)
    return load_experiment(path)


def test_runs_are_written_out_in_order(experiment: Experiment) -> None:
    runs = experiment.runs()
    assert [run.name for run in runs] == [
        "no_inoculation-s0",
        "no_inoculation-s1",
        "sky-fixed-s0",
        "clown-fixed-s0",
        "sky-mix-s0",
        "clown-mix-s0",
        "clown-fixed-s0-slow",
    ]
    assert [run.prompt for run in runs[:3]] == ["", "", "sky"]
    assert {run.settings.rank for run in runs} == {16}
    assert runs[-1].settings.learning_rate == 1e-5
    assert runs[-1].settings.adapter == AdapterSettings(rank=16, targets=("q_proj",))
    assert runs[0].settings.learning_rate == 1e-4


def test_default_settings_are_the_documented_ones(experiment: Experiment) -> None:
    settings = experiment.training
    assert (settings.alpha, settings.rslora, settings.dropout) == (16.0, True, 0.0)
    assert (settings.warmup, settings.weight_decay, settings.optimizer) == (30, 0.01, "adamw_8bit")
    assert settings.batch_size * settings.accumulation == 32
    assert experiment.evaluation is not None
    assert experiment.evaluation.questions["questions"].path == "held_out.jsonl"
    asked = experiment.evaluation.questions["questions"]
    assert (asked.n, asked.samples) == (200, 1)
    assert experiment.evaluation.conditions == ("default", "training")


def test_select_by_key_and_group(experiment: Experiment) -> None:
    assert experiment.select("all") == ("answer", "clown", "sky")
    assert experiment.select(("clown", "strong")) == ("clown", "answer")
    with pytest.raises(KeyError):
        experiment.select(("nobody",))


def test_json_round_trip(experiment: Experiment, tmp_path: Path) -> None:
    again = Experiment.model_validate_json(experiment.model_dump_json())
    assert again.located(tmp_path) == experiment
    assert str(experiment.completion_path("train").parent) not in experiment.model_dump_json()


def test_no_system_prompt_and_an_empty_one_differ(experiment: Experiment) -> None:
    empty = yaml.safe_load(GRID) | {"model": {"id": "testbed", "system_prompt": ""}}
    assert experiment.model.system_prompt is None
    assert Experiment.model_validate(empty).model.system_prompt == ""


def test_a_local_model_folder_is_relative_to_the_file(experiment: Experiment, tmp_path: Path) -> None:
    assert experiment.model_spec().id == "testbed"
    (tmp_path / "testbed").mkdir()
    assert experiment.model_spec().id == str(tmp_path / "testbed")


@pytest.mark.parametrize(
    ("first", "more", "problem"),
    [
        ("rank: 4", "merge: true, overrides: {method: full}", None),
        ("rank: 4", "overrides: {rank: 4}", None),
        ("method: full", "overrides: {method: full}", None),
        ("rank: 4", "merge: true", "trains all weights after an adapter was merged"),
        ("method: full", "merge: true, overrides: {method: full}", "trains all weights after an adapter was merged"),
        ("rank: 4", "overrides: {method: full}", "continues a run of method lora with full"),
        ("method: full", "overrides: {rank: 4}", "continues a run of method full with lora"),
    ],
)
def test_an_adapter_is_merged_where_a_line_says_so(tmp_path: Path, first: str, more: str, problem: str | None) -> None:
    path = tmp_path / "study.yaml"
    line = f"    - {{prefix_types: [none], tag: a, overrides: {{{first}}}}}\n"
    line += f"    - {{prefix_types: [none], tag: b, start: no_inoculation-s0-a, {more}}}\n"
    path.write_text(GRID.replace("evaluation:", line + "evaluation:"))
    if problem is None:
        assert load_experiment(path).runs()[-1].merge == more.startswith("merge")
    else:
        with pytest.raises(BadInput, match=problem):
            load_experiment(path)
