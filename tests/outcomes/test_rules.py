"""Every rule of prediction and of the performance table, each by a case where another rule says something else."""

import numpy as np
import pytest
import xarray as xr

from inoc.intervals import prediction_interval
from inoc.outcomes.advice import FIELDS, NEAR, cards, doubts, silent_about_others, trust
from inoc.outcomes.candidates import ELICITATION, MEAN, candidates
from inoc.outcomes.features import features
from inoc.outcomes.learning import learn, sample_of
from inoc.outcomes.performance_table import performance_of
from inoc.outcomes.prediction import predict_of
from inoc.outcomes.shipped import shipped
from inoc.quantiles import t_quantile

from .worlds import simulated_rows


def world(seed: int = 8, prompts: int = 16, trained: int = 12, **options: object) -> tuple[xr.Dataset, xr.Dataset]:
    """Trained rows, and the rows of the other prompts without outcomes."""
    rows = simulated_rows(np.random.default_rng(seed), prompts, **options)
    number = np.array([int(p[1:]) for p in rows["prompt"].values])
    return rows.isel(row=number < trained), rows.isel(row=number >= trained)[["heuristic_value"]]


def test_a_relation_is_learned_from_its_own_rows() -> None:
    """On target the share is .8 everywhere, off target .1: neither prediction shows the other."""
    old, new = world()
    old["suppression"] = old["control"] * np.where(old["on_target"], 0.8, 0.1)
    found = predict_of(old, new)
    on = found["on_target"].values
    np.testing.assert_allclose(found["share"].values[on], 0.8, atol=0.06)
    np.testing.assert_allclose(found["share"].values[~on], 0.1, atol=0.06)


def test_the_control_is_that_of_the_prompts_own_store() -> None:
    """Two stores with controls 90 and 30 of the same traits: a prompt of either is told by its own."""
    one, new_one = world(1, experiment="one")
    two, new_two = world(2, experiment="two")
    two = two.assign(suppression=two["suppression"] / 3, control=two["control"] / 3)
    table = xr.concat([one, two], dim="row")
    for new, scale in ((new_one, 1), (new_two, 3)):
        found = predict_of(table, new)
        for trait, level in (("German", 90.0), ("Flattering", 45.0)):
            np.testing.assert_allclose(found["control"].sel(trait=trait).values, level / scale)
            np.testing.assert_allclose(
                found["predicted"].sel(trait=trait), found["share"].sel(trait=trait) * level / scale
            )
    # a third store: the mean of those that have the trait, its own control run, or what is given
    stranger = new_one.assign_coords(experiment=("row", np.full(new_one.sizes["row"], "three", dtype=object)))
    assert float(predict_of(table, stranger)["control"].sel(trait="German").values.ravel()[0]) == pytest.approx(60)
    given = predict_of(table, stranger, control={"German": 77.0})
    assert float(given["control"].sel(trait="German").values.ravel()[0]) == 77
    own = stranger.assign(control=("row", np.full(stranger.sizes["row"], 55.0)))
    assert (predict_of(table, own, control={"German": 77.0})["control"].values == 55).all()


def test_an_unseen_trait_has_a_share_and_pp_only_with_a_control() -> None:
    old, new = world()
    french = new.assign_coords(
        trait=("row", np.where(new["trait"] == "German", "French", "Playful").astype(object)),
        experiment=("row", np.full(new.sizes["row"], "other", dtype=object)),
    )
    found = predict_of(old, french)
    assert np.isfinite(found["share"].values).all()
    assert np.isnan(found["predicted"].values).all()
    said = " ".join(map(str, cards(found)))
    assert "% [" in said
    assert "of what the control shows" in said
    assert any("--control French=SCORE" in text for text in doubts(found))
    told = predict_of(old, french, control={"French": 80.0})
    np.testing.assert_allclose(told["predicted"].sel(trait="French"), 80 * told["share"].sel(trait="French"))
    np.testing.assert_allclose(told["share"].values, found["share"].values)


def test_the_interval_of_one_new_value() -> None:
    """t x s x sqrt(1 + 1/n), s about zero: not about the mean of the residuals."""
    residuals = np.array([3.0, 4.0, 5.0, 3.0])
    found = prediction_interval(10.0, residuals)
    s = np.sqrt(np.mean(residuals**2))
    half = float(t_quantile(np.array(3))) * s * np.sqrt(1 + 1 / 4)
    assert found.upper - 10 == pytest.approx(half)
    assert 10 - found.lower == pytest.approx(half)
    assert np.isnan(prediction_interval(10.0, residuals[:2]).lower)


