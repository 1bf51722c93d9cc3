"""The pieces of prediction by hand: settings, candidates, where they were calibrated, what is fitted to which rows."""

from pathlib import Path

import numpy as np
import pytest

from inoc.errors import BadInput
from inoc.outcomes.candidates import ELICITATION, GATE, MEAN, PLAIN, Candidate, candidates, gates, named, of_heuristics
from inoc.outcomes.domain import Domain
from inoc.outcomes.estimators import Mean, Monotone, StandardRidge
from inoc.outcomes.learning import Model
from inoc.outcomes.probes import leaks
from inoc.outcomes.selection import (
    Sample,
    fit,
    left_out,
    nested_predictions,
    predict_ranked,
    rank,
    rms_by_prompt,
    squares_by_prompt,
)
from inoc.outcomes.settings import Settings, settings_of, unlike
from inoc.store import ScoreInfo, open_store

from ..worlds import Run, write_store

NAN = np.nan


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings("lora", 1e-4, 300, 32), "lora, learning rate 0.0001, 300 updates of 32"),
        (Settings(None, 1e-4, 300, None), "learning rate 0.0001, 300 updates"),
        (Settings("full", None, None, 8), "full, batches of 8"),
        (Settings(None, None, None, None), ""),
    ],
)
def test_settings_in_words(settings: Settings, words: str) -> None:
    assert str(settings) == words


def test_only_what_both_know_may_differ() -> None:
    one = Settings("lora", 1e-4, None, 32)
    assert not one.differs(Settings("lora", None, 300, 32))
    assert one.differs(Settings("lora", 2e-4, None, None))
    other = Settings("full", None, None, None)
    assert unlike([one, other], [one]) == [other]
    assert unlike([one], [other, one]) == []
    assert unlike([one], []) == []


def test_settings_of_a_store(tmp_path: Path) -> None:
    """Of its runs that start from the base model, each once; a hostile value is unknown; else those it plans."""
    score = {(8, "default"): np.ones((2, 3))}
    given = {"method": "lora", "learning_rate": 1e-4, "batch_size": 4, "accumulation": 8}
    hostile = {"learning_rate": "fast", "batch_size": -1}
    more = {**given, "start": "a", "learning_rate": 1.0}
    runs = [Run(n, "", score, {"settings": s}) for n, s in (("a", given), ("b", given), ("c", hostile), ("d", more))]
    found = settings_of(open_store(write_store(tmp_path / "a.zarr", runs=runs)))
    assert found == [Settings("lora", 1e-4, 8, 32), Settings(None, None, 8, None)]
    planned = {"training": {"learning_rate": 2e-4, "batch_size": 4}}
    assert settings_of(open_store(write_store(tmp_path / "b.zarr", experiment=planned))) == [
        Settings(None, 2e-4, None, 4)
    ]
    for nothing in ({}, {"training": {}}, {"training": 3}):
        assert settings_of(open_store(write_store(tmp_path / f"{len(str(nothing))}.zarr", experiment=nothing))) == []


def test_candidates_read_what_their_names_say() -> None:
    assert [c.reads for c in gates("")] == [(*PLAIN, "cell")] * 2
    assert [c.reads for c in gates("w_cos")] == [(*GATE, "cell")] * 2
    assert all(c.pooled for c in gates(""))
    assert not ELICITATION.pooled
    assert candidates("")[-1] is MEAN
    assert [c.name for c in of_heuristics(["ph", "snr"])] == [
        "monotone in ph", "monotone in snr", "ridge on ph, snr", "the mean",
    ]  # fmt: skip
    assert [c.name for c in of_heuristics(["ph"])] == ["monotone in ph", "the mean"]
    assert of_heuristics(["a", "b"])[2].reads == ("a", "b")


def test_a_model_by_name() -> None:
    known = candidates("")
    assert named("the mean", known, ["ph"]) is MEAN
    own = named("inoc.outcomes.estimators:Mean", known, ["ph"])
    assert (own.reads, own.make) == (("ph",), Mean)
    for wrong, said in (
        ("the meam", "did you mean 'the mean'"),
        ("no_such_module:Mean", "cannot be made"),
        ("inoc.outcomes.estimators:None_", "cannot be made"),
        ("builtins:dict", "has no fit and predict"),
    ):
        with pytest.raises(BadInput, match=said):
            named(wrong, known, ["ph"])


