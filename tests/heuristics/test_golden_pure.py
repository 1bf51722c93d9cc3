"""Every heuristic number of the reference, from bare float64 arrays (1e-9; planar angles 1e-4 degrees)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from inoc.heuristics.maths import angles, gap, pointwise, prompt_level
from inoc.heuristics.maths.gram import decompose, gram_matrix, standardized, trait_coordinates

pytestmark = pytest.mark.reference
EXACT = dict(rtol=1e-9, atol=1e-12)
DEGREES = dict(rtol=0, atol=1e-4)
CATEGORY = {
    "within_negative": "within_negative",
    "within_positive": "within_positive",
    "cross_trait": "cross",
    "neg_to_neutral": "negative_neutral",
    "pos_to_neutral": "positive_neutral",
}
GAP = {
    "PH_ratio": ("ph_ratio", None),
    "sigma2_diff": ("variance_diff", None),
    "gamma_mix": ("gamma_mix", None),
    "SNR_mix": ("snr_mix", None),
    "cosine": ("cosine", None),
    "eff_rank": ("effective_rank_mix", None),
    "SNR_ratio": ("snr_ratio", None),
    "MALD_ratio": ("mald_ratio", None),
    "SNR_abs_mix": ("snr_abs_mix", "published"),
    "SNR_abs_ratio": ("snr_abs_ratio", "published"),
    "SNR_abs_mix_seed": ("snr_abs_mix", "corrected"),
    "SNR_abs_ratio_seed": ("snr_abs_ratio", "corrected"),
}


def both(german: Any, prefix_type: str) -> np.ndarray:
    return german.fixed if prefix_type == "fixed" else german.mix


def column(german: Any, key: str) -> np.ndarray:
    return np.array([german.golden["per_prompt"][p][key] for p in german.prompts])


def test_every_number_per_prompt_is_covered_and_right(german):
    f, m = german.fixed, german.mix
    found = {
        "PH": pointwise.ph(f),
        "PPD": pointwise.ppd(german.control),
        "gamma": pointwise.gamma(f),
        "sigma_ddof1": pointwise.sigma(f),
        "SNR": pointwise.snr(f),
        "MALD": pointwise.mald(f),
        "PH_mix": pointwise.ph(m),
        "gamma_mix": pointwise.gamma(m),
        "sigma_mix_ddof1": pointwise.sigma(m),
        "SNR_mix": pointwise.snr(m),
        "MALD_mix": pointwise.mald(m),
        "w_cos": gap.cosine(f, m),
        "w_cor": gap.w_cor(f, m),
        "w_sign_agree": gap.sign_agreement(f, m),
        "lp_spread_mean": gap.spread_mean(f, m),
        "lp_spread_std_ddof0": gap.spread_std(f, m, "published"),
        "w_l2": gap.w_l2(f, m),
        "w_proj": gap.projection(f, m),
        "w_std_ratio_mix_over_fixed": pointwise.sigma(m) / pointwise.sigma(f),
        "norm_W_fixed": np.sqrt(np.diagonal(gram_matrix(f))),
    }
    # two published columns use ddof = 0; dividing by a std with 1e-12 added explains their last digits
    loose = {"snr_all_ddof0": pointwise.snr(f, ddof=0), "snr_mix_ddof0": pointwise.snr(m, ddof=0)}
    assert set(found) | set(loose) == set(german.golden["per_prompt"][german.prompts[0]])
    for key, values in found.items():
        np.testing.assert_allclose(values, column(german, key), **EXACT, err_msg=key)
    for key, values in loose.items():
        np.testing.assert_allclose(values, column(german, key), rtol=1e-9, err_msg=key)


def test_elicitation(german):
    found = prompt_level.elicitation(german.elicitation, german.baseline, "published")
    paired = prompt_level.elicitation(german.elicitation, german.baseline, "corrected")
    for t, trait in enumerate(("German", "Flattering")):
        expected = [german.golden["elicitation"]["pp_above_baseline"][p][trait] for p in german.prompts]
        np.testing.assert_allclose(found[t], expected, **EXACT)
        if np.isfinite(german.elicitation[t]).all() and np.isfinite(german.baseline[t]).all():
            np.testing.assert_allclose(paired[t], expected, **EXACT)
        interval = stats.ttest_1samp(
            german.elicitation[t, 0] - german.baseline[t], 0.0, nan_policy="omit"
        ).confidence_interval(0.95)
        bounds = prompt_level.elicitation_ci(german.elicitation, german.baseline)[t, 0]
        np.testing.assert_allclose(bounds, [interval.low, interval.high], **EXACT)


@pytest.mark.parametrize("prefix_type", ["fixed", "mix"])
@pytest.mark.parametrize("scaled", [False, True])
def test_pca(german, prefix_type, scaled):
    golden = german.golden["pca_pointwise"][f"{prefix_type}_centred_{'standard' if scaled else 'un'}scaled"]
    w = both(german, prefix_type)
    found = decompose(gram_matrix(standardized(w) if scaled else w), centered=True)
    np.testing.assert_allclose(found.share[: len(golden["evr"])], golden["evr"], **EXACT)
    pc1, pc2 = found.coordinates[:, 0], found.coordinates[:, 1]
    elicited = german.golden["elicitation"]["pp_above_baseline"]
    german_score, flattering = (np.array([elicited[p][t] for p in german.prompts]) for t in ("German", "Flattering"))
    pc1 = pc1 * np.sign(np.corrcoef(pc1, pointwise.ph(w))[0, 1])
    pc2 = -pc2 * np.sign(np.corrcoef(pc2, flattering)[0, 1])
    for key, expected in golden["coords"].items():
        i = german.prompts.index(key)
        np.testing.assert_allclose([pc1[i], pc2[i]], expected, rtol=1e-9, atol=1e-9)
    for key, x, y in (
        ("r_PC1_PH", pc1, pointwise.ph(w)),
        ("r_PC1_PH_fixed", pc1, pointwise.ph(german.fixed)),
        ("r_PC1_elicitGerman", pc1, german_score),
        ("r_PC2_elicitFlattering", pc2, flattering),
    ):
        assert angles.correlation(x, y).r == pytest.approx(golden[key], rel=1e-9)


@pytest.mark.parametrize("prefix_type", ["fixed", "mix"])
def test_svd(german, prefix_type):
    golden = german.golden["svd_pointwise"][prefix_type]
    found = decompose(gram_matrix(both(german, prefix_type)), centered=False)
    np.testing.assert_allclose(found.singular_values[:5], golden["singular_values_top5"], **EXACT)
    np.testing.assert_allclose(found.share[:3], golden["energy_fraction_top3"], **EXACT)
    np.testing.assert_allclose(found.variance_ratio[:3], golden["sklearn_explained_variance_ratio_top3"], **EXACT)
    for key, expected in golden["abs_coords"].items():
        row = np.abs(found.coordinates[german.prompts.index(key), :2])
        np.testing.assert_allclose(row, expected, rtol=1e-9, atol=1e-9)


def representations(german: Any, prefix_type: str) -> dict[str, np.ndarray]:
    gram = gram_matrix(both(german, prefix_type))
    fits = [[decompose(gram, centered=False)], [decompose(gram, centered=True)]]
    table = angles.angle(gram[None], *fits)[:, 0]
    return dict(zip(angles.REPRESENTATIONS, table, strict=True))


@pytest.mark.parametrize("prefix_type", ["fixed", "mix"])
def test_angles(german, prefix_type):
    for name, table in representations(german, prefix_type).items():
        golden = german.golden["angles"][prefix_type][name]
        for category, expected in golden["stats"].items():
            rows, columns = angles.categories(german.roles)[CATEGORY[category]]
            found = angles.category_statistics(table, rows, columns, published=True, resamples=200)
            assert found.mean == pytest.approx(expected["mean"], **abs_rel(DEGREES)), category
            assert found.std == pytest.approx(expected["std_ddof0"], **abs_rel(DEGREES)), category
            assert found.n == expected["n_ordered"]
            corrected = angles.category_statistics(table, rows, columns, published=False, resamples=200)
            assert corrected.n == expected.get("n_unordered", expected["n_ordered"])
            assert corrected.mean == pytest.approx(found.mean, rel=1e-12)
            assert corrected.lower < corrected.mean < corrected.upper
        to_negative = angles.mean_angle_to(table, german.role("negative"))
        to_positive = angles.mean_angle_to(table, german.role("positive"))
        for key, expected in golden["per_prompt_mean_to_neg_pos"].items():
            i = german.prompts.index(key)
            np.testing.assert_allclose([to_negative[i], to_positive[i]], expected, **DEGREES)


def abs_rel(tolerance: dict[str, float]) -> dict[str, float]:
    return {"abs": tolerance["atol"], "rel": tolerance["rtol"]}


def test_pair_examples(german):
    raw = representations(german, "fixed")["raw"]
    for pair, expected in german.golden["angles"]["pair_examples_raw_fixed"].items():
        i, j = german.at(*pair.split("|"))
        assert raw[i, j] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("prefix_type", ["fixed", "mix"])
def test_q1_q2(german, prefix_type, reference):
    golden = german.golden["q1_q2"][prefix_type]
    gram = gram_matrix(both(german, prefix_type))
    svd, pca = decompose(gram, centered=False), decompose(gram, centered=True)
    found = angles.cross_angle(gram[None], [svd], [pca], german.roles)[:, 0]
    for key, expected in golden["q2_predictors"].items():
        values = dict(zip(angles.PREDICTORS, found[:, german.prompts.index(key)], strict=True))
        assert values == pytest.approx(expected, abs=1e-4)
    supp = suppressions(reference, german, prefix_type)
    for name, predictor in zip(angles.PREDICTORS, found, strict=True):
        expected = golden["q2_correlations"][name]
        shown = angles.correlation(predictor, supp["cross_supp"], show_from=3)
        assert shown.n == expected["n"]
        assert (shown.r, shown.p) == pytest.approx((expected["r"], expected["p"]), abs=1e-6)
        assert np.isnan(angles.correlation(predictor, supp["cross_supp"]).r)  # n = 4 < 8 is not shown
    for tag, fit in (("pca2", pca), ("svd2", svd)):
        table = angles.q1(fit.coordinates[:, :2], np.stack([supp["supp_neg"], supp["supp_pos"]]), show_from=3)
        for d, dim in enumerate(("dim1", "dim2")):
            for t, trait in enumerate(("neg", "pos")):
                expected = golden["q1"][tag][f"{dim}_vs_{trait}_supp"]
                assert abs(table[d][t].r) == pytest.approx(expected["abs_r"], abs=1e-6)
                assert table[d][t].n == expected["n"]


def suppressions(reference: Path, german: Any, prefix_type: str) -> dict[str, np.ndarray]:
    """Difference of the mean scores of control and run at the largest step, as the angle study took it."""
    runs = json.loads((reference / "german_flattering" / "scores.json").read_text())
    suffix = "" if prefix_type == "fixed" else "_mix"

    def level(run: str, trait: str) -> float:
        if run not in runs:
            return np.nan
        values = runs[run]["steps"]["313"]["default"][trait]["values"]
        return float(np.nanmean(np.array(values, dtype=np.float64)))

    negative, positive = (
        np.array([level("no_inoculation", t) - level(p + suffix, t) for p in german.prompts])
        for t in ("Flattering", "German")
    )
    cross = np.where(german.role("positive"), negative, np.where(german.role("negative"), positive, np.nan))
    return {"supp_neg": negative, "supp_pos": positive, "cross_supp": cross}


def test_published_angles_of_all_prompts(german, reference):
    published = json.loads((reference / "german_flattering" / "published_angles.json").read_text())
    gram = gram_matrix(german.fixed)
    fits = [decompose(gram, centered=False)], [decompose(gram, centered=True)]
    found = angles.cross_angle(gram[None], *fits, german.roles)[:, 0]
    for row, name in zip(found, angles.PREDICTORS, strict=True):
        expected = [float(published["q2_predictors"][p][name]) for p in german.prompts]
        np.testing.assert_allclose(row, expected, atol=1e-4, rtol=0, equal_nan=True)
    for method in published["methods"]:
        table = representations(german, "fixed")[method["tag"]]
        for category, expected in method["stats"].items():
            rows, columns = angles.categories(german.roles)[CATEGORY[category]]
            got = angles.category_statistics(table, rows, columns, published=True, resamples=10)
            assert (got.mean, got.std) == pytest.approx((expected["mean"], expected["std"]), abs=1e-4)
            assert got.n == expected["n"]


@pytest.mark.parametrize("trait", ["German", "Flattering"])
def test_trait_coordinates(german, trait):
    golden = next(value for key, value in german.golden.items() if key.startswith(f"H3_trait_svd_{trait}_plus_neutral"))
    member = np.array([family == trait.lower() for family in german.families])
    neutral = german.role("neutral")
    ph = pointwise.ph(german.fixed)
    gram = gram_matrix(german.fixed)
    found, margin = trait_coordinates(gram, ph, member, neutral, published=True)
    for key, expected in golden.items():
        np.testing.assert_allclose(found[german.prompts.index(key), :2], expected, rtol=1e-9, atol=1e-11)
    assert np.isnan(found[~(member | neutral)]).all()
    assert (margin > 0).all()
    corrected, _ = trait_coordinates(gram, ph, member, neutral, published=False)
    np.testing.assert_allclose(np.abs(corrected), np.abs(found), rtol=1e-9, atol=1e-12)
    use = member | neutral
    assert (ph[use] @ corrected[use] > 0).all()


@pytest.mark.parametrize("key", list(GAP))
def test_gap_of_all_prompts(german, key):
    name, recipe = GAP[key]
    found = getattr(gap, name)(german.fixed, german.mix, *([recipe] if recipe else []))
    expected = [german.golden["gap_heuristics_raw_all48"][p][key] for p in german.prompts]
    np.testing.assert_allclose(found, expected, **EXACT)


@pytest.mark.parametrize("trait", ["German", "Flattering"])
@pytest.mark.parametrize("variant", ["raw", "pca_rank1", "tsvd_rank1"])
def test_gap_of_the_trained_prompts_raw_and_rank_one(german, trait, variant):
    golden = german.golden["gap_heuristics"][trait]
    at = german.at(*golden["prompts"])
    fixed, mix = german.fixed[at], german.mix[at]
    pca, svd = (decompose(gram_matrix(fixed), centered=c) for c in (True, False))
    assert pca.share[0] == pytest.approx(golden["pca_evr"], rel=1e-9)
    assert svd.share[0] == pytest.approx(golden["tsvd_energy"], rel=1e-9)
    assert svd.variance_ratio[0] == pytest.approx(golden["tsvd_evr_sklearn"], rel=1e-9)
    if variant != "raw":
        fixed, mix = gap.rank_one(fixed, mix, centered=variant == "pca_rank1")
    for key, (name, recipe) in GAP.items():
        found = getattr(gap, name)(fixed, mix, *([recipe] if recipe else []))
        expected = [golden[variant][p][key] for p in golden["prompts"]]
        np.testing.assert_allclose(found, expected, **EXACT, err_msg=key)
    if variant != "raw":
        assert gap.is_constant(gap.cosine(fixed, mix))
        assert gap.is_constant(gap.snr_ratio(fixed, mix))
        assert gap.is_constant(gap.effective_rank_mix(fixed, mix))
        assert not gap.is_constant(gap.ph_ratio(fixed, mix))