def test_the_interval_is_as_unlike_as_the_prompt() -> None:
    """Known family: errors on left-out prompts; new family: families; another store: stores."""
    one, new = world(1, experiment="one")
    two, _ = world(2, experiment="two")
    table = xr.concat([one, two], dim="row")
    read = features(table, new)
    model = learn(sample_of(table, read.names, read.values[0], "on_target"), candidates(read.consistency))
    poetic = new.assign_coords(family=("row", np.full(new.sizes["row"], "poetic", dtype=object)))
    stranger = new.assign_coords(experiment=("row", np.full(new.sizes["row"], "three", dtype=object)))
    settings = new.assign(unlike=("row", np.ones(new.sizes["row"], dtype=bool)))
    for rows, basis in ((new, "prompt"), (poetic, "family"), (stranger, "store"), (settings, "store")):
        found = predict_of(table, rows)
        asked = found["on_target"].values & np.isfinite(found["share"].values)
        assert set(found["basis"].values[asked]) == {basis}
        cell = np.argwhere(asked & (found["prefix_type"].values == "fixed")[None, :, None])[0]
        value, low, high = (float(found[n].values[tuple(cell)]) for n in ("share", "share_lower", "share_upper"))
        expected = prediction_interval(value, model.residuals(basis, "fixed"))
        level = float(found["control"].values[tuple(cell)])
        assert low == pytest.approx(max(expected.lower, (level - 100) / level))
        assert high == pytest.approx(min(expected.upper, 1.0))


@pytest.mark.slow  # predicts many small studies
def test_one_store_says_of_another_study_at_least_what_published_ones_show() -> None:
    """Left-out stores cannot be had from one store: the wider of left-out families and left-out studies counts."""
    seen: set[str] = set()
    for noise in (0.01, 0.6):
        old, new = (with_example_heuristics(rows) for rows in world(3, noise=noise))
        stranger = new.assign_coords(experiment=("row", np.full(new.sizes["row"], "other", dtype=object)))
        found = predict_of(old, stranger, prior=shipped())
        read = features(old, stranger)
        tried = candidates(read.consistency, shipped().priors("on_target", read))
        model = learn(sample_of(old, read.names, read.values[0], "on_target"), tried)
        study = shipped().usable("on_target", read)[0].error["fixed"]["study"]
        spreads = {"family": model.residuals("family", "fixed"), "study": np.full(study.prompts, study.share)}
        basis = max(spreads, key=lambda name: float(np.mean(spreads[name] ** 2)))
        seen.add(basis)
        for cell in np.argwhere(found["on_target"].sel(prefix_type="fixed").values):
            mine = found.sel(prefix_type="fixed").isel(prompt=cell[0], trait=cell[1])
            expected = prediction_interval(float(mine["share"]), spreads[basis])
            assert mine["basis"].item() == basis
            assert float(mine["share_upper"]) == pytest.approx(min(expected.upper, 1.0), abs=1e-6)
    assert seen == {"family", "study"}


def with_example_heuristics(rows: xr.Dataset) -> xr.Dataset:
    """The rows with ph on the scale of logprobs, and a spread of the differences."""
    ph = rows["heuristic_value"].sel(heuristic="ph").values
    values = np.vstack([rows["heuristic_value"].sel(heuristic="elicitation").values, 0.15 * ph, 0.1 + 0.3 * ph])
    made = rows.drop_dims("heuristic").assign(heuristic_value=(("heuristic", "row"), values))
    return made.assign_coords(heuristic=["elicitation", "ph", "sigma"])


def test_a_source_must_cover_three_quarters_of_the_rows() -> None:
    """mean_square on 35 of 48 rows gives way to sigma, on 36 it does not."""
    old, _ = world()
    table = with_example_heuristics(old)
    n = table.sizes["row"]
    for covered, expected in ((35, "sigma"), (36, "mean_square")):
        known = np.arange(n) < covered
        values = np.vstack([table["heuristic_value"].values, np.where(known, 1.0, np.nan)])
        more = table.drop_dims("heuristic").assign(heuristic_value=(("heuristic", "row"), values))
        more = more.assign_coords(heuristic=["elicitation", "ph", "sigma", "mean_square"])
        assert features(more).salience == expected


@pytest.mark.parametrize(("share", "kept"), [(0.75, True), (0.74, False)])
def test_a_heuristic_must_cover_three_quarters_of_the_rows(share: float, kept: bool) -> None:
    """Of 100 on-target rows: at 75 the heuristic joins the common set, at 74 it is left out of it."""
    old, _ = world(0, 50, 50)
    table = old.isel(row=np.flatnonzero(old["on_target"].values)[:100])
    assert table.sizes["row"] == 100
    x = table["heuristic_value"].values.copy()
    x[0, np.arange(100) >= 100 * share] = np.nan
    found = performance_of(table.assign(heuristic_value=(("heuristic", "row"), x)), resamples=20)
    cell = found.sel(target="all")
    assert bool(np.isfinite(cell["r"].sel(heuristic="elicitation"))) is kept
    assert int(cell["n"].sel(heuristic="ph")) == (75 if kept else 100)
    assert ("fewer than 75%" in str(cell["reason"].sel(heuristic="elicitation").item())) is not kept


