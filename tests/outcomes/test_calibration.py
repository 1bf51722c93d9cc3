"""Predictors, their choice and their honest errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import Ridge

from inoc.outcomes.calibration import error, fit, left_out_error, left_out_predictions, share
from inoc.outcomes.selection import Sample, far_outside, nested_predictions, outside, rms_by_prompt, select


@settings(deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, -1]))
def test_monotone_is_scikit_learns_isotonic(seed: int, sign: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 12, 15).astype(float)
    y = sign * x + rng.normal(0, 4, 15)
    found = fit(x[None], y, (0,))
    assert found is not None
    rising = np.dot(x - x.mean(), y - y.mean()) >= 0
    expected = IsotonicRegression(increasing=bool(rising), out_of_bounds="clip").fit(x, y)
    new = np.linspace(-3, 15, 40)
    np.testing.assert_allclose(found(new[None]), expected.predict(new), atol=1e-9)


def test_ridge_is_scikit_learns_on_standardised_columns() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, 20)) * np.array([[1.0], [50.0], [0.01]])
    y = rng.normal(size=20)
    found = fit(x, y, (0, 1, 2))
    z = ((x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)).T
    expected = Ridge(alpha=0.1 * 20).fit(z, y)
    assert found is not None
    np.testing.assert_allclose(found(x), expected.predict(z), atol=1e-9)
    assert np.isnan(found(np.array([[0.0], [np.nan], [0.0]]))[0])


def test_a_constant_column_and_too_few_rows() -> None:
    x, y = np.array([[1.0, 1.0, 1.0]]), np.array([0.1, 0.2, 0.6])
    constant = fit(x, y, (0,))
    assert constant is not None
    np.testing.assert_allclose(constant(np.array([[0.0, 1.0, 9.0]])), 0.3)
    assert fit(x[:, :1], y[:1], ()) is None
    with_gap = fit(np.array([[1.0, np.nan, 3.0]]), y, (0,))
    assert with_gap is not None
    np.testing.assert_allclose(with_gap(np.array([[1.0, 3.0]])), [0.1, 0.6])


def test_what_does_not_leak_calibrates_nothing() -> None:
    found = share(np.array([10.0, 2.0, 1.0]), np.array([40.0, 4.9, 0.0]))
    assert found[0] == 0.25
    assert np.isnan(found[1:]).all()


def test_left_out_rows_play_no_part() -> None:
    """Changing a group's outcomes does not change its own predictions."""
    rng = np.random.default_rng(2)
    x, y, groups = rng.normal(size=(2, 30)), rng.normal(size=30), np.repeat(list("abc"), 10)
    before = left_out_predictions(x, y, groups, (0, 1))
    y[groups == "b"] += 100.0
    after = left_out_predictions(x, y, groups, (0, 1))
    np.testing.assert_array_equal(before[groups == "b"], after[groups == "b"])
    assert (before[groups == "a"] != after[groups == "a"]).all()
    assert np.isnan(left_out_predictions(x, y, np.full(30, "one"), (0,))).all()


def test_left_out_error_of_the_mean_by_hand() -> None:
    y, control = np.array([10.0, 20.0, 40.0]), np.array([100.0, 100.0, 50.0])
    shares = np.array([0.1, 0.2, 0.8])
    predicted = np.array([(0.2 + 0.8) / 2, (0.1 + 0.8) / 2, (0.1 + 0.2) / 2]) * control
    expected = np.sqrt(np.mean((predicted - shares * control) ** 2))
    assert left_out_error(np.empty((0, 3)), y, control, np.array(["a", "b", "c"])) == pytest.approx(expected)
    assert np.isnan(error(np.array([np.nan]), np.array([1.0])))


