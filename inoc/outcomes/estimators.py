"""Estimators with the interface of scikit-learn, whose import takes longer than any fit here."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64

Matrix = Float64[np.ndarray, "row column"]
Column = Float64[np.ndarray, " row"]
PENALTY = 0.1
"""Ridge penalty per row, on standardized columns."""


@runtime_checkable
class Estimator(Protocol):
    """What a predictor does: scikit-learn's `fit` and `predict`."""

    def fit(self, X: Matrix, y: Column) -> object: ...

    def predict(self, X: Matrix) -> Column: ...


@runtime_checkable
class Maker(Protocol):
    """Makes an estimator that is not fitted yet."""

    def __call__(self) -> Estimator: ...


class Mean:
    """The mean for every row, whatever its columns."""

    def fit(self, X: Matrix, y: Column) -> "Mean":
        self.mean_ = float(y.mean())
        return self

    def predict(self, X: Matrix) -> Column:
        return np.full(len(X), self.mean_)


class Monotone:
    """Isotonic regression on the only column: rising or falling as the correlation says, constant outside the range."""

    def fit(self, X: Matrix, y: Column) -> "Monotone":
        x = X[:, 0]
        rising = float(np.dot(x - x.mean(), y - y.mean())) >= 0
        self.x_, place, counts = np.unique(x, return_inverse=True, return_counts=True)
        means, sign = np.bincount(place, y) / counts, 1 if rising else -1
        self.y_ = sign * _pooled(sign * means, counts)
        return self

    def predict(self, X: Matrix) -> Column:
        return np.interp(X[:, 0], self.x_, self.y_)


class StandardRidge:
    """Ridge regression on standardized columns, penalty 0.1 per row."""

    def fit(self, X: Matrix, y: Column) -> "StandardRidge":
        spread = X.std(axis=0)
        self.center_, self.scale_, self.mean_ = X.mean(axis=0), spread + (spread == 0), float(y.mean())
        z = (X - self.center_) / self.scale_
        penalized = z.T @ z + PENALTY * len(y) * np.eye(z.shape[1])
        self.coef_: Column = np.linalg.solve(penalized, z.T @ (y - self.mean_))
        return self

    def predict(self, X: Matrix) -> Column:
        return self.mean_ + (X - self.center_) / self.scale_ @ self.coef_


def _pooled(values: Column, weights: Int64[np.ndarray, " row"]) -> Column:
    """The closest values that do not fall: neighbors that do are pooled into their weighted mean."""
    pools: list[tuple[float, int, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        pools.append((value, weight, 1))
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            (a, n, k), (b, m, j) = pools[-2:]
            pools[-2:] = [((a * n + b * m) / (n + m), n + m, k + j)]
    return np.repeat([pool[0] for pool in pools], [pool[2] for pool in pools])
