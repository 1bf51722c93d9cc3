"""Correlations, Holm, cells: against SciPy and algebra."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from inoc.outcomes.correlation import FEWEST, bootstrap_r, correlate, holm, p_values, pearson, spearman, within_cells

columns = st.integers(4, 25).flatmap(lambda n: hnp.arrays(np.float64, (2, n), elements=st.integers(-50, 50).map(float)))


@given(columns)
def test_pearson_and_spearman_are_scipys(data: np.ndarray) -> None:
    x, y = data
    found, ranked = pearson(x, y), spearman(x, y)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert np.isnan(found)
        assert np.isnan(ranked)
        return
    assert found == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
    assert ranked == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    # missing rows do not count, in either column
    more_x, more_y = np.append(x, [np.nan, 1.0]), np.append(y, [5.0, np.nan])
    assert pearson(more_x, more_y) == pytest.approx(found, abs=1e-12)
    # linear maps change nothing but the sign
    assert pearson(-3 * x + 7, y) == pytest.approx(-found, abs=1e-9)


def test_below_eight_prompts_there_is_nothing_however_many_rows() -> None:
    """28 rows of 7 prompts carry no r, rho, interval, p or within r; one prompt more, and they do."""
    rng = np.random.default_rng(0)
    for distinct in (7, 8):
        prompts = np.arange(28) % distinct
        x = rng.normal(size=28)
        y, cells = x + rng.normal(size=28), np.repeat(["a", "b"], 14)
        found = correlate(x, y, prompts)
        known = distinct >= FEWEST == 8
        assert (found.n, found.prompts, found.reason == "") == (28, distinct, known)
        numbers = [found.r, found.rho, *bootstrap_r(x, y, prompts, resamples=100)]
        numbers += [p_values(np.array([0.5]), np.array([distinct]))[0], within_cells(x, y, cells, prompts).estimate]
        assert list(np.isfinite(numbers)) == [known] * 6
        assert known or found.reason == "7 distinct prompts; a correlation needs 8"
    flat = correlate(np.ones(28), x, np.arange(28))
    assert np.isnan(flat.r)
    assert flat.reason == "constant over the rows"
    # a prompt counts only where both columns are known
    holes = np.where(np.arange(8) < 7, np.arange(8.0), np.nan)
    assert correlate(holes, np.arange(8.0), np.arange(8)).prompts == 7


def test_p_counts_prompts_not_rows() -> None:
    r = np.array([0.6, 0.6, np.nan, 0.6])
    p = p_values(r, np.array([20, 8, 20, 7]))
    rng = np.random.default_rng(0)
    x = rng.normal(size=20)
    y = stats.pearsonr(x, x + rng.normal(size=20))
    assert p_values(np.array([y.statistic]), np.array([20]))[0] == pytest.approx(y.pvalue, rel=1e-9)
    assert p[1] > p[0]
    assert np.isnan(p[2])
    assert np.isnan(p[3])


def test_holm_by_hand() -> None:
    found = holm(np.array([0.01, 0.04, np.nan, 0.03, 0.5]))
    assert found[[0, 1, 3, 4]] == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert np.isnan(found[2])


@given(hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats(0, 1)))
def test_holm_is_monotone_and_never_below_p(p: np.ndarray) -> None:
    found = holm(p)
    assert (found >= p - 1e-15).all()
    assert (found <= 1).all()
    assert (np.diff(found[np.argsort(p, kind="stable")]) >= -1e-15).all()
    assert found.min() <= p.min() * p.size + 1e-15


def test_within_cells_removes_a_difference_between_cells() -> None:
    """Two cells of noise, one of them higher in both columns: pooled r is high, within r is not."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=60), rng.normal(size=60)
    cells = np.repeat(["low", "high"], 30)
    x, y = x + 10 * (cells == "high"), y + 10 * (cells == "high")
    assert pearson(x, y) > 0.9
    found = within_cells(x, y, cells, np.arange(60))
    assert found.lower < 0 < found.upper
    assert found.n == 60