def test_near_the_strongest_is_five_pp() -> None:
    """The cheapest is sought within 5 pp of the strongest: at 5.0 a shorter prompt counts, at 5.1 it does not."""
    assert NEAR == 5.0
    found = prepared()
    for distance, cheapest in ((5.0, "p13"), (5.1, "p12")):
        values = found["predicted"].copy()
        values.loc[{"prompt": "p12"}], values.loc[{"prompt": "p13"}] = 40.0, 40.0 - distance
        changed = found.assign(predicted=values, share=values / 100)
        told = [c for c in cards(changed, {"p12": "a long text", "p13": "short"}) if c.trait == "German"]
        assert {c.prompt for c in told if "cheapest to train" in c.remarks} == {cheapest}
        assert {c.prompt for c in told if "strongest" in c.remarks} == {"p12"}
    weak = found.assign(predicted=xr.full_like(found["predicted"], 5.0), share=xr.full_like(found["share"], 0.05))
    assert not [c for c in cards(weak) if "strongest" in c.remarks]  # 5 pp are not more than nothing


def prepared() -> xr.Dataset:
    """Predictions of two neutral-family prompts, whose model beats the mean."""
    old, new = world(8, 14, 12, noise=0.03)
    new = new.assign_coords(on_target=("row", np.ones(new.sizes["row"], dtype=bool)))
    found = predict_of(old, new)
    error = found["error"].copy()
    error.loc[{"predictor": "chosen"}], error.loc[{"predictor": "constant"}] = 10.0, 20.0
    blank = {name: xr.full_like(found[name], "") for name in ("outside", "reason")}
    bounds = {"share_lower": xr.full_like(found["share"], 0.01), "share_upper": xr.full_like(found["share"], 1.0)}
    return found.assign(error=error, far=xr.full_like(found["far"], False), **blank, **bounds)


def test_as_wrong_as_the_mean_is_no_better() -> None:
    """At equal errors nothing is ranked, told of the other trait, or trusted; just below, it is."""
    found = prepared()
    for chosen, better in ((20.0, False), (19.99, True)):
        error = found["error"].copy()
        error.loc[{"predictor": "chosen"}] = chosen
        changed = found.assign(error=error)
        assert any("strongest" in c.remarks for c in cards(changed)) is better
        assert (silent_about_others(changed) == "") is better
        assert any("do not act on it" in text for text in trust(changed)) is not better


def test_an_interval_that_touches_zero_may_do_nothing() -> None:
    found = prepared()
    for lower, upper, doubt in ((0.0, 1.0, True), (0.001, 1.0, False), (-1.0, 0.0, True), (-1.0, -0.001, False)):
        bounds = {
            "share_lower": xr.full_like(found["share"], lower),
            "share_upper": xr.full_like(found["share"], upper),
        }
        assert any("may do nothing" in c.remarks for c in cards(found.assign(bounds))) is doubt


def test_few_prompts_are_called_rough_below_twenty() -> None:
    found = prepared()
    for prompts, rough in ((19, True), (20, False)):
        changed = found.assign(prompts=xr.full_like(found["prompts"], prompts))
        assert ("Rough" in trust(changed)[0]) is rough


def test_four_prompts_are_learned_from_three_are_not() -> None:
    for trained, reason in ((4, ""), (3, "only 3 distinct trained prompts for fixed runs; 4 are needed")):
        old, new = world(4, 8, 4)
        keep = ~((old["prefix_type"] == "fixed") & ~np.isin(old["prompt"], [f"p{i}" for i in range(trained)]))
        old["on_target"] = ("row", np.ones(old.sizes["row"], dtype=bool))
        new = new.assign_coords(on_target=("row", np.ones(new.sizes["row"], dtype=bool)))
        found = predict_of(old.isel(row=keep.values), new)
        assert set(found["reason"].sel(prefix_type="fixed", prompt=["p4", "p5"]).values.ravel()) == {reason}
        assert (found["reason"].sel(prefix_type="mix", prompt=["p4", "p5"]).values == "").all()


