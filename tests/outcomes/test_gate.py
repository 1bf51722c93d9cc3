"""What the gates minimize, against densities of SciPy written out, and what they predict from it."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.optimize
from scipy import stats

from inoc.outcomes.gate import BayesianGate, Gate, Prior, design_of
from inoc.outcomes.planning import _mean_variance

RNG = np.random.default_rng(3)
X = np.column_stack([RNG.normal(size=(12, 2)), np.arange(12) % 3])
Y = np.clip(RNG.random(12), 0.0, 1.0)
Y[:2] = 0.0, 1.0
PRIOR = Prior(np.array([0.5, -0.2, 0.3]), np.array([[1.0, 0.2, 0.0], [0.2, 2.0, 0.1], [0.0, 0.1, 3.0]]))
Loss = Callable[[np.ndarray], tuple[float, np.ndarray]]


def minimized(monkeypatch: pytest.MonkeyPatch, gate: Gate) -> tuple[Loss, np.ndarray]:
    """What a fit minimizes, and where it ends."""
    found: list[tuple[Loss, np.ndarray]] = []
    minimize = scipy.optimize.minimize

    def watched(loss: Loss, start: np.ndarray, **options: object):
        done = minimize(loss, start, **options)
        found.append((loss, done.x))
        return done

    monkeypatch.setattr(scipy.optimize, "minimize", watched)
    gate.fit(X, Y)
    return found[0]


def share_of(p: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The gate by hand: three cells with an intercept each."""
    logit = p[0] + X[:, 0] * p[1] + X[:, 1] * p[2] + own[X[:, 2].astype(int)]
    return 1 / (1 + np.exp(-logit))


def squared(p: np.ndarray) -> float:
    """-log posterior: shares about the gate with sd .25, the prior, intercepts ~ N(0, 1)."""
    data = stats.norm.logpdf(Y, share_of(p, p[3:]), 0.25).sum()
    return (
        -data - stats.multivariate_normal.logpdf(p[:3], PRIOR.mean, PRIOR.covariance) - stats.norm.logpdf(p[3:]).sum()
    )


def bayesian(p: np.ndarray) -> float:
    """-log posterior with a beta likelihood, ln tau (of a half normal) and ln phi last."""
    tau, phi = np.exp(p[-2:])
    m = share_of(p, tau * p[3:-2])
    inside = np.clip(Y, 0.005, 0.995)
    data = np.log(0.95 * stats.beta.pdf(inside, phi * m, phi * (1 - m)) + 0.05).sum()
    prior = stats.multivariate_normal.logpdf(p[:3], PRIOR.mean, PRIOR.covariance) + stats.norm.logpdf(p[3:-2]).sum()
    return -data - prior - stats.halfnorm.logpdf(tau) - p[-2] - stats.norm.logpdf(p[-1], 1.5, 0.8)


@pytest.mark.parametrize(("gate", "by_hand", "size"), [(Gate(PRIOR), squared, 6), (BayesianGate(PRIOR), bayesian, 8)])
def test_the_posterior_and_its_slope(
    monkeypatch: pytest.MonkeyPatch, gate: Gate, by_hand: Callable[[np.ndarray], float], size: int
) -> None:
    loss, mode = minimized(monkeypatch, gate)
    assert mode.size == size
    points = [np.zeros(size), mode, *np.random.default_rng(1).normal(0, 0.7, (4, size))]
    offsets = [loss(p)[0] - by_hand(p) for p in points]
    assert offsets == pytest.approx([offsets[0]] * len(points), abs=1e-8), "up to a constant"
    for p in points:
        slope = [(by_hand(p + e) - by_hand(p - e)) / 2e-6 for e in 1e-6 * np.eye(size)]
        assert loss(p)[1] == pytest.approx(slope, rel=1e-4, abs=1e-5)
    assert np.abs(loss(mode)[1]).max() < 1e-3
    assert gate.coef_ == pytest.approx(mode[:3])


def test_the_squared_gate_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(PRIOR)
    _, mode = minimized(monkeypatch, gate)
    share = share_of(mode, mode[3:])
    jacobian = design_of(X, np.arange(3.0)) * (share * (1 - share))[:, None] / 0.25
    precision = np.zeros((6, 6))
    precision[:3, :3], precision[3:, 3:] = np.linalg.inv(PRIOR.covariance), np.eye(3)
    expected = np.linalg.inv(jacobian.T @ jacobian + precision)[:3, :3]
    np.testing.assert_allclose(gate.covariance_, expected)
    np.testing.assert_allclose(gate.predict(X), share)
    elsewhere = np.array([[0.3, -0.4, 9.0]])
    logit = mode[0] + 0.3 * mode[1] - 0.4 * mode[2]
    assert gate.predict(elsewhere) == pytest.approx([1 / (1 + np.exp(-logit))]), "an unknown cell has no intercept"
    before = Gate.of_prior(PRIOR)
    assert before.predict(elsewhere) == pytest.approx([1 / (1 + np.exp(-(0.5 - 0.06 - 0.12)))])


def test_weak_priors_and_designs() -> None:
    weak = Prior.weak(2)
    assert (weak.mean.tolist(), weak.covariance.tolist()) == ([0, 0, 0], [[4, 0, 0], [0, 6.25, 0], [0, 0, 6.25]])
    assert design_of(X[:2], np.arange(3.0)).tolist() == [
        [1, X[0, 0], X[0, 1], 1, 0, 0], [1, X[1, 0], X[1, 1], 0, 1, 0],
    ]  # fmt: skip


def test_the_bayesian_gate_predicts_known_cells_by_their_own() -> None:
    """Two cells at .9 and .1 whatever the features: a third is between them, nearer the middle."""
    n = 40
    x = np.column_stack([np.random.default_rng(0).normal(size=(n, 1)), np.arange(n) % 2])
    y = np.where(x[:, 1] == 0, 0.9, 0.1)
    gate = BayesianGate(draws=100).fit(x, y)
    high, low, new = gate.predict(np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 7.0]]))
    assert high == pytest.approx(0.9, abs=0.05)
    assert low == pytest.approx(0.1, abs=0.05)
    assert 0.25 < new < 0.75
    assert gate.cells_[0.0] > 0 > gate.cells_[1.0]


def test_the_mean_variance_by_hand() -> None:
    precision, slopes = np.diag([2.0, 4.0]), np.array([[1.0, 0.0], [0.0, 1.0]])
    first = np.array([True, False])
    assert _mean_variance(precision, slopes, ~first & first) == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert _mean_variance(precision, slopes, first) == pytest.approx((1 / (2 + 16) + 1 / 4) / 2)
