"""Estimators, their choice and their honest errors."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from scipy.special import betaln, expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import Ridge

from inoc.outcomes.calibration import LEAK, control_lacks, error, share
from inoc.outcomes.candidates import MEAN, Candidate
from inoc.outcomes.domain import Domain
from inoc.outcomes.estimators import Mean, Monotone, StandardRidge
from inoc.outcomes.gate import BayesianGate, Gate, Prior
from inoc.outcomes.selection import Sample, fit, left_out, nested_predictions, rank, rms_by_prompt


@settings(deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, -1]))
def test_monotone_is_scikit_learns_isotonic(seed: int, sign: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 12, 15).astype(float)
    y = sign * x + rng.normal(0, 4, 15)
    rising = np.dot(x - x.mean(), y - y.mean()) >= 0
    expected = IsotonicRegression(increasing=bool(rising), out_of_bounds="clip").fit(x, y)
    new = np.linspace(-3, 15, 40)
    np.testing.assert_allclose(Monotone().fit(x[:, None], y).predict(new[:, None]), expected.predict(new), atol=1e-9)


def test_ridge_is_scikit_learns_on_standardized_columns() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20, 3)) * np.array([1.0, 50.0, 0.01])
    y = rng.normal(size=20)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    expected = Ridge(alpha=0.1 * 20).fit(z, y)
    np.testing.assert_allclose(StandardRidge().fit(x, y).predict(x), expected.predict(z), atol=1e-9)


def gate_world(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns with two cells last, shares, and the weights they were made with."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.normal(size=n), rng.random(n), np.arange(n) % 2])
    weights = np.array([-0.5, 1.5, -1.0])
    m = expit(weights[0] + x[:, :2] @ weights[1:] + np.where(x[:, 2] == 1, -0.7, 0.3))
    return x, rng.beta(12 * m, 12 * (1 - m)), weights


def test_gate_is_the_minimum_of_its_written_out_loss() -> None:
    x, y, _ = gate_world(0)
    design = np.column_stack([np.ones(60), x[:, :2], x[:, 2] == 0, x[:, 2] == 1])

    def loss(p: np.ndarray) -> float:
        fitted = np.sum((expit(design @ p) - y) ** 2) / (2 * 0.25**2)
        return float(fitted + p[0] ** 2 / 8 + np.sum(p[1:3] ** 2) / (2 * 2.5**2) + np.sum(p[3:] ** 2) / 2)

    best = optimize.minimize(
        loss, np.zeros(5), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12, "maxiter": 20000}
    )
    found = Gate().fit(x, y)
    np.testing.assert_allclose([*found.coef_, *found.cells_.values()], best.x, atol=1e-4)
    np.testing.assert_allclose(found.predict(x), expit(design @ best.x), atol=1e-4)
    # a cell that was not fitted has no intercept of its own
    other = np.array([[0.0, 0.0, 7.0]])
    assert found.predict(other)[0] == pytest.approx(expit(found.coef_[0]))


def test_bayesian_gate_is_the_mode_of_its_written_out_posterior() -> None:
    x, y, weights = gate_world(1)
    design = np.column_stack([np.ones(60), x[:, :2]])
    inside = np.clip(y, 0.005, 0.995)

    def loss(p: np.ndarray) -> float:
        tau, phi = np.exp(p[5:])
        m = expit(design @ p[:3] + tau * np.where(x[:, 2] == 0, p[3], p[4]))
        a, b = phi * m, phi * (1 - m)
        beta = np.exp((a - 1) * np.log(inside) + (b - 1) * np.log1p(-inside) - betaln(a, b))
        prior = p[0] ** 2 / 8 + np.sum(p[1:3] ** 2) / (2 * 2.5**2) + np.sum(p[3:5] ** 2) / 2
        prior += tau**2 / 2 - p[5] + (p[6] - 1.5) ** 2 / (2 * 0.8**2)
        return float(prior - np.sum(np.log(0.95 * beta + 0.05)))

    options = {"xatol": 1e-7, "fatol": 1e-10, "maxiter": 40000, "maxfev": 40000, "adaptive": True}
    best = optimize.minimize(loss, [0, 0, 0, 0, 0, -1, 1.5], method="Nelder-Mead", options=options)
    found = BayesianGate().fit(x, y)
    np.testing.assert_allclose(found.coef_, best.x[:3], atol=1e-3)
    spread = np.sqrt(np.diag(found.covariance_))
    assert (np.abs(found.coef_[1:] - weights[1:]) < 4 * spread[1:]).all()
    assert np.array_equal(found.predict(x), BayesianGate().fit(x, y).predict(x))


def test_a_prior_counts_and_data_move_it() -> None:
    x, y, weights = gate_world(2)
    wrong = Prior(np.array([0.0, -2.0, 0.0]), np.eye(3) * 0.05)
    few, many = Gate(wrong).fit(x[:4], y[:4]).coef_[1], Gate(wrong).fit(x, y).coef_[1]
    assert few < -1 < many
    assert Gate().fit(x, y).coef_[1] == pytest.approx(weights[1], abs=0.5)


def test_what_does_not_leak_calibrates_nothing() -> None:
    found = share(np.array([10.0, 2.0, 1.0, 1.0]), np.array([40.0, 4.9, 0.0, LEAK]))
    assert found[0] == 0.25
    assert np.isnan(found[1:3]).all()
    assert found[3] == 0.2  # 5 pp are enough
    assert "shows 3.0 of Playful" in control_lacks("Playful", 3.0)


def sample(seed: int, n: int = 40, signal: float = 1.0) -> Sample:
    """Four families of ten prompts; the first feature carries the signal, nine others nothing."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 10))
    y = signal * x[:, 0] + rng.normal(0, 0.3, n)
    labels = np.array([f"p{i}" for i in range(n)]), np.array(list("abcd"))[np.arange(n) % 4], np.full(n, "s")
    return Sample(tuple(f"x{i}" for i in range(10)), x, y, np.full(n, 50.0), *labels, np.full(n, "fixed"))


