"""What figures of the reference data show against numbers recomputed independently from the same files."""

import json

import numpy as np
import pytest
from scipy import stats

import inoc
from inoc.errors import IncompleteStore
from inoc.figures.angle_categories import angle_categories_data
from inoc.figures.angle_map import angle_map_data
from inoc.figures.component_suppression import component_suppression_data
from inoc.figures.cross_angle import cross_angle_data
from inoc.figures.elicitation import elicitation_data
from inoc.figures.final_scores import final_scores_data
from inoc.figures.gap_grid import gap_grid_data
from inoc.figures.recovered import recovered_data
from inoc.figures.spectrum import spectrum_data
from inoc.heuristics.frame.rows import column_name
from inoc.heuristics.maths.gap import is_constant
from inoc.outcomes import rows
from inoc.outcomes.correlation import pearson

pytestmark = pytest.mark.reference
CATEGORIES = {
    "within_negative": "within_negative",
    "within_positive": "within_positive",
    "cross": "cross_trait",
    "negative_neutral": "neg_to_neutral",
    "positive_neutral": "pos_to_neutral",
}


@pytest.fixture(scope="module")
def golden(reference):
    return json.loads((reference / "german_flattering" / "golden.json").read_text())


@pytest.fixture(scope="module")
def store(german_store):
    return inoc.open_store(german_store)


@pytest.mark.parametrize("kind", ["fixed", "mix"])
def test_angle_categories(store, golden, kind):
    data = angle_categories_data(store).sel(prefix_type=kind)
    for representation in ("raw", "svd2", "pca2"):
        stats_of = golden["angles"][kind][representation]["stats"]
        for ours, theirs in CATEGORIES.items():
            cell = data.sel(representation=representation, category=ours)
            assert float(cell["mean"]) == pytest.approx(stats_of[theirs]["mean"], abs=2e-4)
            pairs = stats_of[theirs].get("n_unordered", stats_of[theirs]["n_ordered"])
            assert int(cell["n"]) == pairs
            assert float(cell["lower"]) < float(cell["mean"]) < float(cell["upper"])


def test_angle_map(store, golden):
    data = angle_map_data(store).sel(prefix_type="fixed")
    for representation, found in golden["angles"]["fixed"].items():
        for prompt, pair in found["per_prompt_mean_to_neg_pos"].items():
            cell = data.sel(prompt=prompt, representation=representation)
            assert [float(cell["to_negative"]), float(cell["to_positive"])] == pytest.approx(pair, abs=2e-4)


@pytest.mark.parametrize("kind", ["fixed", "mix"])
def test_pca_coordinates(store, golden, kind):
    """Up to the sign of a component; shares as they stand in the axis labels."""
    found = golden["pca_pointwise"][f"{kind}_centred_unscaled"]
    data = spectrum_data(store).sel(prefix_type=kind)
    np.testing.assert_allclose(data["share"].values[:4], found["evr"], rtol=1e-6)
    for prompt, coordinates in found.get("coords", {}).items():
        here = data["coordinate"].sel(prompt=prompt).values[:2]
        np.testing.assert_allclose(np.abs(here), np.abs(coordinates), rtol=1e-5)


def test_svd_coordinates(store, golden):
    data = spectrum_data(store, "svd").sel(prefix_type="fixed")
    for prompt, coordinates in golden["svd_pointwise"]["fixed"]["abs_coords"].items():
        here = data["coordinate"].sel(prompt=prompt).values[: len(coordinates)]
        np.testing.assert_allclose(np.abs(here), coordinates, rtol=1e-4)


def test_q1_by_numpy(store, golden):
    """Suppression at the nominal step from the golden paired table, coordinates as drawn, r by NumPy."""
    paired = golden["suppression_paired_t"]["312"]
    data = component_suppression_data(store, show_from=3)
    assert np.isnan(component_suppression_data(store)["r"].values).all(), "no r below 8 prompts"
    for f, kind in enumerate(("fixed", "mix")):
        for t, trait in enumerate(("German", "Flattering")):
            x, y = [], []
            for prompt in data["prompt"].values:
                key = f"{prompt}{'_mix' if kind == 'mix' else ''}|{trait}"
                if key in paired and not (prompt == "avoid_flattery" and kind == "fixed"):
                    x.append(data["coordinate"].sel(prompt=prompt).isel(prefix_type=f).values[:2])
                    y.append(paired[key]["mean"])
            for c in (0, 1):
                expected = np.corrcoef(np.array(x)[:, c], y)[0, 1]
                assert float(data["r"].values[f, c, t]) == pytest.approx(expected, abs=1e-6)