def test_inside_and_outside_of_a_range() -> None:
    domain = Domain.of(["a", "cell", "b"], np.array([[0.0, 7.0, 1.0], [10.0, 8.0, 2.0], [0.0, 9.0, 2.0]]))
    assert (domain.names, domain.low.tolist(), domain.high.tolist()) == (("a", "b"), [0.0, 1.0], [10.0, 2.0])
    assert domain.select(["x", "b", "a"], np.array([5.0, 1.5, 3.0])).tolist() == [3.0, 1.5]
    assert domain.outside(np.array([-0.5, 2.0])) == "a -0.5 is outside [0, 10]"
    assert domain.outside(np.array([10.5, 2.5])) == "a 10.5 is outside [0, 10]; b 2.5 is outside [1, 2]"
    for edge in ([0.0, 1.0], [10.0, 2.0]):
        assert domain.outside(np.array(edge)) == ""
    assert domain.outside(np.array([10.0, 1.0])).startswith("unusual combination (leverage ")
    assert not domain.far(np.array([-1.0, 2.1]))
    assert domain.far(np.array([-1.01, 1.0]))
    assert domain.far(np.array([5.0, 2.11]))
    assert domain.far(np.array([5.0, 0.89]))


def test_leverage_by_hand() -> None:
    """Two standardized columns that move together: a point across them has more leverage than any along them."""
    rows = np.array([[-1.0, -1.0], [1.0, 1.0], [-1.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [1.0, -1.0]]) + 5
    assert Domain.of(["a", "b"], rows).outside(np.array([6.0, 4.0])) == ""
    tilted = np.array([[-1.0, -0.5], [1.0, 0.5], [-1.0, -1.0], [1.0, 1.0]]) + 5
    # columns standardize to (-1, 1, -1, 1) and (-.5, .5, -1, 1) / sqrt(.625); Z'Z = [[4, c], [c, 4]]
    c = 3 / np.sqrt(0.625)
    inverse = np.linalg.inv(np.array([[4.0, c], [c, 4.0]]))
    points = (tilted - 5) / [1, np.sqrt(0.625)]
    largest = max(p @ inverse @ p for p in points) + 1 / 4
    new = np.array([1.0, -1.0]) / [1, np.sqrt(0.625)]
    said = f"unusual combination (leverage {new @ inverse @ new + 1 / 4:.2f}, calibrated at most {largest:.2f})"
    assert Domain.of(["a", "b"], tilted).outside(np.array([6.0, 4.0])) == said
    ranges = Domain.of_ranges(["a", "cell", "b"], np.array([0.0, 0.0, 0.0]), np.array([1.0, 9.0, 1.0]))
    assert ranges.names == ("a", "b")
    assert ranges.outside(np.array([1.0, 0.0])) == "", "without rows no combination is unusual"


def test_estimators_by_hand() -> None:
    x, y = np.array([[1.0], [2.0], [2.0], [4.0]]), np.array([0.0, 0.6, 0.2, 0.3])
    assert Mean().fit(x, y).predict(x[:2]).tolist() == pytest.approx([0.275] * 2)
    rising = Monotone().fit(x, y)
    third = 1.1 / 3  # 2, 2 and 4 pool: .4 twice and .3
    assert rising.predict(np.array([[0.0], [1.5], [3.0], [9.0]])).tolist() == pytest.approx(
        [0, third / 2, third, third]
    )
    falling = Monotone().fit(x, -y)
    assert falling.predict(np.array([[1.5]])).tolist() == pytest.approx([-third / 2])
    two = np.array([[0.0, 5.0], [2.0, 5.0]])
    ridge = StandardRidge().fit(two, np.array([0.0, 1.0]))
    # standardized -1 and 1: coefficient 1 / (2 + .1 x 2); the constant column has none
    assert ridge.predict(np.array([[0.0, 5.0], [1.0, 5.0]])).tolist() == pytest.approx([0.5 - 1 / 2.2, 0.5])


def sample(share: list[float], x: list[float], prompt: str, family: str = "", kind: str = "") -> Sample:
    n = len(share)
    kinds = np.array(["mix" if k == "m" else "fixed" for k in kind or "f" * n])
    labels = (np.array(list(word)) for word in (prompt, family or "f" * n, "s" * n))
    return Sample(("ph",), np.array(x)[:, None], np.array(share), np.full(n, 50.0), *labels, kinds)


def test_a_fit_uses_the_rows_that_have_everything() -> None:
    """One estimator for each prefix type; none from a single row; all rows where it is pooled."""
    given = sample([0.2, 0.4, NAN, 0.6, 0.8], [1.0, 2.0, 3.0, NAN, 5.0], "aabcd", kind="fffmm")
    fitted = fit(MEAN, given)
    assert (fitted.prompts, fitted.rows) == ({"fixed": 1, "mix": 2}, {"fixed": 2, "mix": 2})
    np.testing.assert_allclose(fitted.predict(given), [0.3, 0.3, 0.3, 0.7, 0.7])
    reading = fit(Candidate("ph", ("ph",), Mean), given)
    assert (reading.prompts, reading.rows) == ({"fixed": 1}, {"fixed": 2}), "one row of mix has the feature"
    np.testing.assert_allclose(reading.predict(given), [0.3, 0.3, 0.3, NAN, NAN])
    pooled = fit(Candidate("ph", ("ph",), Mean, pooled=True), given)
    assert pooled.rows == {"fixed": 3, "mix": 3}
    np.testing.assert_allclose(pooled.predict(given), [1.4 / 3, 1.4 / 3, 1.4 / 3, NAN, 1.4 / 3])
    assert fit(Candidate("x", ("unknown",), Mean), given).parts == {}


def test_a_model_was_calibrated_in_the_rows_of_a_prefix_type_that_have_all_it_reads() -> None:
    given = sample([0.2, 0.4, 0.5, 0.6], [1.0, 3.0, NAN, 9.0], "abcd", kind="fffm")
    reading = fit(Candidate("ph", ("ph",), Mean), given)
    model = Model(given, (reading,), {})
    for kind, ends in (("fixed", (1.0, 3.0)), ("mix", (9.0, 9.0)), ("other", (1.0, 9.0))):
        found = model.domain(reading, kind)
        assert (float(found.low[0]), float(found.high[0])) == ends


def test_what_is_left_out_plays_no_part() -> None:
    given = sample([0.0, 0.2, 0.4, 0.8], [1.0] * 4, "abcd", "ggh-")
    np.testing.assert_allclose(left_out(MEAN, given, given.family), [0.6, 0.6, 1 / 3, 0.2])
    assert np.isnan(left_out(MEAN, given, given.store)).all(), "nothing is left without the only store"
    np.testing.assert_allclose(nested_predictions(given, "family", [MEAN]), [0.6, 0.6, 1 / 3, 0.2])
    np.testing.assert_allclose(nested_predictions(given, "prompt", [MEAN], choose=False)[0], 1.4 / 3)
    reading = Candidate("ph", ("ph",), Monotone)
    holes = sample([0.0, 0.4, 0.8], [1.0, NAN, 3.0], "abc")
    found = predict_ranked([fit(reading, holes), fit(MEAN, holes)], holes)
    np.testing.assert_allclose(found, [0.0, 0.4, 0.8])


def test_errors_by_prompt() -> None:
    given = sample([0.0, 0.2, 0.4, NAN, 0.4], [1.0] * 5, "aabcd")
    predicted = np.array([0.1, 0.4, 0.4, 0.5, NAN])
    np.testing.assert_allclose(squares_by_prompt(given, predicted), [(25 + 100) / 2, 0.0, NAN, NAN])
    np.testing.assert_allclose(rms_by_prompt(given, predicted), [np.sqrt((0.01 + 0.04) / 2), 0.0])


def test_a_candidate_must_beat_the_first_clearly() -> None:
    """Shares equal to x: a curve of x beats the mean; of nine prompts nothing is compared, and it is asked first."""
    x = np.arange(10.0)
    curve = Candidate("ph", ("ph",), StandardRidge)
    for n, chosen in ((10, curve), (9, curve)):
        given = sample((x[:n] / 10).tolist(), x[:n].tolist(), "abcdefghij"[:n])
        assert rank(given, [MEAN, curve])[0] is chosen
        assert rank(given, [curve, MEAN]) == [curve]
    rng = np.random.default_rng(0)
    noise = sample(rng.random(10).tolist(), x.tolist(), "abcdefghij")
    assert rank(noise, [MEAN, curve]) == [MEAN]
    assert rank(noise, [curve]) == [curve]


def test_leaks_by_category_by_hand(tmp_path: Path) -> None:
    """Scores of a question are averaged over the probes of a category; the conditions come first."""
    conditions = ("odd one", "training", "odd two", "default")
    values = {
        (8, condition): np.array([[level, level + 10.0, NAN]])
        for condition, level in zip(conditions, (10.0, 50.0, 30.0, 70.0), strict=True)
    }
    early = {(0, "default"): np.zeros((1, 3))}
    runs = [Run("control", "", early | values), Run("late", "", early, {"nominal_step": 8})]
    traits = [ScoreInfo("German", "positive", "german")]
    store = open_store(write_store(tmp_path / "s.zarr", traits=traits, runs=runs))
    found = leaks(store)
    assert found["condition"].values.tolist() == ["default", "training", "other"]
    np.testing.assert_allclose(found["mean"].sel(score="German", run="control"), [75.0, 55.0, 25.0])
    assert found["n"].sel(score="German", run="control").values.tolist() == [2, 2, 2]
    assert found["run"].values.tolist() == ["control"]
    (said,) = found.attrs["left_out"]
    assert said == "late: not evaluated at step 8 (stored: 0)"
    each = leaks(store, by="condition")
    assert each["condition"].values.tolist() == ["default", "training", "odd one", "odd two"]