CURVES = tuple(Candidate(f"x{i}", (f"x{i}",), Monotone) for i in range(10))


def test_left_out_rows_play_no_part() -> None:
    """Changing a group's outcomes does not change its own predictions."""
    s = sample(2)
    before = left_out(CURVES[0], s, s.family)
    inside = s.family == "b"
    after = left_out(CURVES[0], replace(s, share=s.share + 100.0 * inside), s.family)
    np.testing.assert_array_equal(before[inside], after[inside])
    assert (before[~inside] != after[~inside]).any()
    assert np.isnan(left_out(CURVES[0], s, np.full(40, "one"))).all()


def test_left_out_error_of_the_mean_by_hand() -> None:
    shares, control = np.array([0.1, 0.2, 0.8]), np.array([100.0, 100.0, 50.0])
    labels = np.array(["a", "b", "c"])
    s = Sample((), np.empty((3, 0)), shares, control, labels, labels, labels, np.full(3, "fixed"))
    expected = np.array([(0.2 + 0.8) / 2, (0.1 + 0.8) / 2, (0.1 + 0.2) / 2])
    found = left_out(MEAN, s, labels)
    np.testing.assert_allclose(found, expected)
    assert error(found * control, shares * control) == pytest.approx(
        np.sqrt(np.mean(((expected - shares) * control) ** 2))
    )
    assert np.isnan(error(np.array([np.nan]), np.array([1.0])))


def test_a_row_without_a_feature_is_lost_to_that_candidate_only() -> None:
    s = sample(0)
    s.x[0, 0] = np.nan
    fitted = [fit(candidate, s) for candidate in CURVES[:2]]
    assert [f.rows["fixed"] for f in fitted] == [39, 40]
    assert np.isnan(fitted[0].predict(s)[0])
    assert np.isfinite(fitted[1].predict(s)).all()


def test_a_fit_of_its_own_for_each_prefix_type_unless_pooled() -> None:
    s = sample(0)
    s = replace(s, kind=np.where(np.arange(40) < 20, "fixed", "mix"), share=np.where(np.arange(40) < 20, 0.2, 0.8))
    np.testing.assert_allclose(np.unique(fit(Candidate("", (), Mean), s).predict(s)), [0.2, 0.8])
    np.testing.assert_allclose(np.unique(fit(Candidate("", (), Mean, pooled=True), s).predict(s)), [0.5])


def test_rank_finds_the_signal_and_prefers_the_first_where_there_is_none() -> None:
    assert rank(sample(0), (*CURVES[1:4], CURVES[0], MEAN))[0] is CURVES[0]
    # without a signal a curve is worse than the mean, mostly by more than a standard error
    chosen = [rank(sample(seed, signal=0.0), (MEAN, *CURVES[:3]))[0] for seed in range(20)]
    assert sum(c is MEAN for c in chosen) >= 17
    assert rank(sample(0, signal=0.0), (MEAN, CURVES[0])) == [MEAN]
    few = sample(0).take(np.arange(40) < 9)
    assert rank(few, (CURVES[1], CURVES[0], MEAN)) == [CURVES[1], CURVES[0]]  # nothing is compared on nine prompts
    ten = sample(0).take(np.arange(40) < 10)
    assert rank(ten, (CURVES[1], CURVES[0], MEAN))[0] is CURVES[0]


def test_the_choice_looks_at_left_out_families_not_prompts() -> None:
    """x1 names the family: perfect on new prompts of known families, useless on a new family."""
    s = sample(0, n=40, signal=0.0)
    level = np.array([0.0, 0.0, 0.0, 3.0])[np.arange(40) % 4]
    y = level + 0.2 * s.x[:, 0]
    s = replace(s, share=y)
    s.x[:, 1] = np.arange(40) % 4
    s.x[:, 2] = y + np.random.default_rng(1).normal(0, 0.5, 40)
    by_prompt = [np.nanmean((left_out(c, s, s.prompt) - y) ** 2) for c in CURVES[1:3]]
    by_family = [np.nanmean((left_out(c, s, s.family) - y) ** 2) for c in CURVES[1:3]]
    assert by_prompt[0] < by_prompt[1]
    assert by_family[0] > by_family[1]
    assert rank(s, (CURVES[1], CURVES[2], MEAN))[0] is CURVES[2]
    # with one family there is nothing else to leave out but prompts
    assert rank(replace(s, family=np.full(40, "a")), (MEAN, CURVES[2]))[0] is CURVES[2]