def test_q2_predictors(store, golden):
    data = cross_angle_data(store)
    for kind in ("fixed", "mix"):
        for prompt, angles in golden["q1_q2"][kind]["q2_predictors"].items():
            for name, value in angles.items():
                here = float(data["angle"].sel(predictor=name, prefix_type=kind, prompt=prompt))
                assert here == pytest.approx(value, abs=2e-4)
    assert np.isnan(data["r"].values).all(), "no r below 8 prompts"


def test_final_scores_carry_the_paired_suppression(store, golden):
    data = final_scores_data(store)
    seen = 0
    for key, found in golden["suppression_paired_t"]["312"].items():
        name, trait = key.split("|")
        cell = data.sel(run=name, trait=trait)
        if name == "avoid_flattery":
            assert np.isnan(float(cell["suppression"])), "contradicts itself: left out"
            continue
        here = [float(cell["suppression"]), *cell["suppression_ci"].values]
        assert here == pytest.approx([found["mean"], found["ci_lo"], found["ci_hi"]], abs=1e-6)
        seen += 1
    assert seen > 20


def test_elicitation(store, golden):
    data = elicitation_data(store)
    for prompt, by_trait in golden["elicitation"]["pp_above_baseline"].items():
        for trait, value in by_trait.items():
            assert float(data["elicitation"].sel(prompt=prompt, trait=trait)) == pytest.approx(value, abs=0.5)


@pytest.mark.parametrize("trait", ["German", "Flattering"])
def test_gap_correlations(store, golden, trait):
    """r of golden heuristics with golden gaps, by SciPy, in the published recipe on the prompts of that table."""
    found = golden["gap_heuristics"][trait]
    kept = found["prompts"]
    x = inoc.heuristics.compute(store, prompts=kept, recipe="published")
    table = rows(store, x, recipe="published")
    table = table.isel(row=np.isin(table["prompt"].values, kept))
    gaps = {p: -v for p, v in found["row1_fixed_minus_mix"].items()}  # fixed minus mix suppression
    at = (table["trait"].values == trait) & (table["prefix_type"].values == "mix")
    golden_gaps = [gaps[str(p)] for p in table["prompt"].values[at]]
    np.testing.assert_allclose(table["gap"].values[at], golden_gaps, atol=0.5)  # missing scores pair otherwise
    table["gap"] = ("row", np.where(at, [gaps[str(p)] for p in table["prompt"].values], table["gap"].values))
    with pytest.raises(IncompleteStore, match="only 4 distinct prompts have a gap; a correlation needs 8"):
        gap_grid_data(store, trait, on_target=False, table=table)
    columns = table["heuristic"].values.tolist()
    names = {"ph_ratio": "PH_ratio", "variance_diff": "sigma2_diff", "gamma_mix": "gamma_mix", "cosine": "cosine"}
    names |= {"snr_mix": "SNR_mix", "effective_rank_mix": "eff_rank", "mald_ratio": "MALD_ratio"}
    gap = [gaps[p] for p in kept]
    compared = 0
    for variant, block in (("raw", "raw"), ("pca1", "pca_rank1"), ("svd1", "tsvd_rank1")):
        for ours, theirs in names.items():
            values = np.array([found[block][p][theirs] for p in kept])
            x = table["heuristic_value"].values[columns.index(column_name(ours, {"variant": variant}))][at]
            constant = np.ptp(values) <= 1e-9 * np.abs(values).max()
            assert is_constant(x) == constant, (variant, ours)
            if not constant:
                expected = stats.pearsonr(values, gap).statistic
                assert pearson(x, table["gap"].values[at]) == pytest.approx(expected, abs=2e-4)
                compared += 1
    assert compared >= 10


def test_recovered_tokens(token_store, reference):
    values = json.loads((reference / "token_logprobs" / "golden.json").read_text())["values"]
    data = recovered_data(inoc.open_store(token_store)).isel(prefix_type=0)
    for prompt, found in values.items():
        cell = data.sel(prompt=prompt)
        assert float(cell["share"]) == pytest.approx(found["_recovered_cond"], abs=1e-9)
        assert int(cell["recovered"]) / found["_n_tok"] == pytest.approx(found["token_recovered_frac"], abs=1e-9)
