"""The testbed's study with real training, through the contract server and on the local backend: the same outcomes."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml
from contract import HERE, KEY, TinkerServer
from scipy.stats import norm

import inoc
from inoc.testbed import model_path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(560)]

PROMPTS = {"playful_strong": "answer_playfully", "playful_weak": "had_fun_today"}
RUNS, UPDATES, QUESTIONS = 5, 40, 24
FALSE_ALARM = 1e-3
"""Probability that two equal studies fail the comparison of all cells."""


def write_study(path: Path, backend: Mapping[str, object]) -> None:
    """examples/testbed.yaml with two prompts, the control and both prefix types; the recipe is the service's own."""
    study = yaml.safe_load((Path(__file__).parents[2] / "examples" / "testbed.yaml").read_text())
    study["backend"] = backend
    study["prompts"] = {
        group: {**study["prompts"][group], "prompts": {key: study["prompts"][group]["prompts"][key]}}
        for group, key in PROMPTS.items()
    }
    study["completion_sets"] = {"train": {**study["completion_sets"]["train"], "limit": 40}}
    study["training"] |= {"rank": 32, "alpha": 32, "rslora": False, "checkpoints": [], "examples": 16 * UPDATES}
    study["training"]["runs"] = [
        {"prefix_types": ["none"]},
        {"prompts": list(PROMPTS.values()), "prefix_types": ["fixed", "mix"]},
    ]
    study["evaluation"] |= {"n": QUESTIONS, "max_tokens": 40}
    path.write_text(yaml.safe_dump(study, allow_unicode=True))


def start(study: Path) -> subprocess.Popen[str]:
    """`inoc run`, as a user would."""
    command = [sys.executable, "-m", "inoc", "run", study.name, "--store", study.stem + ".zarr"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TINKER_API_KEY": KEY, "INOC_KEYS": HERE}
    return subprocess.Popen(
        command, cwd=study.parent, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(through the service, local), run side by side."""
    folder = tmp_path_factory.mktemp("testbed-study")
    server = TinkerServer(folder / "service", {"testbed": Path(model_path())})
    try:
        write_study(folder / "tinker.yaml", {"name": "tinker", "options": {"url": server.url}})
        write_study(folder / "local.yaml", {"name": "local", "options": {"device": "cpu"}})
        running = [start(folder / name) for name in ("tinker.yaml", "local.yaml")]
        for process in running:
            _, told = process.communicate()
            assert process.returncode == 0, told[-3000:]
    finally:
        server.kill()
    return folder / "tinker.zarr", folder / "local.zarr"


def test_scores_and_trainings_are_the_same(stores: tuple[Path, Path]) -> None:
    there, here = (inoc.open_store(store) for store in stores)
    assert there.pending() == here.pending() == ()
    a, b = there.token_logprobs("train"), here.token_logprobs("train")
    np.testing.assert_allclose(a.default[:], b.default[:], atol=5e-5)
    for i in range(len(a.prefix_types)):
        np.testing.assert_allclose(a.prefixed[i], b.prefixed[i], atol=5e-5)
    assert there.losses is not None
    assert here.losses is not None
    assert there.losses.sizes == {"run": RUNS, "update": UPDATES}
    np.testing.assert_array_equal(there.losses["learning_rate"], here.losses["learning_rate"])
    np.testing.assert_allclose(there.losses["loss"], here.losses["loss"], atol=1e-4)


def mean_scores(store: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and means (0 to 1) of every cell: run, condition, trait at the last step."""
    scores = inoc.open_store(store).scores
    assert scores is not None
    final = scores["value"].isel(step=-1)
    assert final.sizes["question"] == QUESTIONS
    cells = final.mean("question", skipna=False).stack(cell=("run", "condition", "score")) / 100
    cells = cells.dropna("cell")
    return tuple("/".join(map(str, cell)) for cell in cells["cell"].values), cells.values


def binomial_variance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of the difference of two shares in n answers each, at the pooled share with a success and a failure added to
    each (Agresti and Caffo, 2000)."""
    p = (QUESTIONS * (a + b) + 2) / (2 * QUESTIONS + 4)
    return 2 * p * (1 - p) / (QUESTIONS + 2)


def test_outcomes_are_the_same_within_sampling_noise(stores: tuple[Path, Path]) -> None:
    """A score is a share in [0, 1], whose variance is at most the binomial p (1 - p). So the means of two samples of
    n answers differ by at most z sqrt(2 p (1 - p) / n), with z for a false alarm in one of 1000 such tables."""
    (names, there), (same, here) = (mean_scores(store) for store in stores)
    assert names == same
    assert len(names) == RUNS * 2 * 2
    z = norm.isf(FALSE_ALARM / len(names) / 2)
    allowed = z * np.sqrt(binomial_variance(there, here))
    wrong = [
        f"{name}: {a:.2f} and {b:.2f}, allowed {c:.2f}"
        for name, a, b, c in zip(names, there, here, allowed, strict=True)
        if abs(a - b) > c
    ]
    assert not wrong
    lean = np.sqrt(binomial_variance(there, here).mean() / len(names))
    assert abs((there - here).mean()) <= norm.isf(FALSE_ALARM / 2) * lean, "all cells lean to one side"


def test_suppression_is_the_same_within_sampling_noise(stores: tuple[Path, Path]) -> None:
    """The table of `inoc outcomes`: a difference of two means on either side, so twice the variance of a mean's."""
    tables = []
    for store in stores:
        command = [sys.executable, "-m", "inoc", "outcomes", "--store", str(store), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows = json.loads(done.stdout)["suppression"]
        tables.append({(row["run"], row["trait"]): row["value"] / 100 for row in rows})
    there, here = tables
    assert there.keys() == here.keys()
    assert len(there) == (RUNS - 1) * 2
    means = [dict(zip(*mean_scores(store), strict=True)) for store in stores]
    z = norm.isf(FALSE_ALARM / len(there) / 2)
    for (run, trait), value in there.items():
        cells = (f"{run}/default/{trait}", f"no_inoculation-s0/default/{trait}")
        variance = sum(float(binomial_variance(*(mean[cell] for mean in means))) for cell in cells)
        assert abs(value - here[run, trait]) <= z * variance**0.5, (run, trait, value, here[run, trait])
    for table in tables:
        assert table["answer_playfully-fixed-s0", "Playful"] > 0.5, "a strong prompt keeps the mood quiet"
