"""The performance table: published numbers, an independent re-computation, and what may not be pooled."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from inoc.errors import BadInput, IncompleteStore
from inoc.outcomes.performance_table import TARGETS, Recipe, choose, performance_of

from .worlds import published_rows, simulated_rows

COLUMNS = dict(zip(("trait_all", "trait_fixed", "trait_mix", "cross_all", "gap_mix"), TARGETS, strict=True))


@pytest.mark.reference
def test_published_table(reference: Path) -> None:
    golden = json.loads((reference / "german_flattering" / "golden.json").read_text())
    expected = golden["table_GF_rows_only_from_dataset_csv"]["rows"]
    table = performance_of(published_rows(reference), recipe="published", resamples=50)
    assert len(expected) == 23
    assert set(expected) == set(table["heuristic"].values)
    for name, cells in expected.items():
        for column, (r, n) in cells.items():
            cell = table.sel(heuristic=name, target=COLUMNS[column])
            assert cell["r"].item() == pytest.approx(r, rel=1e-9, abs=1e-9)
            assert cell["n"].item() == n


@pytest.mark.reference
def test_corrected_table_uses_on_target_rows_and_one_common_set(reference: Path) -> None:
    rows = published_rows(reference)
    table = performance_of(rows, recipe="corrected", resamples=200)
    x = rows["heuristic_value"].values
    target = np.isfinite(rows["suppression"].values) & rows["on_target"].values
    covered = np.isfinite(x[:, target]).mean(axis=1) >= 0.75
    common = target & np.isfinite(x[covered]).all(axis=0)
    for i, name in enumerate(rows["heuristic"].values):
        cell = table.sel(heuristic=name, target="all")
        if not covered[i]:
            assert np.isnan(cell["r"].item())
            assert cell["reason"].item()
            continue
        y = rows["suppression"].values[common]
        assert cell["n"].item() == common.sum()
        assert cell["r"].item() == pytest.approx(stats.pearsonr(x[i, common], y).statistic, rel=1e-9)
        assert cell["rho"].item() == pytest.approx(stats.spearmanr(x[i, common], y).statistic, rel=1e-9)
        assert cell["r_lower"].item() <= cell["r"].item() <= cell["r_upper"].item()
        assert cell["prompts"].item() == np.unique(rows["prompt"].values[common]).size
    assert {int(n) for n in table["n"].sel(target="all").values if n} == {int(common.sum())}
    # the corrected table is not the published one
    assert table["n"].sel(heuristic="H5", target="all").item() < 92


def test_choose_suggests_the_nearest_and_expands_components() -> None:
    names = ["ph", "pca[1]", "pca[2]", "elicitation"]
    assert choose(names, ["pca", "ph", "pca[1]"]) == [1, 2, 0]
    assert choose(names, None) == [0, 1, 2, 3]
    absent = ["mean_abs: no tokens"]
    assert choose(names, ["mean_abs", "ph"], absent) == [0]
    with pytest.raises(IncompleteStore, match="mean_abs: no tokens"):
        choose(names, ["mean_abs"], absent)
    with pytest.raises(BadInput, match="did you mean 'elicitation'"):
        choose(names, ["elicitaton"])


@pytest.mark.parametrize("recipe", ["corrected", "published"])
def test_which_rows_count(recipe: Recipe) -> None:
    """Rows of a trait that the prompt does not ask for count in the published recipe only."""
    rows = simulated_rows(np.random.default_rng(3), 24)
    found = performance_of(rows, ["ph"], recipe=recipe, resamples=50)
    x, y = rows["heuristic_value"].sel(heuristic="ph").values, rows["suppression"].values
    kind, asked = rows["prefix_type"].values, rows["on_target"].values
    for target, of in (("all", ("fixed", "mix")), ("fixed", ("fixed",)), ("mix", ("mix",)), ("gap", ("mix",))):
        used = np.isin(kind, of) & (asked if recipe == "corrected" else True)
        cell = found.sel(heuristic="ph", target=target)
        assert cell["n"].item() == used.sum()
        assert cell["r"].item() == pytest.approx(stats.pearsonr(x[used], y[used]).statistic, abs=1e-12)


@pytest.mark.parametrize(("prompts", "known"), [(4, True), (3, False)])
def test_below_four_rows_there_are_no_errors(prompts: int, known: bool) -> None:
    rows = simulated_rows(np.random.default_rng(3), 12)
    rows = rows.isel(row=(rows["prefix_type"] == "fixed") & rows["on_target"])
    found = performance_of(rows.isel(row=slice(prompts)), ["ph"], resamples=10).sel(target="fixed")
    errors = [name for name in found if "error" in str(name)]
    assert errors
    assert all(np.isfinite(found[name]).any() == known for name in errors if "family" in str(name))
