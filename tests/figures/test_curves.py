"""Curves at any number of runs."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats

import inoc
from inoc.figures import curves, house
from inoc.figures.catalog import entries
from inoc.figures.curves import Runs, draw_curves
from inoc.figures.learning_rates import learning_rates_data, steps_to
from inoc.figures.sources import Source

from .worlds import RATES


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def drawn(runs, steps):
    rng = np.random.default_rng(0)
    values = rng.normal(50, 10, (runs + 1, steps))
    names = ["control", *(f"run {i}" for i in range(runs))]
    prompts = ["", *(f"prompt {i // 2}" for i in range(runs))]  # two seeds of each
    kinds = ["none", *("fixed" if i < runs / 2 else "mix" for i in range(runs))]
    ax = house.axes_or_new(None)
    labels = Runs(names, prompts, ["control"] + ["positive"] * runs, kinds)
    said = draw_curves(ax, np.arange(steps, dtype=float), values, labels, (values - 1, values + 1))
    return ax, values, said


def test_up_to_twelve_runs_are_drawn_by_themselves():
    ax, _, said = drawn(12, 4)
    assert len(ax.lines) == 13
    assert {text.get_text() for text in ax.texts} == {"control", *(f"+ run {i}" for i in range(12))}
    assert not said


def test_above_that_each_group_has_a_mean_that_counts_prompts_once():
    ax, values, said = drawn(16, 4)
    assert len(ax.lines) == 17 + 2
    names = {text.get_text() for text in ax.texts}
    assert names == {"control", "+ positive, fixed (4 prompts)", "+ positive, mix (4 prompts)"}
    each = values[1:9].reshape(4, 2, 4).mean(axis=1)
    assert ax.lines[17].get_ydata() == pytest.approx(each.mean(axis=0))
    half = stats.t.ppf(0.975, 3) * each.std(axis=0, ddof=1) / 2
    ends = ax.collections[-2].get_paths()[0].vertices[:, 1]
    assert ends.max() == pytest.approx((each.mean(axis=0) + half).max())
    assert "each prompt counted once" in said[0]
    (control,) = [line for line in ax.lines if line.get_color() == "#000000"]
    assert control.get_alpha() == 1
    assert control.get_zorder() == max(line.get_zorder() for line in ax.lines)


@pytest.mark.parametrize(("runs", "steps", "joined"), [(3, 3, False), (3, 4, True), (16, 3, False), (16, 4, True)])
def test_three_steps_are_not_joined(runs, steps, joined):
    ax, _, said = drawn(runs, steps)
    assert {line.get_linestyle() != "None" for line in ax.lines} == {joined}
    assert all(line.get_marker() != "None" for line in ax.lines) or joined
    assert any("not joined" in sentence for sentence in said) is not joined


def test_a_planted_fault_is_seen(monkeypatch):
    """With the limit moved, the first test fails."""
    monkeypatch.setattr(curves, "SINGLE", 11)
    with pytest.raises(AssertionError):
        test_up_to_twelve_runs_are_drawn_by_themselves()


def test_learning_rates_by_hand(sweep):
    """Growth by 1 - exp(-rate s / 0.02): 70 % of the change from step 0 to 300, between stored steps by a line."""
    store = inoc.open_store(sweep)
    data = learning_rates_data(store)
    final = data["final"].sel(score="German").values
    assert final[0] == pytest.approx([80 * (1 - np.exp(-rate * 15000)) for rate in RATES], abs=1)
    grown = np.array([0.0, *(1 - np.exp(-0.001 / 0.02 * s) for s in (10, 30, 100, 300))])
    by_line = 10 + 20 * (0.7 * grown[-1] - grown[1]) / (grown[2] - grown[1])
    assert data["steps"].sel(score="German", rate=1e-3).values == pytest.approx(by_line, abs=0.8)
    assert np.isnan(steps_to(np.arange(3.0), np.array([0.0, 50, 90]))), "three steps say nothing"
    assert np.isnan(steps_to(np.arange(4.0), np.array([50.0, 51, 52, 53]))), "no change to speak of"
    figure = next(e for e in entries() if e.name == "learning_rates").draw(Source(store))
    assert [ax.get_xscale() for ax in figure.axes] == ["log"] * 4
