"""Rows, prefixes and batches of a run."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inoc.backends import load_backend
from inoc.chat import rephrasing_index
from inoc.errors import BadInput
from inoc.experiment import Hyperparameters, load_experiment
from inoc.plan import Study, plan_training
from inoc.plan.training import batches, plan_run, training_folder
from inoc.values import Recipe


def test_reference_size_gives_312_full_updates() -> None:
    plan = batches(10_000, Hyperparameters(batch_size=4, accumulation=8), seed=0)
    assert len(plan) == 312
    assert all(len(batch) == 32 for batch in plan)


@given(
    n=st.integers(1, 60),
    size=st.integers(1, 5),
    accumulation=st.integers(1, 3),
    epochs=st.sampled_from([0.5, 1.0, 2.0, 2.5]),
    seed=st.integers(0, 3),
)
def test_every_epoch_sees_every_row_once(n: int, size: int, accumulation: int, epochs: float, seed: int) -> None:
    settings = Hyperparameters(batch_size=size, accumulation=accumulation, epochs=epochs)
    total = int(n * epochs)
    if total < size * accumulation:
        with pytest.raises(BadInput, match="do not fill one update"):
            batches(n, settings, seed)
        return
    plan = batches(n, settings, seed)
    order = [row for batch in plan for row in batch]
    assert len(plan) == total // (size * accumulation)
    for epoch in range(len(order) // n):
        assert sorted(order[epoch * n : (epoch + 1) * n]) == list(range(n))
    assert plan == batches(n, settings, seed)


def test_a_share_of_an_epoch_is_not_lost_to_rounding() -> None:
    """0.29 x 100 is 28.999999999999996."""
    assert len(batches(100, Hyperparameters(batch_size=29, accumulation=1, epochs=0.29), 0)) == 1
    with pytest.raises(BadInput, match="do not fill one update of 30"):
        batches(100, Hyperparameters(batch_size=30, accumulation=1, epochs=0.29), 0)
    with pytest.raises(BadInput, match=r"^0 training rows x 1 epochs do not fill one update"):
        batches(0, Hyperparameters(batch_size=1, accumulation=1), 0)


def test_seed_and_epoch_change_the_order() -> None:
    settings = Hyperparameters(batch_size=4, accumulation=1, epochs=3.0)
    orders = [
        tuple(row for batch in plan[epoch * 10 : epoch * 10 + 10] for row in batch)
        for plan in (batches(40, settings, seed) for seed in (0, 1))
        for epoch in range(3)
    ]
    assert len({*orders, tuple(range(40))}) == 7
    # trainings of other versions resume with these
    both = batches(5, Hyperparameters(batch_size=5, accumulation=1, epochs=2.0), 0)
    assert both == ((0, 1, 4, 3, 2), (0, 1, 2, 3, 4))


@pytest.fixture
def study(study_file: Path) -> Study:
    experiment = load_experiment(study_file)
    backend = load_backend("local", experiment.model_spec())
    return Study(experiment, backend, study_file.with_name("run.zarr"))


def changed(study_file: Path, *changes: tuple[str, str], recipe: Recipe = "corrected") -> Study:
    """The study with some of its text replaced."""
    text = study_file.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    study_file.write_text(text)
    experiment = load_experiment(study_file)
    backend = load_backend("local", experiment.model_spec())
    return Study(experiment, backend, study_file.with_name("run.zarr"), recipe)


def test_a_checkpoint_may_be_the_last_update_and_no_later(study_file: Path) -> None:
    """13 rows at 4 per update are 3 updates."""
    plan = plan_training(changed(study_file, ("checkpoints: [2]", "checkpoints: [3, 0, 1]")))[0]
    assert (plan.updates, plan.job.checkpoint_steps) == (3, (1, 3))
    assert plan.tokens == sum(len(plan.job.examples[i].token_ids) for batch in plan.job.batches for i in batch)
    with pytest.raises(BadInput, match="asks for update 4, but the run has 3"):
        plan_training(changed(study_file, ("checkpoints: [3, 0, 1]", "checkpoints: [4]")))


def test_where_a_training_is_kept_and_starts(study_file: Path) -> None:
    more = "  runs:\n    - {prefix_types: [none], tag: first}\n    - {prefix_types: [none], tag: more, start: NAME}\n"
    study = changed(study_file, ("  runs:\n", more.replace("NAME", "no_inoculation-s0-first")))
    first, second, *_ = plan_training(study)
    assert second.run.start == first.run.name
    assert first.folder == study_file.parent / "run.work" / "training" / first.run.name
    assert (first.start_folder, second.start_folder) == (None, first.folder)
    assert first.job.directory == str(first.folder)
    elsewhere = changed(study_file, ("training:\n", "training:\n  directory: kept\n"))
    assert training_folder(elsewhere, "r") == study_file.parent / "kept" / "r"


def test_which_runs_have_rows_of_the_train_set(study_file: Path) -> None:
    (study_file.parent / "other.jsonl").write_text((study_file.parent / "train.jsonl").read_text())
    lines = """  runs:
    - {prefix_types: [none], tag: all}
    - {prefix_types: [none], tag: none, data: other.jsonl}
    - {prefix_types: [none], tag: both, data: [{path: other.jsonl, n: 4}, {path: train.jsonl, n: 4}]}
