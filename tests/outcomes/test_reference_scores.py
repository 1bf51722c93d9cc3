"""Suppression and gap of the reference scores against independently computed numbers."""

import json
from pathlib import Path

import numpy as np
import pytest

from inoc.outcomes.effects import cross_of, gap_of, suppression_of
from inoc.outcomes.final import final_scores

from .worlds import TRAITS, reference_scores

pytestmark = pytest.mark.reference


@pytest.fixture(scope="module")
def golden(reference: Path) -> dict:
    return json.loads((reference / "german_flattering" / "golden.json").read_text())


@pytest.mark.parametrize("step", [312, 313])
def test_suppression_equals_golden(reference: Path, golden: dict, step: int) -> None:
    table = suppression_of(final_scores(reference_scores(reference), step=step))
    rows = golden["suppression_paired_t"][str(step)]
    assert len(rows) == 28
    assert table.sizes == {"run": 14, "trait": 2}
    for name, expected in rows.items():
        run, trait = name.split("|")
        cell = table.sel(run=run, trait=trait)
        for part, key in (("mean", "mean"), ("lower", "ci_lo"), ("upper", "ci_hi")):
            assert cell[part].item() == pytest.approx(expected[key], rel=1e-9, abs=1e-9)
        assert cell["n"].item() == expected["n"]


def test_published_recipe_takes_step_313_and_equals_the_table_rows(reference: Path, golden: dict) -> None:
    import pandas as pd

    rows = pd.read_csv(reference / "german_flattering" / "published_table_rows.csv")
    table = suppression_of(final_scores(reference_scores(reference), recipe="published"), recipe="published")
    assert set(table["step"].values) == {313}
    compared = 0
    for run in table["run"].values:
        prompt, kind = (str(table["run_prompt"].sel(run=run).item()), str(table["prefix_type"].sel(run=run).item()))
        for trait in TRAITS:
            match = rows[(rows.prompt_key == prompt) & (rows.prefix_type == kind) & (rows.trait_name == trait)]
            cell = table.sel(run=run, trait=trait)
            expected = match[["suppression", "suppression_ci_lo", "suppression_ci_hi", "n_eval"]].to_numpy()
            found = [cell[part].item() for part in ("mean", "lower", "upper", "n")]
            assert found == pytest.approx(expected[0].tolist(), rel=1e-9, abs=1e-9)
            compared += 1
    assert compared == 28
    assert golden["suppression_check_vs_csv_step313"]["max_abs_diff_over_28_rows"] < 1e-9


@pytest.mark.parametrize("trait", TRAITS)
def test_gap_rows(reference: Path, golden: dict, trait: str) -> None:
    final = final_scores(reference_scores(reference), step=313)
    gap = gap_of(final, recipe="published").sel(trait=trait)  # the published row subtracts unpaired means
    paired = gap_of(final).sel(trait=trait)
    complete = np.isfinite(final.score[:, list(final.trait).index(trait)]).all(axis=1)
    held = suppression_of(final).sel(trait=trait)
    for prompt, expected in golden["gap_heuristics"][trait]["row1_fixed_minus_mix"].items():
        assert -gap["mean"].sel(prompt=prompt).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
        if all(complete[final.run.index(run)] for run in (prompt, f"{prompt}_mix")):
            assert -paired["mean"].sel(prompt=prompt).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
        else:
            assert abs(paired["mean"].sel(prompt=prompt).item() + expected) < 0.5  # one missing answer of 200
    for prompt, expected in golden["gap_heuristics"][trait]["row2_noinoc_minus_mix"].items():
        assert held["mean"].sel(run=f"{prompt}_mix").item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_the_run_whose_last_steps_contradict_is_flagged_and_left_out(reference: Path) -> None:
    scores = reference_scores(reference)
    final = final_scores(scores)
    flagged = {run: flag for run, flag in zip(final.run, final.flag, strict=True) if flag}
    assert list(flagged) == ["avoid_flattery"]
    assert "Flattering 27.3 at step 312, 39.1 at step 313" in flagged["avoid_flattery"]
    assert len(final.left_out) == 1
    assert set(final.step) == {312}
    table = suppression_of(final)
    assert np.isnan(table["mean"].sel(run="avoid_flattery")).all()
    assert np.isfinite(table["mean"].drop_sel(run="avoid_flattery")).all()
    assert table["flags"].sel(run="avoid_flattery").item()
    asked = suppression_of(final_scores(scores, include_flagged=True))
    assert np.isfinite(asked["mean"]).all()
    assert asked["flags"].sel(run="avoid_flattery").item()
    # the gap of that prompt needs the run that was left out
    assert np.isnan(gap_of(final)["mean"].sel(prompt="avoid_flattery")).all()


def test_cross_suppression_is_the_other_trait_of_the_same_run(reference: Path) -> None:
    table = suppression_of(final_scores(reference_scores(reference)))
    cross = cross_of(table)
    np.testing.assert_array_equal(
        cross["mean"].sel(trait="German").values, table["mean"].sel(trait="Flattering").values
    )
    assert cross["other"].sel(trait="German").item() == "Flattering"
