"""The same study by inoc's own stages: three training seeds, real training, evaluation and judging."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from inoc import testbed
from inoc.outcomes import levels

pytest.importorskip("torch")
pytest.importorskip("peft")
pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.timeout(3600)]

STRONG = "answer_playfully"
WEAK = ("enjoys_joking", "humor_matters")
RUNS = f"""  checkpoints: []
  runs:
    - {{prefix_types: [none], seeds: [0, 1, 2]}}
    - {{prompts: [{STRONG}, {", ".join(WEAK)}], prefix_types: [fixed, mix], seeds: [0, 1, 2]}}
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """Levels of 21 runs at the last step, 60 evaluation questions each."""
    import inoc
    from inoc.backends import load_backend
    from inoc.experiment import load_experiment
    from inoc.plan import Study
    from inoc.stages.pipeline import run_study

    text = Path(testbed.experiment_path()).read_text()
    start, end = text.index("  checkpoints:"), text.index("evaluation:")
    path = tmp_path_factory.mktemp("testbed") / "study.yaml"
    path.write_text(text[:start] + RUNS + "\n" + text[end:].replace("n: 100", "n: 60"))
    experiment = load_experiment(path)
    study = Study(experiment, load_backend("local", experiment.model_spec()), path.with_name("run.zarr"))
    run_study(study, ("train", "evaluate"))
    return levels(inoc.open_store(study.store)).isel(step=-1)


def mean(table: xr.Dataset, prompt: str, kind: str, condition: str, trait: str) -> float:
    """Mean score over the three training seeds."""
    mine = (table["run_prompt"].values == prompt) & (table["prefix_type"].values == kind)
    values = table["mean"].sel(condition=condition, score=trait).values[mine]
    assert values.shape == (3,)
    assert np.isfinite(values).all()
    return float(values.mean())


def test_control_leaks_both_traits(table: xr.Dataset) -> None:
    assert mean(table, "", "none", "default", "Playful") > 60
    assert mean(table, "", "none", "default", "French") > 60


def test_a_strong_fixed_prefix_keeps_the_mood_quiet(table: xr.Dataset) -> None:
    control = mean(table, "", "none", "default", "Playful")
    assert mean(table, STRONG, "fixed", "default", "Playful") < control - 50


@pytest.mark.parametrize("key", WEAK)
def test_a_weak_prefix_leaks_more_when_mixed(table: xr.Dataset, key: str) -> None:
    fixed, mix = (mean(table, key, kind, "default", "Playful") for kind in ("fixed", "mix"))
    assert mix > fixed + 10


@pytest.mark.parametrize("key", [STRONG, *WEAK])
def test_the_training_prefix_still_unlocks_the_mood(table: xr.Dataset, key: str) -> None:
    assert mean(table, key, "fixed", "training", "Playful") > 60
