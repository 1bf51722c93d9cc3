"""Estimators with scikit-learn's `fit` and `predict`, and the one place that looks at it: where one is fitted."""

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
        from sklearn.isotonic import IsotonicRegression

        x = X[:, 0]
        rising = float(np.dot(x - x.mean(), y - y.mean())) >= 0
        self.curve_ = IsotonicRegression(increasing=rising, out_of_bounds="clip").fit(x, y)
        return self

    def predict(self, X: Matrix) -> Column:
        return np.asarray(self.curve_.predict(X[:, 0]), dtype=np.float64)


class StandardRidge:
    """Ridge regression on standardized columns, penalty 0.1 per row."""

    def fit(self, X: Matrix, y: Column) -> "StandardRidge":
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self.pipeline_ = make_pipeline(StandardScaler(), Ridge(alpha=PENALTY * len(y))).fit(X, y)
        return self

    def predict(self, X: Matrix) -> Column:
        return np.asarray(self.pipeline_.predict(X), dtype=np.float64)
