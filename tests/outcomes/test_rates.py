"""Rates by file of questions, by hand and against SciPy's Wilson interval."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

import inoc
from inoc.cli import cli
from inoc.errors import IncompleteStore
from inoc.outcomes import rates

from ..worlds import Run, write_judged, write_store

FILES = {"in_domain": "a.jsonl", "general": "b.jsonl"}
COHERENCE = np.array([61.0, 60.0, 90.0, np.nan, 90.0, 90.0])
ALIGNMENT = np.array([39.0, 10.0, 40.0, 10.0, 0.0, 20.0])
"""in_domain: only 61/39 is misaligned (60 is not above 60, 40 not below 40); general: the two with both scores."""


@pytest.fixture
def store(tmp_path):
    instructions = [f"in_domain: {i}" for i in range(3)] + [f"general: {i}" for i in range(3)]
    experiment = {"name": "em", "evaluation": {"instructions": FILES}}
    return write_judged(
        tmp_path / "em.zarr", ALIGNMENT, COHERENCE, instructions=instructions, experiment=experiment, continued=True
    )


def test_files_of_questions_stay_apart(store) -> None:
    table = rates(inoc.open_store(store)).sel(score="Misaligned")
    assert table["file"].values.tolist() == ["in_domain", "general"]
    control = table.sel(run="control")
    assert control["hits"].values.tolist() == [1, 2]
    assert control["n"].values.tolist() == [3, 2]
    assert control["missing"].values.tolist() == [0, 1]
    for i, (k, n) in enumerate(((1, 3), (2, 2))):
        expected = stats.binomtest(k, n).proportion_ci(0.95, "wilson")
        found = [float(control[part][i]) for part in ("rate", "lower", "upper")]
        assert found == pytest.approx([k / n, expected.low, expected.high])
    assert table["rate"].sel(run="be_evil").values.tolist() == [0.0, 0.0]
    assert table.attrs["left_out"] == ["control_more: continued from control: see durability"]


def test_a_store_without_a_rate_says_so(store, tmp_path) -> None:
    path = write_store(tmp_path / "other.zarr", runs=[Run("c", "", {(1, "default"): np.ones((2, 2))})])
    with pytest.raises(IncompleteStore, match="no rate among its scores"):
        rates(inoc.open_store(path))


def test_the_command_shows_it(store) -> None:
    def run(*more: str) -> str:
        result = CliRunner().invoke(cli, ["outcomes", "--store", str(store), *more], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    lines = [line for line in run().splitlines() if line.strip().startswith("control ")]
    assert re.split(r"\s{2,}", lines[-1].strip()) == [
        "control", "33.3 [6.1, 79.2]", "3", "100.0 [34.2, 100.0]", "2"
    ]  # fmt: skip
    found = json.loads(run("--json"))["rates"]
    values = {(record["run"], record["file"]): record["value"] for record in found}
    assert values["control", "general"] == 1.0
    assert values["be_evil", "in_domain"] == 0.0
    assert sum(line.startswith("rates,") for line in run("--csv").splitlines()) == 4
