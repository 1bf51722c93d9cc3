"""The field's protocol on the testbed: 8 general questions with 100 samples each beside 200 questions with one."""

from pathlib import Path

import numpy as np
import pytest

import inoc
from inoc import testbed

pytest.importorskip("torch")
pytest.importorskip("peft")
pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.timeout(1800)]

QUESTIONS = """evaluation:
  questions:
    general: {path: "testbed:instructions/tuning.jsonl", n: 8, samples: 100}
    in_domain: {path: "testbed:instructions/evaluation.jsonl", n: 200}
  temperature: 1.0
  max_tokens: 80
"""
RUNS = """  checkpoints: []
  runs:
    - {prefix_types: [none]}
    - {prompts: [answer_playfully], prefix_types: [fixed]}

"""


def test_eight_times_a_hundred_beside_two_hundred(tmp_path: Path) -> None:
    from inoc.backends import load_backend
    from inoc.experiment import load_experiment
    from inoc.plan import Study
    from inoc.stages.pipeline import run_study

    text = Path(testbed.experiment_path()).read_text()
    path = tmp_path / "study.yaml"
    path.write_text(text[: text.index("  checkpoints:")] + RUNS + QUESTIONS)
    experiment = load_experiment(path)
    study = Study(experiment, load_backend("local", experiment.model_spec()), tmp_path / "run.zarr")
    run_study(study, ("train", "evaluate"))
    store = inoc.open_store(study.store)
    for run in store.runs:
        questions, files = store.answered(run)
        assert (len(questions), len(set(questions))) == (1000, 208)
        assert [files.count(name) for name in ("general", "in_domain")] == [800, 200]
    half = {}
    for name, n in (("general", 8), ("in_domain", 200)):
        table = inoc.outcomes.suppression(store, questions=name).sel(trait="Playful").isel(run=0)
        assert int(table["n"]) == n
        assert float(table["mean"]) > 30, "the strong prompt keeps the trait away on both files"
        half[name] = float(table["upper"] - table["lower"]) / 2
        assert np.isfinite(half[name])
    assert half["general"] > half["in_domain"] / 2, "8 questions do not become 800 by asking 100 times"
