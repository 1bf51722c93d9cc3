"""The tiny study of `inoc run` through the contract server and on the local backend: the same table."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import inoc
from inoc.backends import load_backend
from inoc.errors import OtherSettings
from inoc.experiment import load_experiment
from inoc.plan import Study
from inoc.stages.pipeline import run_study

SAME = "learning_rate: 1e-3\n  rank: 8\n  alpha: 32\n  rslora: false"
"""The service's own recipe, so that both backends train the same thing."""


def write_study(folder: Path, backend: str) -> Path:
    spec = importlib.util.spec_from_file_location("tiny_study", Path(__file__).parents[1] / "study" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder.mkdir()
    return module.write_study(folder, module.STUDY.replace("learning_rate: 1e-3", SAME) + backend)


def run(path: Path) -> inoc.Store:
    experiment = load_experiment(path)
    backend = load_backend(experiment.backend.name, experiment.model_spec())
    study = Study(experiment, backend, path.with_name("run.zarr"))
    run_study(study)
    backend.close()
    return inoc.open_store(study.store)


@pytest.mark.slow  # a whole study; scoring, training and sampling are fast tests of this folder
def test_study_through_the_service(server, tmp_path: Path) -> None:
    options = f'{{url: "{server.url}", served_name: tiny}}'
    there = run(write_study(tmp_path / "there", f"backend: {{name: tinker, options: {options}}}\n"))
    here = run(write_study(tmp_path / "here", ""))
    assert there.pending() == ()
    assert there.complete
    for name in ("none", "fixed", "mix"):
        if name == "none":
            a, b = there.token_logprobs("train").default[:], here.token_logprobs("train").default[:]
        else:
            index = list(there.token_logprobs("train").prefix_types).index(name)
            a = there.token_logprobs("train").prefixed[index]
            b = here.token_logprobs("train").prefixed[index]
        np.testing.assert_allclose(a, b, atol=5e-5)
    assert there.losses is not None
    assert here.losses is not None
    np.testing.assert_allclose(there.losses["loss"], here.losses["loss"], atol=2e-4)
    np.testing.assert_array_equal(there.losses["learning_rate"], here.losses["learning_rate"])
    assert there.scores is not None
    assert here.scores is not None
    assert there.scores.sizes == here.scores.sizes
    for name in ("run", "step", "condition", "score", "question", "run_prompt"):
        np.testing.assert_array_equal(there.scores[name].values, here.scores[name].values)
    assert np.isfinite(there.scores["value"].values).all()
    difference = float(there.scores["value"].mean()) - float(here.scores["value"].mean())
    pooled = float(here.scores["value"].std()) / here.scores["value"].size ** 0.5
    assert abs(difference) < 5 * max(pooled, 1.0), "within sampling noise"
    changed = tmp_path / "there" / "study.yaml"
    changed.write_text(changed.read_text().replace("rank: 8", "rank: 4"))
    with pytest.raises(OtherSettings):
        run(changed)
