"""inoc's suites on all four, and each used as inoc uses it."""

from pathlib import Path

import inoc_shouting
import matplotlib
import numpy as np
import pytest
from inoc_shouting import TsvImporter, shouting_judge

import inoc
from inoc.errors import BadInput
from inoc.figures.catalog import make
from inoc.store.imports import Sources, import_run
from inoc.testing import HeuristicConformance, ImporterConformance, JudgeConformance, small_store

matplotlib.use("Agg")


class TestHeuristics(HeuristicConformance):
    names = ("median_change", "spread_of_change")


class TestJudge(JudgeConformance):
    trait = "shouting"
    less, more = "I am calm, really.", "I am CALM, REALLY!"

    @pytest.fixture(scope="class")
    @classmethod
    def judge(cls):
        return shouting_judge("shouting", {})

    @pytest.fixture(scope="class")
    @classmethod
    def others(cls):
        return [shouting_judge("shouting", {"least": 3})]


class TestImporter(ImporterConformance):
    importer = TsvImporter

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[Path]:
        head = "example\tprompt\tlogprobs"
        (tmp_path / "plain.tsv").write_text(f"{head}\na\t\t-1.5 -2.5\nb\t\t-3.0\n")
        (tmp_path / "loud.tsv").write_text(f"{head}\na\tloud\t-1.0 -2.0\nb\tloud\t-2.0\n")
        return [tmp_path / "plain.tsv", tmp_path / "loud.tsv"]

    def test_files_become_a_store(self, files: list[Path], tmp_path: Path) -> None:
        import_run(Sources(files, format="inoc_shouting:TsvImporter"), tmp_path / "s.zarr")
        store = inoc.open_store(tmp_path / "s.zarr")
        assert inoc.heuristics.compute(store, only=["median_change"])["median_change"].values.tolist() == [[0.75]]


def test_a_wrong_option_is_named() -> None:
    with pytest.raises(BadInput, match="least"):
        shouting_judge("shouting", {"lest": 2})


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    assert inoc_shouting.draw
    store = small_store(tmp_path / "small.zarr")
    (made,) = make(store, tmp_path / "figures", only=["change_of_examples"])
    assert made.files, made.reason


def test_values_by_hand(tmp_path: Path) -> None:
    w = np.array([[[0.0, 1.0, 2.0, 10.0], [np.nan] * 4]])
    assert inoc_shouting.median_change(w).tolist()[0][0] == 1.5
    assert np.isnan(inoc_shouting.spread_of_change(w)[0, 1])
