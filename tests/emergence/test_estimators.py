"""The estimators against a toy whose truth is known, and against hand-made counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import emergence_toy as toy
from inoc import emergence
from inoc.emergence.estimators import ESTIMATORS, estimators_for, pool_equal

ORDER = ("own_prefills", "importance", "jensen", "distinct_texts", "beginnings", "donor without its surprisal")
PUBLISHED = {
    "rare": dict(zip(ORDER, (-0.08, -2.25, -3.09, -3.74, -4.89, -7.27), strict=True)) | {"own minus surprisal": -5.6},
    "common": dict(zip(ORDER, (-0.59, -0.05, -1.00, -1.69, -2.92, -5.31), strict=True)) | {"own minus surprisal": -6.9},
}


@pytest.fixture(scope="module")
def mean_errors():
    return {name: toy.errors(entry, repeats=40) for name, entry in toy.TOYS.items()}


@pytest.mark.parametrize("name", toy.TOYS)
def test_toy_errors_come_in_order_and_size(mean_errors, name):
    found = {estimator: errors.mean for estimator, errors in mean_errors[name].items()}
    assert toy.TOYS[name].truth == pytest.approx({"rare": -7.49, "common": -3.85}[name], abs=1e-9)
    for estimator, value in PUBLISHED[name].items():
        assert found[estimator] == pytest.approx(value, abs=1.0), estimator
    order = ORDER if name == "rare" else ORDER[1:]
    assert sorted(order, key=lambda e: -found[e]) == list(order)
    assert 0.75 < mean_errors["rare"]["own_prefills"].defined < 1


def test_lower_bounds_start_below_the_truth(mean_errors):
    for table in mean_errors.values():
        for name in ("jensen", "distinct_texts", "beginnings"):
            assert table[name].coverage > 0.95


def test_importance_with_the_donor_itself_is_the_mean():
    y, n = np.array([3, 0, 9, 5]), np.full(4, 10)
    s = np.array([1.0, 20.0, 3.0, 7.0])
    assert emergence.importance(y, n, s, s).value == pytest.approx(np.log(17 / 40))
    assert emergence.importance(y, n, s, s).effective == pytest.approx(4)


def test_importance_weights_are_capped():
    y, n, s = np.full(9, 5), np.full(9, 10), np.array([-30.0 + 30, *np.full(8, 30.0)])
    found = emergence.importance(y, n, s, np.zeros(9))
    assert found.effective == pytest.approx(1, abs=1e-3)
    # the mean weight is 1/9 of the largest, which is capped at sqrt(9) times it
    assert found.value == pytest.approx(np.log(0.5 * (3 / 9) / 9), abs=1e-6)


def test_hand_made_bounds():
    y, n, s = np.array([9, 90]), np.array([90, 90]), np.array([1.0, 4.0])
    assert emergence.distinct_texts(y, n, s).value == pytest.approx(np.log(0.1 * np.exp(-1) + np.exp(-4)))
    assert emergence.distinct_texts(y, n, s, questions=2).value == pytest.approx(
        np.log((0.1 * np.exp(-1) + np.exp(-4)) / 2)
    )
    assert emergence.beginnings(y, n, s).value == pytest.approx(max(np.log(9.5 / 91) - 1, np.log(90.5 / 91) - 4))
    rates = np.log([9.5 / 91, 90.5 / 91])
    assert emergence.jensen(y, n, s, np.zeros(2)).value == pytest.approx(np.mean(rates - s))


def test_no_success_has_no_estimate_but_an_upper_bound():
    found = emergence.own_prefills(np.zeros(50, int), np.full(50, 90))
    assert np.isnan(found.value)
    assert found.upper == pytest.approx(np.log(1 - 0.025 ** (1 / 50)))


def test_the_origin_decides_the_estimator():
    assert estimators_for("self") == ("own_prefills",)
    assert estimators_for("file") == ("distinct_texts",)
    assert set(estimators_for("run")) == {"importance", "jensen", "distinct_texts"}
    assert all("surprisal" not in ESTIMATORS[name].formula for name in estimators_for("self"))


def test_equal_texts_are_counted_once():
    y, n, s = pool_equal(["b", "a", "b"], np.array([1, 2, 3]), np.array([10, 10, 10]), np.array([5.0, 6.0, 5.0]))
    assert y.tolist() == [2, 4]
    assert n.tolist() == [10, 20]
    assert s.tolist() == [6.0, 5.0]


counts = st.integers(1, 8).flatmap(
    lambda k: st.tuples(
        st.lists(st.integers(0, 20), min_size=k, max_size=k), st.lists(st.floats(0, 30), min_size=k, max_size=k)
    )
)


@given(counts)
@settings(max_examples=30, deadline=None)
def test_the_sum_over_texts_is_at_least_its_largest_term(drawn):
    y, s = np.array(drawn[0]), np.array(drawn[1])
    n = np.full(y.size, 20)
    found = emergence.distinct_texts(y, n, s).value
    with np.errstate(divide="ignore"):
        largest = (np.log(y / n) - s).max()
    assert np.isnan(found) if not y.any() else found >= largest - 1e-9
    # Jensen is below the mean that it bounds, up to the pseudo-counts
    assert emergence.jensen(y, n, s, np.zeros(y.size)).value <= np.log(np.mean(np.exp(-s) * (y + 0.5) / (n + 1))) + 1e-9
