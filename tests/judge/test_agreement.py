"""Agreement of judges against scikit-learn and SciPy, and by hand."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from inoc.intervals import Interval
from inoc.judge.agreement import Agreement, _Correlation, _Kappa, agreement


def test_every_pair_against_other_libraries() -> None:
    random = np.random.default_rng(0)
    people = random.uniform(0, 100, 60)
    columns = {
        "people": people,
        "good": np.clip(people + random.normal(0, 10, 60), 0, 100),
        "bad": random.uniform(0, 100, 60),
    }
    columns["good"][:5] = np.nan
    questions = [f"q{i // 2}" for i in range(60)]
    found = {(entry.first, entry.second): entry for entry in agreement(columns, questions, 40.0)}
    assert list(found) == [("people", "good"), ("people", "bad"), ("good", "bad")]
    for (first, second), entry in found.items():
        a, b = columns[first], columns[second]
        both = np.isfinite(a) & np.isfinite(b)
        assert entry.r.n == entry.kappa.n == both.sum()
        assert entry.missing == (~both).sum()
        assert entry.kappa.estimate == pytest.approx(cohen_kappa_score(a[both] > 40, b[both] > 40))
        assert entry.r.estimate == pytest.approx(stats.pearsonr(a[both], b[both]).statistic)
        for interval in (entry.kappa, entry.r):
            assert interval.lower < interval.estimate < interval.upper
    assert found["people", "good"].kappa.lower > found["people", "bad"].kappa.upper


def test_texts_of_one_question_are_drawn_together() -> None:
    """Ten copies of each text are no more evidence than one."""
    random = np.random.default_rng(1)
    a = random.uniform(0, 100, 20)
    columns = {"a": a, "b": np.clip(a + random.normal(0, 40, 20), 0, 100)}
    questions = [str(i) for i in range(20)]
    (once,) = agreement(columns, questions)
    (copied,) = agreement({k: np.repeat(v, 10) for k, v in columns.items()}, np.repeat(questions, 10).tolist())
    assert copied.r.estimate == pytest.approx(once.r.estimate)
    assert copied.r.upper - copied.r.lower == pytest.approx(once.r.upper - once.r.lower, rel=0.05)


def test_little_data_and_constants_say_nothing() -> None:
    (few,) = agreement({"a": np.arange(7.0), "b": np.arange(7.0)}, list("abcdefg"))
    assert np.isnan(few.r.estimate)
    assert np.isnan(few.kappa.estimate)
    assert few.r.n == 7
    (enough,) = agreement({"a": np.arange(8.0) * 10, "b": np.arange(8.0) * 10}, list("abcdefgh"), 30.0)
    assert (enough.r.estimate, enough.kappa.estimate) == (pytest.approx(1.0), pytest.approx(1.0))
    (edge,) = agreement({"a": np.arange(8.0) * 10, "b": np.arange(8.0) * 10 + 0.1}, list("abcdefgh"), 30.0)
    assert edge.kappa.estimate == pytest.approx(0.75), "exactly the threshold is not above it: one of eight differs"
    (flat,) = agreement({"a": np.arange(9.0), "b": np.full(9, 3.0)}, list("abcdefghi"))
    assert np.isnan(flat.r.estimate)
    assert np.isnan(flat.kappa.estimate)


def test_what_is_not_known_is_null_and_a_dash() -> None:
    nothing, part = Interval(np.nan, np.nan, np.nan, 7), Interval(0.5, np.nan, np.nan, 9)
    said = Agreement("a", "b", nothing, part, 2)
    assert said.sentence() == "a and b: kappa –, r 0.50, n 9, 2 texts without one of the two"
    whole = Agreement("a", "b", part, Interval(0.5, 0.25, 0.75, 9), 0)
    assert whole.sentence() == "a and b: kappa 0.50, r 0.50 [0.25, 0.75], n 9"
    assert whole.to_json() == {
        "first": "a", "second": "b", "n": 9, "missing": 0,
        "kappa": 0.5, "kappa_lower": None, "kappa_upper": None, "r": 0.5, "r_lower": 0.25, "r_upper": 0.75,
    }  # fmt: skip


def test_a_text_drawn_twice_counts_twice() -> None:
    """What the bootstrap asks: statistics by weights are those of the repeated texts."""
    random = np.random.default_rng(2)
    a = random.uniform(20, 100, 40)
    b = a / 2 + random.uniform(0, 30, 40)
    yes = (a > 60).astype(np.float64), (b > 45).astype(np.float64)
    weights = random.integers(0, 4, (5, 40)).astype(np.float64)
    for found, kappa, weight in zip(_Correlation(a, b)(weights), _Kappa(*yes)(weights), weights, strict=True):
        drawn = np.repeat(np.arange(40), weight.astype(int))
        assert found == pytest.approx(stats.pearsonr(a[drawn], b[drawn]).statistic)
        assert kappa == pytest.approx(cohen_kappa_score(yes[0][drawn], yes[1][drawn]))
