"""The methods paragraph and BibTeX of `inoc cite`."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

import inoc
from inoc.cli import cli
from inoc.exports.methods import bibtex, methods
from inoc.store import PromptInfo

from ..worlds import Completions, Run, write_store

PROMPTS = [PromptInfo(f"p{i}", f"text {i}", "g", "german", "positive" if i else "neutral") for i in range(3)]


@pytest.fixture
def path(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.uniform(-3, -1, 9).astype(np.float32)
    plan = {"prefix_type": "none", "settings": {"learning_rate": 1e-4, "method": "lora"}, "seed": 3}
    scores = {(60, "default"): rng.uniform(0, 100, (2, 7))}
    return write_store(
        tmp_path / "study.zarr",
        PROMPTS,
        {"train": Completions(np.array([3, 2, 4]), values, {("fixed", p.key): values - 1 for p in PROMPTS})},
        runs=[Run("control", "", scores, plan), Run("p1", "p1", scores, {**plan, "prefix_type": "fixed"})],
        experiment={"model": "a\x1b[31mmodel"},
    )


def test_every_number_is_that_of_the_store(path):
    said = methods(inoc.open_store(path))
    for part in (
        "3 inoculation prompts (1 neutral, 2 positive)", "train has 3 examples", "The perplexity heuristic (PH) is ",
        "We fine-tune 2 runs (1 without a prefix, 1 fixed) with seeds 3; settings: lora, learning rate 0.0001",
        "at step 60 without any prefix on 7 questions: German (positive); Flattering (negative)",
        f"inoc {inoc.__version__}", f"numpy {np.__version__}",
    ):  # fmt: skip
        assert part in said, part
    assert "licitation" not in said, "it is not stored"
    assert "\x1b" not in said
    assert "coherence" in methods(inoc.open_store(path), ["gamma"])


def test_bibtex_is_of_software_as_installed():
    entries = bibtex()
    assert entries.count("{") == entries.count("}")
    assert set(re.findall(r"^@(\w+)\{", entries, re.MULTILINE)) == {"software"}
    assert f"version = {{{np.__version__}}}" in entries
    assert "url = {https://numpy.org}" in entries


def test_the_command(path):
    done = CliRunner().invoke(cli, ["cite", str(path), "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["methods"] == methods(inoc.open_store(path))
    assert said["bibtex"] == bibtex()
    wrong = CliRunner().invoke(cli, ["cite", str(path), "--heuristics", "gama"])
    assert "did you mean" in str(wrong.exception)