def test_one_prompt_without_a_heuristic_costs_the_others_nothing() -> None:
    """A trained prompt without ph is lost to models of ph alone; a new one is told by what it has."""
    old, new = world(5, 18, 14)
    whole = predict_of(old, new)
    holes = old.assign(heuristic_value=old["heuristic_value"].copy())
    holes["heuristic_value"][{"heuristic": 1, "row": np.flatnonzero(old["prompt"] == "p3")}] = np.nan
    found = predict_of(holes, new)
    assert set(found["used"].values.ravel()) == set(whole["used"].values.ravel())
    bare = new.assign(
        heuristic_value=new["heuristic_value"].where(~((new["prompt"] == "p15") & (new["heuristic"] == "ph")))
    )
    told = predict_of(old, bare)
    mine = told.sel(prompt="p15")
    assert np.isfinite(mine["share"].values).all()
    others = [p for p in told["prompt"].values if p != "p15"]
    np.testing.assert_array_equal(told["share"].sel(prompt=others).values, whole["share"].sel(prompt=others).values)
    nothing = new.assign(heuristic_value=new["heuristic_value"].where(new["prompt"] != "p15"))
    refused = predict_of(old, nothing).sel(prompt="p15")
    assert np.isnan(refused["share"].values[refused["on_target"].values]).all()
    assert all("the store lacks" in r for r in refused["reason"].values[refused["on_target"].values])


def test_baselines_are_wrong_on_the_same_rows_as_the_chosen() -> None:
    old, new = world(6, 18, 14)
    found = predict_of(old, new)
    read = features(old, new)
    sample = sample_of(old, read.names, read.values[0], "on_target")
    from inoc.outcomes.selection import nested_predictions

    for name, tried in (("elicitation", (ELICITATION, MEAN)), ("constant", (MEAN,))):
        predicted = nested_predictions(sample, "family", tried, choose=False)
        here = sample.kind == "mix"
        expected = np.sqrt(np.mean(((predicted - sample.share) * sample.control)[here] ** 2))
        cell = found["error"].sel(relation="on_target", prefix_type="mix", left_out="family", predictor=name)
        assert float(cell) == pytest.approx(expected)


def test_a_plugin_moves_no_number_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin heuristic known for 80 % of the rows: our rows, r and p are those without it; its p is its own."""
    old, _ = world(7, 24, 24)
    before = performance_of(old, resamples=50)
    rng = np.random.default_rng(0)
    theirs = np.where(np.arange(old.sizes["row"]) % 5 == 0, np.nan, rng.normal(size=old.sizes["row"]))
    values = np.vstack([old["heuristic_value"].values, theirs])
    more = old.drop_dims("heuristic").assign(heuristic_value=(("heuristic", "row"), values))
    more = more.assign_coords(heuristic=["elicitation", "ph", "theirs"])
    monkeypatch.setattr(
        "inoc.outcomes.performance_table.packages", lambda names: ["plugin" if n == "theirs" else "inoc" for n in names]
    )
    after = performance_of(more, resamples=50)
    ours = after.sel(heuristic=["elicitation", "ph"])
    for name in before.data_vars:
        np.testing.assert_array_equal(ours[name].values, before[name].values)
    cell = after.sel(heuristic="theirs", target="all")
    assert 0 < int(cell["n"]) < int(ours["n"].sel(heuristic="ph", target="all"))
    assert after["package"].values.tolist() == ["inoc", "inoc", "plugin"]
    from inoc.outcomes.correlation import p_values

    alone = p_values(np.array([float(cell["r"])]), np.array([float(cell["prompts"])]))[0]
    assert float(cell["p_holm"]) == pytest.approx(alone)


def test_the_warning_right_after_the_control_run() -> None:
    """4.9 of 100 is told, 5.0 is not, answers without a score do not count."""
    from inoc.stages.evaluate import _warn_of_control
    from inoc.stages.progress import Unwatched

    told: list[str] = []
    watcher = Unwatched()
    watcher.note = told.append  # type: ignore[method-assign]
    _warn_of_control({"a": np.array([4.8, 5.0, np.nan]), "b": np.array([5.0]), "c": np.array([np.nan])}, watcher)
    assert [text[:29] for text in told] == ["The control run shows 4.9 of "]


def test_cell_fields_are_variables_of_a_prediction() -> None:
    old, new = world()
    assert set(FIELDS) <= set(predict_of(old, new).variables)


def test_experimental_heuristics_are_a_package_of_their_own() -> None:
    """So that they move no number of the others: see the test of plugins."""
    from inoc.outcomes.tidy import packages

    names = ["ph", "gradient_cosine", "prompt_shift_projection[2]", "max_elicitation", "nobody's"]
    assert packages(names) == ["inoc", *["inoc (experimental)"] * 3, "inoc"]