def sample(seed: int, n: int = 40, signal: float = 1.0) -> Sample:
    """Four families of ten prompts; the first heuristic carries the signal, nine others nothing."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(10, n))
    y = signal * x[0] + rng.normal(0, 0.3, n)
    prompts = np.array([f"p{i}" for i in range(n)])
    return Sample(x, y, np.full(n, 50.0), prompts, np.array(list("abcd"))[np.arange(n) % 4], np.full(n, "s"))


def test_select_finds_the_signal_and_says_so_when_there_is_none() -> None:
    candidates = [(), *((i,) for i in range(10))]
    assert select(sample(0), candidates) == (0,)
    chosen = [select(sample(seed, signal=0.0), candidates) for seed in range(20)]
    assert chosen.count(()) > 2
    few = sample(0).take(np.arange(40) < 8)
    assert len(select(few, [(), (0, 1)])) < 2  # several heuristics are not tried on eight prompts


def test_a_single_candidate_is_no_choice_and_small_samples_fall_back_to_prompts() -> None:
    """Three families of 1, 1 and 4 rows: leaving one out of two leaves too few rows to compare."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1, 6))
    family = np.array(list("abcccc"))
    s = Sample(x, x[0], np.full(6, 50.0), np.array(list("uvwxyz")), family, np.full(6, "s"))
    assert select(s, [(0,)]) == (0,)
    assert select(s.take(family != "a"), [(0,)]) == (0,)
    plain = left_out_predictions(s.x, s.share, s.family, (0,))
    np.testing.assert_array_equal(nested_predictions(s, "family", [(0,)]), plain)
    # one family of rising rows: the curve is chosen by leaving prompts out
    assert select(s.take(family == "c"), [(), (0,)]) == (0,)


def test_nested_error_is_honest_where_the_chosen_one_flatters() -> None:
    """Ten useless heuristics: the best of them looks better than the mean; the nested error does not."""
    candidates = [(), *((i,) for i in range(10))]
    looks, honest, constant = [], [], []
    for seed in range(30):
        s = sample(seed, n=24, signal=0.0)
        observed = s.share * s.control
        columns = select(s, candidates)
        looks.append(error(left_out_predictions(s.x, s.share, s.family, columns) * s.control, observed))
        honest.append(error(nested_predictions(s, "family", candidates) * s.control, observed))
        constant.append(error(nested_predictions(s, "family", [()]) * s.control, observed))
    assert np.mean(looks) < np.mean(constant)
    assert np.mean(honest) >= np.mean(constant)


def test_outside_names_the_heuristic_or_the_combination() -> None:
    rng = np.random.default_rng(4)
    a = rng.normal(size=30)
    s = sample(0, n=30)
    s = Sample(np.stack([a, a + rng.normal(0, 0.01, 30)]), s.share, s.control, s.prompt, s.family, s.store)
    names = ["one", "two"]
    assert outside(s, (0,), names, np.array([0.0, 9.0])) == ""
    assert "two 9 is outside [" in outside(s, (0, 1), names, np.array([0.0, 9.0]))
    # each inside its range, but never together: they always agree
    assert "leverage" in outside(s, (0, 1), names, np.array([1.0, -1.0]))
    assert outside(s, (), names, np.array([99.0, 99.0])) == ""


def test_far_outside_is_a_tenth_of_the_range_beyond_it() -> None:
    s = sample(0, n=4)
    s = Sample(np.array([[0.0, 4.0, 10.0, 6.0]]), s.share, s.control, s.prompt, s.family, s.store)
    found = [far_outside(s, (0,), np.array([value])) for value in (-1.1, -0.9, 0.0, 10.0, 10.9, 11.1)]
    assert found == [True, False, False, False, False, True]
    assert not far_outside(s, (), np.array([99.0]))


def test_rms_by_prompt_is_one_number_per_prompt() -> None:
    s = sample(0, n=4)
    s = Sample(s.x, np.zeros(4), s.control, np.array(["a", "a", "b", "c"]), s.family, s.store)
    found = rms_by_prompt(s, np.array([3.0, 4.0, -2.0, np.nan]))
    assert found == pytest.approx([np.sqrt(12.5), 2.0])
