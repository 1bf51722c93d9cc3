"""The gate: the share of a trait that a prompt takes away, as direction, salience and consistency of what it says.

logit share = level + a . columns + intercept of the cell (store x prefix type). Two fits of the same model: `Gate`
(penalized least squares) and `BayesianGate` (beta likelihood with a few shares anywhere, Laplace posterior). Both
have `fit` and `predict` like scikit-learn's; SciPy is imported where a gate is fitted. The **last column of X is the
number of the cell**; a cell that was not fitted has intercept 0.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

Matrix = Float64[np.ndarray, "row column"]
Column = Float64[np.ndarray, " row"]
Weights = Float64[np.ndarray, " parameter"]
LEVEL_SD, SLOPE_SD, CELL_SD = 2.0, 2.5, 1.0
"""Spread (logits) of the level, of a slope and of a cell's intercept before any data."""
NOISE = 0.25
"""Spread of a share about the gate: how much the data count against the prior in the squared fit."""
ANYWHERE = 0.05
"""Weight of a share that the gate does not explain, anywhere in [0, 1]."""
EDGE = 0.005
"""Shares are pulled this far inside [0, 1] for the beta likelihood."""


@dataclass(frozen=True)
class Prior:
    """What is known of level and slopes before the data: their mean and covariance (logits)."""

    mean: Float64[np.ndarray, " parameter"]
    covariance: Float64[np.ndarray, "parameter parameter"]

    @classmethod
    def weak(cls, slopes: int) -> "Prior":
        """Centered on no effect, wide."""
        return cls(np.zeros(1 + slopes), np.diag([LEVEL_SD**2, *[SLOPE_SD**2] * slopes]))


class Gate:
    """The gate by penalized least squares.

    Args:
        prior: Of level and slopes; a weak one for None.

    Attributes:
        coef_: Level and slopes.
        covariance_: Of level and slopes (Gauss-Newton).
        cells_: Number of a cell -> its intercept.
    """

    def __init__(self, prior: Prior | None = None) -> None:
        self.prior = prior

    @classmethod
    def of_prior(cls, prior: Prior) -> "Gate":
        """The gate before any data."""
        gate = cls(prior)
        gate.coef_, gate.covariance_, gate.cells_ = prior.mean, prior.covariance, {}
        return gate

    def fit(self, X: Matrix, y: Column) -> "Gate":
        """Fit shares of the control's score: `X` with the number of the cell last, `y` 1 where all of the trait is
        gone."""
        from scipy.optimize import minimize

        cells = np.unique(X[:, -1])
        design = design_of(X, cells)
        n = X.shape[1]
        mean, precision = self._known(n, len(cells))

        def loss(p: Weights) -> tuple[float, Weights]:
            share = _expit(design @ p)
            wrong, away = share - y, p - mean
            slope = design.T @ (wrong * share * (1 - share)) / NOISE**2 + precision @ away
            return float(wrong @ wrong / (2 * NOISE**2) + away @ precision @ away / 2), slope

        p = np.asarray(minimize(loss, mean, jac=True, method="BFGS").x)
        share = _expit(design @ p)
        jacobian = design * (share * (1 - share))[:, None] / NOISE
        covariance = np.linalg.inv(jacobian.T @ jacobian + precision)
        self.coef_, self.covariance_ = p[:n], covariance[:n, :n]
        self.cells_ = dict(zip(cells.tolist(), p[n:].tolist(), strict=True))
        return self

    def predict(self, X: Matrix) -> Column:
        """Shares in [0, 1]."""
        return _expit(self._logit(X))

    def _logit(self, X: Matrix) -> Column:
        own = np.array([self.cells_.get(cell, 0.0) for cell in X[:, -1].tolist()])
        return self.coef_[0] + X[:, :-1] @ self.coef_[1:] + own

    def _known(self, n: int, cells: int) -> tuple[Weights, Float64[np.ndarray, "parameter parameter"]]:
        """Mean and precision of all parameters before the data; the first n are level and slopes."""
        prior = self.prior or Prior.weak(n - 1)
        precision = np.eye(n + cells) / CELL_SD**2
        precision[:n, :n] = np.linalg.inv(prior.covariance)
        return np.concatenate([prior.mean, np.zeros(cells)]), precision


def design_of(X: Matrix, cells: Float64[np.ndarray, " cell"]) -> Float64[np.ndarray, "row parameter"]:
    """One, the columns, and an indicator of each cell."""
    return np.column_stack([np.ones(len(X)), X[:, :-1], X[:, -1:] == cells])


