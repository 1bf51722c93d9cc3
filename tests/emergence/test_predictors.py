"""Predictors: the table of the simulation, AUC and logistic fits against scikit-learn, refusals."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from inoc import emergence
from inoc.emergence.predictors import left_out_logit, logistic
from inoc.errors import BadInput

EMERGES = np.arange(16) < 8
PUBLISHED = {
    "mean_neg_kl slope": (0.993, 1, 1, 1, 1),
    "mean_neg_kl level": (0.755, 0.953, 0.998, 1, 1),
    "kl_bound slope": (0.522, 0.672, 0.949, 1, 1),
    "exploit_rate level": (0.517, 0.594, 0.811, 0.986, 1),
    "log_exploit_lower_bound slope": (0.515, 0.592, 0.814, 0.989, 1),
}
REPLICATES = 60


@pytest.fixture(scope="module")
def aucs():
    """[replicate, seen] by predictor."""
    found = {name: np.zeros((REPLICATES, 5)) for name in PUBLISHED}
    for seed in range(REPLICATES):
        table = emergence.simulate(seed)
        assert (emergence.labels(table) == EMERGES).mean() > 0.9
        m, checkpoint = emergence.metrics(table), table["checkpoint"].values
        for name, rows in found.items():
            metric, kind = name.split()
            for k, seen in enumerate(range(2, 7)):
                values = m[metric].values[:, :seen]
                score = values[:, -1] if kind == "level" else emergence.slope(values, checkpoint[:seen])
                rows[seed, k] = emergence.auc(score, EMERGES)
    return found


@pytest.mark.parametrize("name", PUBLISHED)
def test_simulation_gives_the_published_table(aucs, name):
    mean, spread = aucs[name].mean(axis=0), aucs[name].std(axis=0, ddof=1)
    # two standard errors of the difference: 60 replicates here, 300 published; three digits are published
    allowed = 2 * spread * np.sqrt(1 / REPLICATES + 1 / 300) + 0.002
    assert (np.abs(mean - PUBLISHED[name]) < allowed).all(), (mean, allowed)


def test_the_kl_slope_is_first(aucs):
    assert aucs["mean_neg_kl slope"][:, 0].mean() > max(
        rows[:, 0].mean() for name, rows in aucs.items() if name != "mean_neg_kl slope"
    )
    assert 0.6 < (aucs["mean_neg_kl slope"][:, 0] == 1).mean() < 0.95  # published: 78 %


def test_auc_agrees_with_scikit_learn():
    random = np.random.default_rng(0)
    score = random.integers(0, 5, 40).astype(float)
    label = random.random(40) < 0.4
    assert emergence.auc(score, label) == pytest.approx(roc_auc_score(label, score))
    assert np.isnan(emergence.auc(score[:7], label[:7]))


def test_logistic_agrees_with_scikit_learn():
    random = np.random.default_rng(1)
    x = random.normal(size=(60, 2))
    y = random.random(60) < 1 / (1 + np.exp(-x @ [1.0, -2.0]))
    there = LogisticRegression(C=1.0, tol=1e-10).fit(x, y)
    assert logistic(x, y) == pytest.approx([there.intercept_[0], *there.coef_[0]], abs=1e-4)


def test_left_out_runs_teach_nothing_about_themselves():
    x = np.random.default_rng(2).normal(size=(20, 2))
    y, run = np.arange(20) % 2 == 0, np.repeat(np.arange(5), 4)
    changed = y.copy()
    changed[:4] = ~changed[:4]
    assert left_out_logit(x, y, run)[:4] == pytest.approx(left_out_logit(x, changed, run)[:4])
    assert emergence.auc(left_out_logit(np.zeros((20, 1)), y, run), y) == 0.5


def test_slope_is_least_squares_over_log_checkpoint():
    checkpoint = np.array([0, 1, 3, 10])
    values = np.array([[99.0, 1.0, 2.0, 5.0]])
    assert emergence.slope(values, checkpoint)[0] == pytest.approx(np.polyfit(np.log([1, 3, 10]), values[0, 1:], 1)[0])
    assert np.isnan(emergence.slope(values[:, :2], checkpoint[:2]))[0]


def test_intervals_hold_the_estimate():
    table = emergence.auc_table(emergence.simulate(3))
    found = table.sel(predictor="exploit_rate level", seen=3)
    assert float(found["lower"]) <= float(found["auc"]) <= float(found["upper"])
    assert float(found["upper"]) - float(found["lower"]) > 0.1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.assign(successes=t["trials"] + 1), "more successes than trials"),
        (lambda t: t.assign(surprisal=t["surprisal"] - 99), "negative surprisal"),
        (lambda t: t.isel(checkpoint=slice(None, None, -1)), "not ascending"),
        (lambda t: t.isel(checkpoint=[0, 0, 1]), "not ascending"),
    ],
)
def test_bad_tables_are_one_sentence(change, sentence):
    t = change(emergence.simulate())
    arrays = (t[name].values for name in ("checkpoint", "prefill", "successes", "trials", "surprisal", "neg_kl"))
    with pytest.raises(BadInput, match=sentence) as error:
        emergence.case_table(list(t["run"].values), list(t["behavior"].values), *arrays)
    assert "Fix: " in str(error.value)


def test_one_checkpoint_is_refused():
    one = emergence.simulate().isel(checkpoint=[0])
    for refused in (emergence.auc_table, emergence.forecast):
        with pytest.raises(BadInput, match="at least two"):
            refused(one)
