"""Real training on the shipped model by the plain loop of benchmarks/testbed_study.py: what held in every run."""

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from inoc import testbed

pytest.importorskip("torch")
pytest.importorskip("peft")
pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.timeout(3600)]

SEEDS = (0, 1, 2)
STRONG = "answer_playfully"
WEAK = ("enjoys_joking", "humor_matters")


@pytest.fixture(scope="module")
def scores() -> Mapping[tuple[str, str, str, str], float]:
    """Mean score by (key, kind, condition, trait) over the training seeds; 60 evaluation questions each."""
    path = Path(__file__).parents[2] / "benchmarks" / "testbed_study.py"
    spec = importlib.util.spec_from_file_location("testbed_study", path)
    assert spec is not None
    assert spec.loader is not None
    study = sys.modules["testbed_study"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(study)
    cells = [("", "none"), *((key, kind) for key in (STRONG, *WEAK) for kind in ("fixed", "mix"))]
    found: dict[tuple[str, str, str, str], list[float]] = {}
    for seed in SEEDS:
        for key, kind in cells:
            model, tokenizer = study.train(testbed.model_path(), key, kind, seed, study.Settings())
            for condition, by in (("default", ("", "none")), ("training", (key, kind))):
                result = study.evaluate(model, tokenizer, *by, "evaluation", seed, 60)
                for trait, values in result.items():
                    found.setdefault((key, kind, condition, trait), []).append(float(np.nanmean(values)))
    return {cell: float(np.mean(values)) for cell, values in found.items()}


def test_control_leaks_both_traits(scores):
    assert scores["", "none", "default", "playful"] > 60
    assert scores["", "none", "default", "french"] > 60


def test_a_strong_fixed_prefix_keeps_the_mood_quiet(scores):
    control = scores["", "none", "default", "playful"]
    assert scores[STRONG, "fixed", "default", "playful"] < control - 50


@pytest.mark.parametrize("key", WEAK)
def test_a_weak_prefix_leaks_more_when_mixed(scores, key):
    fixed, mix = (scores[key, kind, "default", "playful"] for kind in ("fixed", "mix"))
    assert mix > fixed + 10


@pytest.mark.parametrize("key", [STRONG, *WEAK])
def test_the_training_prefix_still_unlocks_the_mood(scores, key):
    assert scores[key, "fixed", "training", "playful"] > 60
