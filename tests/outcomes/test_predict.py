"""Predictions of untrained prompts: coverage in a known world, refusals, and what may not leak."""

import numpy as np
import pytest
import xarray as xr

from inoc.errors import BadInput, IncompleteStore
from inoc.outcomes.advice import cards, silent_about_others, trust, unpredicted
from inoc.outcomes.prediction import predict_of

from .worlds import simulated_rows

Many = tuple[xr.Dataset, xr.Dataset, xr.Dataset]


def split(rows: xr.Dataset, trained: int) -> tuple[xr.Dataset, xr.Dataset]:
    """The first prompts as trained, the others as untrained (their outcomes removed)."""
    number = np.array([int(p[1:]) for p in rows["prompt"].values])
    keep = ["heuristic_value"]
    return rows.isel(row=number < trained), rows.isel(row=number >= trained)[keep]


@pytest.fixture(scope="module")
def many() -> Many:
    """24 trained prompts and six new ones, with their predictions."""
    old, new = split(simulated_rows(np.random.default_rng(8), 30, noise=0.03), 24)
    return old, new, predict_of(old, new)


@pytest.mark.slow  # twelve predictions; each rule of the interval has a test of its own in test_rules.py
def test_intervals_hold_new_prompts() -> None:
    """Simulated studies of 8 and 21 trained prompts, on-target, both prefix types, six new prompts each."""
    for trained in (8, 21):
        hits: list[bool] = []
        for seed in range(6):
            rows = simulated_rows(np.random.default_rng(seed), trained + 6)
            old, new = split(rows, trained)
            found = predict_of(old, new)
            truth = rows.sel(heuristic="ph").drop_vars("heuristic").to_dataframe()
            for _, row in truth.iterrows():
                if int(row["prompt"][1:]) < trained or not row["on_target"]:
                    continue
                cell = found.sel(prompt=row["prompt"], prefix_type=row["prefix_type"], trait=row["trait"])
                hits.append(bool(cell["lower"] - 1e-9 <= row["suppression"] <= cell["upper"] + 1e-9))
        assert len(hits) >= 90
        assert np.mean(hits) >= 0.9


def test_few_prompts_allow_no_choice() -> None:
    """Below 10 prompts the curve is that of the first heuristic, though another one is better here."""
    rows = simulated_rows(np.random.default_rng(11), 24, noise=0.02)
    few, _ = split(rows, 9)
    many, new = split(rows, 18)
    on_target = {"relation": "on_target"}
    assert set(predict_of(few, new)["model"].sel(on_target).values) == {"monotone in elicitation"}
    assert set(predict_of(few, new, ["ph"])["model"].sel(on_target).values) == {"monotone in ph"}
    assert "ph" in " ".join(predict_of(many, new)["model"].sel(on_target).values.tolist())


def test_a_prediction_stays_within_what_the_control_allows() -> None:
    old, new = split(simulated_rows(np.random.default_rng(0), 18, noise=0.5), 12)
    found = predict_of(old, new)
    for name in ("predicted", "lower", "upper"):
        values = found[name].sel(trait="Flattering").values
        assert np.nanmax(values) <= 45.0
        assert np.nanmin(values) >= -55.0


def test_outcomes_of_untrained_prompts_do_not_leak_in() -> None:
    rows = simulated_rows(np.random.default_rng(1), 18)
    old, new = split(rows, 12)
    first = predict_of(old, new)
    order = np.random.default_rng(0).permutation(old.sizes["row"])
    shuffled = predict_of(old.isel(row=order), new)
    np.testing.assert_allclose(shuffled["predicted"].values, first["predicted"].values)
    assert set(first["prompt"].values) == {f"p{i}" for i in range(12, 18)}


