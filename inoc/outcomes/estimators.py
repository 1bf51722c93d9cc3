"""Estimators with scikit-learn's `fit` and `predict`, by SciPy and NumPy: importing scikit-learn outlasts every fit."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

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
        from scipy.optimize import isotonic_regression

        x = X[:, 0]
        rising = float(np.dot(x - x.mean(), y - y.mean())) >= 0
        self.x_, place, rows = np.unique(x, return_inverse=True, return_counts=True)
        self.y_ = isotonic_regression(np.bincount(place, y) / rows, weights=rows, increasing=rising).x
        return self

    def predict(self, X: Matrix) -> Column:
        return np.interp(X[:, 0], self.x_, self.y_)


class StandardRidge:
    """Ridge regression on standardized columns, penalty 0.1 per row."""

    def fit(self, X: Matrix, y: Column) -> "StandardRidge":
        spread = X.std(axis=0)
        self.center_, self.scale_, self.mean_ = X.mean(axis=0), np.where(spread > 0, spread, 1.0), float(y.mean())
        z = (X - self.center_) / self.scale_
        self.coef_: Column = np.linalg.solve(z.T @ z + PENALTY * len(y) * np.eye(z.shape[1]), z.T @ (y - self.mean_))
        return self

    def predict(self, X: Matrix) -> Column:
        return self.mean_ + (X - self.center_) / self.scale_ @ self.coef_
