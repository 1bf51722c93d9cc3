"""The reference numbers once more, through the importer and the store (1e-6), and the published table's columns."""

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import inoc
from inoc.cli import cli
from inoc.heuristics.frame.table import compute
from inoc.heuristics.maths.composite import composite_rows
from inoc.heuristics.maths.gram import z_sum

pytestmark = pytest.mark.reference
THROUGH_STORE = dict(rtol=1e-6, atol=1e-9)


@pytest.fixture(scope="module")
def store(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place, path = reference / "german_flattering", tmp_path_factory.mktemp("gf") / "gf.zarr"
    options = ["--prompts", place / "prompts.json", "--elicitation", place / "elicitation.json"]
    command = ["import", place / "logprobs_by_example.json", *options, "--store", path]
    result = CliRunner().invoke(cli, [str(part) for part in command], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return path


@pytest.fixture(scope="module")
def published(store: Path):
    return compute(inoc.open_store(store), recipe="published")


@pytest.fixture(scope="module")
def corrected(store: Path):
    return compute(inoc.open_store(store))


def test_per_prompt_numbers(german, published):
    golden = german.golden["per_prompt"]
    assert published["prompt"].values.tolist() == list(german.prompts)
    cells = {
        "PH": published["ph"].sel(prefix_type="fixed"),
        "PH_mix": published["ph"].sel(prefix_type="mix"),
        "PPD": published["ppd"].sel(prefix_type="fixed", completion_set="control"),
        "gamma": published["gamma"].sel(prefix_type="fixed"),
        "gamma_mix": published["gamma_mix"].sel(variant="raw"),
        "sigma_ddof1": published["sigma"].sel(prefix_type="fixed"),
        "SNR": published["snr"].sel(prefix_type="fixed"),
        "SNR_mix": published["snr"].sel(prefix_type="mix"),
        "MALD": published["mald"].sel(prefix_type="fixed"),
        "w_cos": published["cosine"].sel(variant="raw"),
        "w_cor": published["w_cor"],
        "w_sign_agree": published["sign_agreement"],
        "lp_spread_mean": published["spread_mean"],
        "lp_spread_std_ddof0": published["spread_std"],
        "w_l2": published["w_l2"],
        "w_proj": published["projection"],
    }
    for key, found in cells.items():
        expected = [golden[p][key] for p in german.prompts]
        np.testing.assert_allclose(found.values, expected, **THROUGH_STORE, err_msg=key)
    assert np.isnan(published["ppd"].sel(prefix_type="mix")).all()  # never measured


def test_elicitation_spectra_angles_and_traits(german, published, corrected):
    golden = german.golden
    for trait in ("German", "Flattering"):
        expected = [golden["elicitation"]["pp_above_baseline"][p][trait] for p in german.prompts]
        np.testing.assert_allclose(published["elicitation"].sel(trait=trait), expected, **THROUGH_STORE)
        h3 = next(v for k, v in golden.items() if k.startswith(f"H3_trait_svd_{trait}_plus"))
        found = published["trait_svd"].sel(trait=trait, prefix_type="mix", prompt=list(h3), component=[1, 2])
        np.testing.assert_allclose(found.values, list(h3.values()), **THROUGH_STORE)
    for kind in ("fixed", "mix"):
        at = published.sel(prefix_type=kind)
        evr = golden["pca_pointwise"][f"{kind}_centred_unscaled"]["evr"]
        np.testing.assert_allclose(at["pca_explained"].values[: len(evr)], evr, **THROUGH_STORE)
        evr = golden["pca_pointwise"][f"{kind}_centred_standardscaled"]["evr"]
        np.testing.assert_allclose(at["pca_scaled_explained"].values[: len(evr)], evr, **THROUGH_STORE)
        svd = golden["svd_pointwise"][kind]
        np.testing.assert_allclose(at["svd_energy"].values[:3], svd["energy_fraction_top3"], **THROUGH_STORE)
        ratios = svd["sklearn_explained_variance_ratio_top3"]
        np.testing.assert_allclose(at["svd_variance_ratio"].values[:3], ratios, **THROUGH_STORE)
        for name, stats in golden["angles"][kind].items():
            category = stats["stats"]["cross_trait"]
            cell = at.sel(representation=name, category="cross")
            np.testing.assert_allclose(cell["angle_category_mean"], category["mean"], atol=1e-4)
            np.testing.assert_allclose(cell["angle_category_std"], category["std_ddof0"], atol=1e-4)
            assert cell["angle_category_n"] == category["n_ordered"]
        for key, expected in golden["q1_q2"][kind]["q2_predictors"].items():
            found = at["cross_angle"].sel(prompt=key)
            values = dict(zip(found["predictor"].values.tolist(), found.values, strict=True))
            assert values == pytest.approx(expected, abs=1e-4)
    assert corrected["angle_category_n"].sel(category="within_negative").values.tolist() == [[210] * 3] * 2


@pytest.mark.parametrize("trait", ["German", "Flattering"])
def test_rank_one_gap_of_the_prompts_at_hand(store, german, trait):
    golden = german.golden["gap_heuristics"][trait]
    found = compute(inoc.open_store(store), recipe="published", prompts=golden["prompts"])
    for ours, variant in (("raw", "raw"), ("pca1", "pca_rank1"), ("svd1", "tsvd_rank1")):
        for prompt in golden["prompts"]:
            at, expected = found.sel(prompt=prompt, variant=ours), golden[variant][prompt]
            for key, name in (("PH_ratio", "ph_ratio"), ("sigma2_diff", "variance_diff"), ("SNR_mix", "snr_mix"),
                              ("eff_rank", "effective_rank_mix"), ("MALD_ratio", "mald_ratio"),
                              ("SNR_abs_mix", "snr_abs_mix")):  # fmt: skip
                np.testing.assert_allclose(at[name], expected[key], **THROUGH_STORE, err_msg=name)
    assert found["snr_ratio"].attrs["constant"][1] == 1
    assert found["ph_ratio"].attrs["constant"][0] == 0


@pytest.fixture(scope="module")
def table(reference: Path) -> list[dict[str, str]]:
    with (reference / "german_flattering" / "published_table_rows.csv").open() as file:
        return list(csv.DictReader(file))


def number(text: str) -> float:
    return float(text) if text else np.nan


def test_columns_of_the_published_table(table, published, german):
    """Pointwise columns that its authors computed themselves, row by row."""
    columns = {"ph": ("ph", "fixed"), "w_l2": ("w_l2", ""), "w_cos": ("cosine", ""), "w_cor": ("w_cor", ""),
               "ph_drop": ("ph_drop", ""), "ph_ratio": ("ph_ratio", ""), "w_proj": ("projection", ""),
               "w_sign_agree": ("sign_agreement", "")}  # fmt: skip
    checked = 0
    for row in table:
        if row["prompt_key"] not in german.prompts:
            continue
        at = published.sel(prompt=row["prompt_key"])
        for column, (name, kind) in columns.items():
            if row[column]:
                found = at[name].sel(prefix_type=kind) if kind else at[name]
                found = found.sel(variant="raw") if "variant" in found.dims else found
                assert found.item() == pytest.approx(number(row[column]), rel=1e-6), (column, row["prompt_key"])
                checked += 1
        if row["pc1_trait_svd"] and row["trait_name"] == "German":
            found = at["trait_svd"].sel(trait="German", prefix_type=row["prefix_type"]).values[:2]
            np.testing.assert_allclose(found, [number(row["pc1_trait_svd"]), number(row["pc2_trait_svd"])], rtol=1e-6)
            checked += 1
    assert checked > 500


def test_z_sum_of_the_published_table(table):
    """Sum of z over the prompts of the trait's fit, from the coordinates in the table."""
    rows = {r["prompt_key"]: r for r in table if r["trait_name"] == "German" and r["pc1_trait_tok"]}
    coordinates = np.array([[number(r[f"pc{j}_trait_tok"]) for j in (1, 2, 3)] for r in rows.values()])
    expected = np.array([number(r["tok_svd_zsum_german"]) for r in rows.values()])
    assert len(rows) == 27
    np.testing.assert_allclose(z_sum(coordinates), expected, rtol=1e-9, atol=1e-12)


def test_composite_of_the_published_table(table, german):
    """H7 over the rows of the table correlates with suppression as published."""
    names = ["elicitation", "pc1_trait_tok_svd", "emb_dist_from_neutral", "emb_rephrase_std_cos", "suppression"]
    h1, h4, h5, h6, suppression = (np.array([number(row[name]) for row in table]) for name in names)
    h7 = composite_rows(h1, h4, h5, h6, np.array([row["prefix_type"] == "mix" for row in table]))
    both = np.isfinite(h7) & np.isfinite(suppression)
    r, n = german.golden["table_GF_rows_only_from_dataset_csv"]["rows"]["H7"]["trait_all"]
    assert int(both.sum()) == n
    assert np.corrcoef(h7[both], suppression[both])[0, 1] == pytest.approx(r, abs=1e-9)