def test_trained_prompts_are_not_predicted_but_their_missing_prefix_type_is() -> None:
    rows = simulated_rows(np.random.default_rng(2), 12)
    only_fixed = (rows["prompt"] == "p0").values & (rows["prefix_type"] == "mix").values
    rows["suppression"] = rows["suppression"].where(xr.DataArray(~only_fixed, dims="row"))
    found = predict_of(rows, rows[["heuristic_value"]])
    assert found["prompt"].values.tolist() == ["p0"]
    assert found["reason"].sel(prompt="p0", prefix_type="fixed", trait="German").item() == "trained"
    assert np.isfinite(found["predicted"].sel(prompt="p0", prefix_type="mix", trait="German"))


def test_fewer_than_four_prompts_are_refused() -> None:
    for trained, said in ((3, "only 3 distinct prompts were trained"), (1, "only 1 distinct prompt was trained")):
        old, new = split(simulated_rows(np.random.default_rng(3), 8), trained)
        with pytest.raises(IncompleteStore, match=said):
            predict_of(old, new)


def test_an_unknown_heuristic_suggests_the_nearest() -> None:
    old, new = split(simulated_rows(np.random.default_rng(3), 12), 9)
    with pytest.raises(BadInput, match="did you mean 'elicitation'"):
        predict_of(old, new, ["elicitatoin"])


def test_heuristics_the_untrained_prompts_lack_are_not_used() -> None:
    old, new = split(simulated_rows(np.random.default_rng(4), 18), 12)
    new["heuristic_value"] = new["heuristic_value"].where(new["heuristic"] == "elicitation")
    found = predict_of(old, new)
    assert np.isfinite(found["predicted"].values).all()
    assert "ph" not in " ".join(found["model"].values.ravel().tolist())


def test_a_family_never_trained_gets_the_wider_interval() -> None:
    rows = simulated_rows(np.random.default_rng(5), 24)
    old, new = split(rows, 18)
    stranger = new.assign_coords(family=("row", np.full(new.sizes["row"], "poetic", dtype=object)))
    known, unknown = predict_of(old, new), predict_of(old, stranger)
    np.testing.assert_array_equal(known["predicted"].values, unknown["predicted"].values)
    changed = known["upper"].values - known["lower"].values != unknown["upper"].values - unknown["lower"].values
    assert changed.any()


def test_errors_name_their_groups_and_store_error_needs_two_stores() -> None:
    one = simulated_rows(np.random.default_rng(6), 15)
    old, new = split(one, 12)
    alone = predict_of(old, new)
    assert np.isnan(alone["error"].sel(left_out="store")).all()
    assert np.isfinite(alone["error"].sel(relation="on_target", left_out=["prompt", "family"])).all()
    assert alone["prompts"].sel(relation="on_target", prefix_type="fixed").item() == 12
    other = simulated_rows(np.random.default_rng(7), 15, experiment="other")
    both = predict_of(xr.concat([old, other], dim="row"), new)
    assert np.isfinite(both["error"].sel(relation="on_target", left_out="store")).all()


def test_advice_in_words(many: Many) -> None:
    found = many[2]
    texts = {f"p{i}": "x" * (40 - i) for i in range(30)}
    found_cards = cards(found, texts)
    strongest = [card for card in found_cards if "strongest" in card.remarks]
    assert {(card.trait, card.prefix_type) for card in strongest} <= {
        (t, k) for t in ("German", "Flattering") for k in ("fixed", "mix")
    }
    for card in strongest:
        same = [c for c in found_cards if (c.trait, c.prefix_type) == (card.trait, card.prefix_type)]
        inside = [c for c in same if not c.outside]
        assert card.predicted == max(c.predicted for c in inside)
        assert str(card).startswith(f"{card.prompt} ({card.prefix_type}): predicted {card.predicted:.0f} pp [")
    said = trust(found)
    assert len(said) == 4
    assert "learned from 24 distinct prompts" in said[0]
    assert "Rough" not in said[0]
    assert not unpredicted(found)


