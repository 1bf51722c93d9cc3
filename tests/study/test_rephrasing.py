"""One assignment of rephrasings per store: an example is trained with the rewording it was scored with, or refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import click
import pytest

import inoc
from inoc.backends.local import LocalBackend
from inoc.cli.stage_options import Call
from inoc.errors import BadInput, OtherSettings
from inoc.experiment import load_experiment
from inoc.plan import Study, TrainingPlan, plan_training
from inoc.stages.score import score
from inoc.stages.train import compare_runs, train
from inoc.store.store import open_store
from inoc.values import Recipe

from .conftest import STUDY, write_study

POOL = 7
LIMITS = "{path: train.jsonl, limit: 120, seed: 5}"


def write(folder: Path, examples: int) -> Path:
    """130 rows of training data, of which 120 are scored and `examples` trained on."""
    text = STUDY.replace("{path: train.jsonl}", LIMITS).replace("size: 3", f"size: {POOL}")
    path = write_study(folder, text.replace("  checkpoints: [2]\n", f"  checkpoints: [2]\n  examples: {examples}\n"))
    rows = [{"id": f"row {i}", "instruction": f"Question {i}?", "completion": f"Answer {i}."} for i in range(130)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "pools" / "say_a.jsonl").write_text("".join(f'"say a, worded {i}"\n' for i in range(POOL)))
    return path


def open_study(path: Path, recipe: Recipe = "corrected") -> Study:
    experiment = load_experiment(path)
    return Study(experiment, LocalBackend.from_spec(experiment.model_spec()), path.with_name("run.zarr"), recipe)


def mix_run(study: Study) -> TrainingPlan:
    return next(plan for plan in plan_training(study) if plan.run.prefix_type == "mix")


@pytest.fixture(scope="module", params=["corrected", "published"])
def scored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recipe]:
    """A study whose `say_a` is scored as a mix over 120 of 130 rows, under each recipe."""
    path = write(tmp_path_factory.mktemp("scored"), 130)
    score(open_study(path, request.param), sets=["train"], prefix_types=["mix"], prompts=["say_a"])
    return path, request.param


@pytest.fixture
def copied(scored: tuple[Path, Recipe], tmp_path: Path) -> tuple[Path, Recipe]:
    return Path(shutil.copytree(scored[0].parent, tmp_path / "copy")) / scored[0].name, scored[1]


def only_scored_rows(path: Path) -> None:
    """Let the file hold the scored rows alone, so that all are trained on."""
    ids = set(open_store(path.with_name("run.zarr")).labels("completions/train/example_id"))
    rows = [line for line in path.with_name("train.jsonl").read_text().splitlines() if json.loads(line)["id"] in ids]
    path.with_name("train.jsonl").write_text("".join(f"{row}\n" for row in rows))


def test_all_120_pairs_agree(copied: tuple[Path, Recipe]) -> None:
    path, recipe = copied
    only_scored_rows(path)
    with click.Context(click.Command("train")):  # whose end closes the backend
        study = Call(path, path.with_name("run.zarr"), None, False, False).study()
    assert study.recipe == recipe, "every stage follows the store's recipe"
    store = inoc.open_store(study.store)
    assert store.identity["recipe"] == recipe
    names = store.labels("completions/train/example_id")
    at = store.token_logprobs("train").prompts.index("say_a")
    picks = [int(pick) for pick in store.read("logprobs/train/rephrasing")[at]]
    plan = mix_run(study)
    trained = {row.id: study.chat.tokenizer.decode(row.token_ids) for row in plan.job.examples}
    assert len(names) == len(trained) == 120
    for name, pick in zip(names, picks, strict=True):
        assert f"user\nsay a, worded {pick} Question " in trained[name]
        assert plan.rephrasings[name] == f"say a, worded {pick}"
    if recipe == "published":
        assert picks == [k % POOL for k in range(120)]
    assert compare_runs(study, store, [plan]) == {}


def test_rows_outside_the_scored_sample(copied: tuple[Path, Recipe]) -> None:
    path, recipe = copied
    study = open_study(path, recipe)
    if recipe == "corrected":
        assert len(mix_run(study).rephrasings) == 130
        return
    with pytest.raises(BadInput, match=r"10 of 130 examples, the first 'row \d+', are not in the scored sample"):
        mix_run(study)


def test_other_data_has_no_positions_in_the_sample(copied: tuple[Path, Recipe]) -> None:
    path, recipe = copied
    only_scored_rows(path)
    shutil.copyfile(path.with_name("train.jsonl"), path.with_name("more.jsonl"))
    path.write_text(path.read_text().replace("- {prompts: [say_a],", "- {prompts: [say_a], data: more.jsonl,"))
    study = open_study(path, recipe)
    if recipe == "corrected":
        assert len(mix_run(study).rephrasings) == 120
        return
    with pytest.raises(BadInput, match="position in the scored sample; `data` names other rows"):
        mix_run(study)


def test_the_other_recipe_is_refused(copied: tuple[Path, Recipe]) -> None:
    path, recipe = copied
    only_scored_rows(path)
    other: Recipe = "published" if recipe == "corrected" else "corrected"
    with pytest.raises(OtherSettings) as refused:
        train(open_study(path, other))
    assert f"recipe: stored {recipe!r}, now {other!r}" in str(refused.value)


def test_another_pool_is_refused_before_training(copied: tuple[Path, Recipe]) -> None:
    path, recipe = copied
    only_scored_rows(path)
    path.write_text(path.read_text().replace(f"size: {POOL}", "size: 6"))
    with pytest.raises(OtherSettings) as refused:
        train(open_study(path, recipe))
    lines = [line.strip() for line in str(refused.value).splitlines()[1:]]
    assert lines[0] == "rephrasings.say_a: the pool differs from the one it was scored with"
    assert lines[1].startswith("runs.say_a-mix-s0.rephrasings: ")
    assert " of 120 scored examples would be trained with another; " in lines[1]
    assert not (path.with_name("run.work") / "training").exists()


def test_what_counts_is_the_wording_each_example_was_scored_with(copied: tuple[Path, Recipe]) -> None:
    """As in a store that an earlier version scored by another rule, under the same recorded settings."""
    path, recipe = copied
    only_scored_rows(path)
    study = open_study(path, recipe)
    plan, store = mix_run(study), open_store(study.store)
    turned = {name: f"say a, worded {(int(text[-1]) + 1) % POOL}" for name, text in plan.rephrasings.items()}
    with pytest.raises(OtherSettings, match="120 of 120 scored examples would be trained with another"):
        compare_runs(study, store, [replace(plan, rephrasings=turned)])


def test_scoring_after_training_keeps_the_pool_of_the_training(study_file: Path) -> None:
    train(open_study(study_file), ["say_a-mix-s0"])
    store = open_store(study_file.with_name("run.zarr"))
    assert store.rephrasings["say_a"] == tuple(f"say_a reworded {i}" for i in range(3))
    (study_file.parent / "pools" / "say_a.jsonl").write_text('"a"\n"b"\n"c"\n')
    with pytest.raises(OtherSettings, match=r"rephrasings.say_a: the pool differs from the one it was trained with"):
        score(open_study(study_file))