def test_another_candidate_must_be_better_by_a_standard_error() -> None:
    """A second candidate whose gain is within noise does not displace the first; the same gain without noise does."""
    rng = np.random.default_rng(0)
    s = sample(0, n=40)
    s.x[:, 1] = s.share + rng.normal(0, 0.05, 40)
    s.x[:, 2] = s.x[:, 1] + rng.normal(0, 1e-3, 40)
    assert rank(s, (CURVES[1], CURVES[2]))[0] is CURVES[1]
    assert rank(s, (CURVES[2], CURVES[1]))[0] is CURVES[2]


def test_nested_error_is_honest_where_the_chosen_one_flatters() -> None:
    """Ten useless features: the best of them looks better than the mean; the nested error does not."""
    looks, honest, constant = [], [], []
    for seed in range(6):
        s = sample(seed, n=24, signal=0.0)
        observed = s.share * s.control
        wrong = [error(left_out(c, s, s.family) * s.control, observed) for c in (*CURVES, MEAN)]
        looks.append(min(wrong))
        honest.append(error(nested_predictions(s, "family", (*CURVES, MEAN)) * s.control, observed))
        constant.append(wrong[-1])
    assert np.mean(looks) < np.mean(constant) <= np.mean(honest)


def test_nested_choice_without_the_group() -> None:
    """A group whose outcomes are absurd is predicted as if it were not there, choice included."""
    s = sample(3)
    absurd = replace(s, share=np.where(s.family == "a", -50.0 * s.x[:, 3], s.share))
    found = nested_predictions(absurd, "family", CURVES)
    rest = absurd.take(absurd.family != "a")
    chosen = rank(rest, CURVES)[0]
    inside = absurd.family == "a"
    np.testing.assert_array_equal(found[inside], fit(chosen, rest).predict(absurd.take(inside)))


def test_outside_names_the_feature_or_the_combination() -> None:
    rng = np.random.default_rng(4)
    a = rng.normal(size=30)
    both = np.column_stack([a, a + rng.normal(0, 0.01, 30)])
    one = Domain.of(("one",), both[:, :1])
    assert one.outside(np.array([0.0])) == ""
    domain = Domain.of(("one", "two"), both)
    assert "two 9 is outside [" in domain.outside(np.array([0.0, 9.0]))
    # each inside its range, but never together: they always agree
    assert "leverage" in domain.outside(np.array([1.0, -1.0]))
    # labels have no range
    assert Domain.of(("relevant", "cell"), np.ones((3, 2))).outside(np.empty(0)) == ""


def test_leverage_above_the_largest_calibrated_is_outside() -> None:
    """The corner of a square is calibrated; a point just beyond the largest leverage is not."""
    x = np.array([[1, 1], [-1, -1], [1, -1], [-1, 1], [2, 0], [-2, 0], [0, 2], [0, -2]], dtype=float)
    domain = Domain.of(("a", "b"), x)
    z = x / x.std(axis=0)
    inverse = np.linalg.inv(z.T @ z)
    largest = max(float(row @ inverse @ row) for row in z)
    edge = np.sqrt(largest / float(np.ones(2) / x.std(axis=0) @ inverse @ (np.ones(2) / x.std(axis=0))))
    assert domain.outside(np.full(2, 0.99 * edge)) == ""
    assert "leverage" in domain.outside(np.full(2, 1.01 * edge))
    assert f"at most {largest + 1 / 8:.2f}" in domain.outside(np.full(2, 1.01 * edge))


def test_far_outside_is_a_tenth_of_the_range_beyond_it() -> None:
    domain = Domain.of(("a",), np.array([[0.0], [4.0], [10.0], [6.0]]))
    found = [domain.far(np.array([value])) for value in (-1.1, -0.9, 0.0, 10.0, 10.9, 11.1)]
    assert found == [True, False, False, False, False, True]
    ranges = Domain.of_ranges(("a",), np.array([0.0]), np.array([10.0]))
    assert ranges.far(np.array([11.1]))
    assert ranges.outside(np.array([10.5]))


def test_rms_by_prompt_is_one_number_per_prompt() -> None:
    s = replace(sample(0, n=4), share=np.zeros(4), prompt=np.array(["a", "a", "b", "c"]))
    assert rms_by_prompt(s, np.array([3.0, 4.0, -2.0, np.nan])) == pytest.approx([np.sqrt(12.5), 2.0])


def test_where_the_data_say_nothing_the_posterior_has_an_end() -> None:
    gate = BayesianGate(draws=10)
    gate._sample(np.zeros(4), np.diag([4.0, 0.0, 1.0, 1.0]), np.array([]), 2)
    np.testing.assert_allclose(np.diag(gate.covariance_), [1 / 4, 1 / 0.05])