def test_a_card_far_outside_the_calibration_has_no_number(many: Many) -> None:
    old, new, _ = many
    far = new.assign(heuristic_value=new["heuristic_value"].where(new["prompt"] != "p25", 1e4))
    found = predict_of(old, far)
    told = [card for card in cards(found) if card.prompt == "p25"]
    assert told
    for card in told:
        assert str(card) == (
            f"p25 ({card.prefix_type}): cannot say: outside the range of what was trained ({card.outside})"
        )
        assert "1e+04" in card.outside
        assert np.isfinite(card.predicted)
        assert not card.remarks
    for trait, kind in {(card.trait, card.prefix_type) for card in told}:
        order = [bool(c.outside) for c in cards(found) if (c.trait, c.prefix_type) == (trait, kind)]
        assert order == sorted(order)


def test_the_other_trait_is_told_only_where_its_model_beats_the_mean(many: Many) -> None:
    found = many[2]
    cell = {"relation": "other_trait", "left_out": "family"}
    for chosen, left_out in ((20.0, False), (25.0, True)):
        error = found["error"].copy()
        error.loc[{**cell, "predictor": "chosen"}] = chosen
        error.loc[{**cell, "predictor": "constant"}] = 22.0
        changed = found.assign(error=error)
        assert any("changes by" in str(card) for card in cards(changed)) is not left_out
        assert silent_about_others(changed).startswith("What fixed and mix runs do") is left_out
        error.loc[{**cell, "predictor": "chosen"}] = np.nan  # one family: the errors on new prompts decide
        error.loc[{**cell, "left_out": "prompt", "predictor": "chosen"}] = chosen
        error.loc[{**cell, "left_out": "prompt", "predictor": "constant"}] = 22.0
        assert bool(silent_about_others(found.assign(error=error))) is left_out


def test_nothing_is_called_minus_zero(many: Many) -> None:
    found = many[2]
    cell = {"relation": "other_trait", "left_out": "family"}
    error = found["error"].copy()
    error.loc[{**cell, "predictor": "chosen"}] = 1.0
    for tiny in (-0.3, 0.3):
        near = {name: xr.full_like(found[name], tiny) for name in ("predicted", "lower", "upper")}
        inside = xr.full_like(found["outside"], "")
        said = [str(card) for card in cards(found.assign({"error": error, "outside": inside, **near}))]
        assert any("predicted 0 pp [0, 0]" in text for text in said)
        assert any("changes by 0 pp" in text for text in said)
        assert not any("-0" in text or "+0" in text for text in said)


def test_trust_without_a_second_family_is_that_of_left_out_prompts() -> None:
    rows = simulated_rows(np.random.default_rng(10), 14)
    rows["family"] = ("row", np.full(rows.sizes["row"], rows["family"].values[0], dtype=object))
    old, new = split(rows, 8)
    found = predict_of(old, new)
    error = found["error"].sel(relation="on_target", prefix_type="fixed", left_out="prompt")
    chosen, constant = (float(error.sel(predictor=p)) for p in ("chosen", "constant"))
    said = trust(found)[0]
    assert f"typical error on a left-out prompt {chosen:.0f} pp (" in said
    assert f"{constant:.0f} always guessing the mean)." in said
    assert "Only one family was trained" in said


def test_advice_warns_where_the_model_is_no_better_than_the_mean() -> None:
    rows = simulated_rows(np.random.default_rng(9), 18)
    rng = np.random.default_rng(0)
    noise = {p: rng.normal() for p in set(rows["prompt"].values)}
    rows["heuristic_value"] = (
        ("heuristic", "row"),
        np.array([[noise[p] for p in rows["prompt"].values], rng.normal(size=rows.sizes["row"])]),
    )
    old, new = split(rows, 12)
    found = predict_of(old, new)
    said = " ".join(trust(found)[:2])
    chosen, constant = (
        found["error"].sel(relation="on_target", left_out="family", predictor=p) for p in ("chosen", "constant")
    )
    assert said.count("do not act on it") == int((chosen >= constant).sum())
    assert said.count("Rough: fewer than 20 prompts") == 2
    for kind in ("fixed", "mix"):
        if float(chosen.sel(prefix_type=kind)) >= float(constant.sel(prefix_type=kind)):
            assert not [c for c in cards(found) if c.prefix_type == kind and "strongest" in c.remarks]