class BayesianGate(Gate):
    """The gate with a beta likelihood: share ~ 0.95 Beta(phi m, phi (1 - m)) + 0.05 U(0, 1), m the gate.

    Intercepts of cells ~ N(0, tau), tau ~ HalfN(1), ln phi ~ N(1.5, 0.8). The posterior is Laplace's: a normal
    about the mode. A share is predicted by its mean under `draws` of it.
    """

    def __init__(self, prior: Prior | None = None, draws: int = 200, seed: int = 0) -> None:
        super().__init__(prior)
        self.draws = draws
        self.seed = seed

    def fit(self, X: Matrix, y: Column) -> "BayesianGate":
        """Fit shares of the control's score: `X` with the number of the cell last, `y` 1 where all is gone."""
        from scipy.optimize import minimize
        from scipy.special import betaln, psi

        cells = np.unique(X[:, -1])
        design = design_of(X, cells)
        n = X.shape[1]
        mean, precision = self._known(n, len(cells))
        mean, precision = np.append(mean, [0.0, 1.5]), np.pad(precision, ((0, 2), (0, 2)))
        precision[-1, -1] = 1 / 0.8**2
        y = np.clip(y, EDGE, 1 - EDGE)
        logs = np.log(y), np.log1p(-y)

        def loss(p: Weights) -> tuple[float, Weights]:
            """Minus the log posterior; p: level, slopes, standardized intercepts, ln tau, ln phi."""
            tau, phi = (float(value) for value in np.exp(np.clip(p[-2:], -5.0, 5.0)))
            scaled = np.concatenate([p[:n], tau * p[n:-2]])
            m: Column = np.clip(_expit(design @ scaled), 1e-6, 1 - 1e-6)
            a, b = phi * m, phi * (1 - m)
            beta = np.log(1 - ANYWHERE) + (a - 1) * logs[0] + (b - 1) * logs[1] - betaln(a, b)
            total = np.logaddexp(beta, np.log(ANYWHERE))
            weight = np.exp(beta - total)
            by_m = weight * phi * (logs[0] - logs[1] - psi(a) + psi(b)) * m * (1 - m)
            by_phi = weight * phi * (psi(phi) + m * (logs[0] - psi(a)) + (1 - m) * (logs[1] - psi(b)))
            slope = design.T @ by_m
            by_tau = float(slope[n:] @ p[n:-2]) * tau
            slope[n:] *= tau
            away = p - mean
            value = -total.sum() + away @ precision @ away / 2 + tau**2 / 2 - p[-2]
            ends = np.array([-by_tau + tau**2 - 1, -by_phi.sum()])
            return float(value), precision @ away + np.concatenate([-slope, ends])

        start = mean.copy()
        start[-2] = -1.0
        mode = np.asarray(minimize(loss, start, jac=True, method="BFGS").x)
        self.coef_ = mode[:n]
        self._sample(mode, _curvature(lambda p: loss(p)[1], mode), cells, n)
        return self

    def _sample(
        self, mode: Weights, curvature: Float64[np.ndarray, "parameter parameter"], cells: np.ndarray, n: int
    ) -> None:
        values, vectors = np.linalg.eigh(curvature)
        spread = vectors / np.sqrt(np.maximum(values, 0.05))
        random = np.random.default_rng(self.seed)
        drawn = mode + random.normal(size=(self.draws, mode.size)) @ spread.T
        tau = np.exp(np.clip(drawn[:, -2], -5.0, 1.0))
        self.covariance_ = (spread @ spread.T)[:n, :n]
        self._drawn, self._own = drawn[:, :n], tau[:, None] * drawn[:, n:-2]
        self._other = tau * random.normal(size=self.draws)
        self.cells_ = dict(zip(cells.tolist(), self._own.mean(axis=0).tolist(), strict=True))

    def predict(self, X: Matrix) -> Column:
        """Mean shares under the posterior, in [0, 1]."""
        place = {cell: i for i, cell in enumerate(self.cells_)}
        own = np.stack([self._own[:, place[c]] if c in place else self._other for c in X[:, -1].tolist()], axis=1)
        logits = self._drawn[:, :1] + self._drawn[:, 1:] @ X[:, :-1].T + own
        return (1 - ANYWHERE) * _expit(logits).mean(axis=0) + ANYWHERE / 2


def _expit(logits: Float64[np.ndarray, "*cells"]) -> Float64[np.ndarray, "*cells"]:
    from scipy.special import expit

    return np.asarray(expit(logits), dtype=np.float64)


@runtime_checkable
class Gradient(Protocol):
    """The gradient of minus the log posterior."""

    def __call__(self, p: Weights) -> Weights: ...


def _curvature(gradient: Gradient, at: Weights) -> Float64[np.ndarray, "parameter parameter"]:
    """Second derivatives by central differences of the gradient."""
    step = 1e-4
    rows = [(gradient(at + step * e) - gradient(at - step * e)) / (2 * step) for e in np.eye(at.size)]
    return (np.array(rows) + np.array(rows).T) / 2