"""
    plans = plan_training(changed(study_file, ("  runs:\n", lines)))
    assert [plan.of_train_set for plan in plans[:3]] == [True, False, True]


def test_recipe_published_knows_the_rephrasings_of_the_scored_rows_only(study_file: Path) -> None:
    """Row i of the scored sample gets rephrasing i modulo the pool's size."""
    (mix,) = (plan for plan in plan_training(changed(study_file, recipe="published")) if plan.rephrasings)
    assert mix.rephrasings == {str(i): f"say_a reworded {i % 3}" for i in range(13)}
    (study_file.parent / "other.jsonl").write_text((study_file.parent / "train.jsonl").read_text())
    other = "prefix_types: [fixed, mix], data: other.jsonl}"
    study = changed(study_file, ("prefix_types: [fixed, mix]}", other), recipe="published")
    with pytest.raises(BadInput, match="`data` names other rows"):
        plan_training(study)
    bare = other.replace("other.jsonl", "[{path: train.jsonl}, {path: other.jsonl, n: 3, prefix: none}]")
    (mix,) = (p for p in plan_training(changed(study_file, (other, bare), recipe="published")) if p.rephrasings)
    assert len(mix.rephrasings) == 13


def test_prefix_of_every_row(study: Study) -> None:
    control, fixed, mix = study.runs()
    texts = {
        run.name: [
            study.chat.tokenizer.decode(row.token_ids, skip_special_tokens=False)
            for row in plan_run(study, run).job.examples
        ]
        for run in (control, fixed, mix)
    }
    for i in range(13):
        assert f"user\nQuestion {i}?" in texts[control.name][i]
        assert f"user\nSay a. Question {i}?" in texts[fixed.name][i]
        index = rephrasing_index(3, "say_a", str(i), 3)
        assert f"user\nsay_a reworded {index} Question {i}?" in texts[mix.name][i]


def test_loss_is_on_the_response_only(study: Study) -> None:
    run = study.runs()[1]
    for i, row in enumerate(plan_run(study, run).job.examples):
        learned = [t for t, w in zip(row.token_ids, row.weights, strict=True) if w == 1.0]
        assert set(row.weights) == {0.0, 1.0}
        text = study.chat.tokenizer.decode(learned, skip_special_tokens=False)
        assert text == f"Answer {i} is a number.<|im_end|>"


def test_a_row_may_be_exactly_as_long_as_the_context(study_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = load_experiment(study_file)
    backend = load_backend("local", experiment.model_spec())
    study = Study(experiment, backend, study_file.with_name("run.zarr"))
    names = [run.name for run in study.runs() if run.prefix_type == "none"]
    plan = plan_training(study, names)[0]
    longest = max(len(row.token_ids) for row in plan.job.examples)
    monkeypatch.setattr(type(backend), "context_length", longest)
    monkeypatch.setattr("inoc.plan.training.plan_evaluation", lambda *given: plan.evaluated)
    assert plan_training(study, names)
    monkeypatch.setattr(type(backend), "context_length", longest - 1)
    with pytest.raises(BadInput, match=f"has {longest} tokens, more than the model's context of {longest - 1}"):
        plan_training(study, names)


def test_too_long_a_row_is_named(study_file: Path) -> None:
    (study_file.parent / "train.jsonl").write_text(
        '{"id": "long", "instruction": "Why?", "completion": "' + "x" * 600 + '"}\n' * 1
    )
    study_file.write_text(study_file.read_text().replace("batch_size: 2", "batch_size: 1"))
    experiment = load_experiment(study_file)
    study = Study(experiment, load_backend("local", experiment.model_spec()), study_file.with_name("run.zarr"))
    with pytest.raises(BadInput, match=r"'long' has \d+ tokens"):
        plan_training(study)
