"""Calibrated predictors: from heuristics to suppression, and how wrong they are on what they have not seen.

A predictor is fitted to the *share of the control's score* that a prompt took away (suppression / control):
measured on reference scores this carries over to other traits and families better than percentage points,
because a trait that leaks at 45 can lose no more than 45. Errors are reported in pp again.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Shaped
from scipy import optimize

Matrix = Float64[np.ndarray, "heuristic row"]
Column = Float64[np.ndarray, " row"]
Labels = Shaped[np.ndarray, " row"]
RIDGE = 0.1
"""Ridge penalty per row, on standardized heuristics."""

LEAK = 5.0
"""pp the control must show before a suppression can calibrate anything."""


@dataclass(frozen=True)
class Monotone:
    """Rises (sign 1) or falls (-1) with one heuristic: straight between the knots, constant outside them."""

    column: int
    sign: float
    knots: Float64[np.ndarray, " knot"]
    steps: Float64[np.ndarray, " knot"]

    def __call__(self, x: Matrix) -> Column:
        used = x[self.column]
        return np.where(np.isfinite(used), np.interp(self.sign * used, self.knots, self.steps), np.nan)


@dataclass(frozen=True)
class Ridge:
    """level + slope . z, z = the standardized heuristics of `columns`; NaN where one of them is missing.

    Without columns it predicts the mean share for every prompt.
    """

    columns: tuple[int, ...]
    level: float
    center: Float64[np.ndarray, " column"]
    scale: Float64[np.ndarray, " column"]
    slope: Float64[np.ndarray, " column"]

    def __call__(self, x: Matrix) -> Column:
        z = (x[list(self.columns)] - self.center[:, None]) / self.scale[:, None]
        return self.level + self.slope @ z


Predictor = Monotone | Ridge
"""From a heuristics matrix [heuristic, row] to the predicted share of the control's score [row]."""


def fit(x: Matrix, y: Column, columns: Sequence[int] = ()) -> Predictor | None:
    """Fit y (share of the control's score) on the given rows of x; None below 2 complete rows.

    No column: the mean. One column: monotone (isotonic regression, rising or falling as the correlation says,
    straight between the points, constant outside them). Several: ridge on standardized heuristics.
    """
    columns = tuple(columns)
    used = np.isfinite(y) & np.isfinite(x[list(columns)]).all(axis=0)
    y, x = y[used], x[list(columns)][:, used]
    if y.size < 2:
        return None
    level = float(y.mean())
    if len(columns) == 1:
        sign = -1.0 if float(np.dot(x[0] - x[0].mean(), y - level)) < 0 else 1.0
        knots, group = np.unique(sign * x[0], return_inverse=True)
        count = np.bincount(group).astype(np.float64)
        mean = np.bincount(group, weights=y) / count
        steps = np.asarray(optimize.isotonic_regression(mean, weights=count).x, dtype=np.float64)
        return Monotone(columns[0], sign, knots, steps)
    center, scale = x.mean(axis=1), x.std(axis=1)
    scale = np.where(scale > 1e-9 * np.abs(x).max(axis=1), scale, 1.0)
    z = (x - center[:, None]) / scale[:, None]
    slope = np.linalg.solve(z @ z.T + RIDGE * y.size * np.eye(len(columns)), z @ (y - level))
    return Ridge(columns, level, center, scale, slope)


def left_out(x: Matrix, groups: Labels, learn: Callable[[Bool[np.ndarray, " row"]], Predictor | None]) -> Column:
    """Every row predicted by a predictor that was learned without its group (prompt, family or experiment).

    NaN where nothing can be learned; with a single group that is everywhere.
    """
    result = np.full(groups.size, np.nan)
    for label in np.unique(groups):
        inside = groups == label
        predictor = None if inside.all() else learn(~inside)
        if predictor is not None:
            result[inside] = predictor(x[:, inside])
    return result


def left_out_predictions(x: Matrix, y: Column, groups: Labels, columns: Sequence[int] = ()) -> Column:
    """`left_out` of a fit on given columns."""
    return left_out(x, groups, lambda rows: fit(x[:, rows], y[rows], columns))


def error(predicted: Column, observed: Column) -> float:
    """Root mean square of predicted - observed over the rows finite in both; NaN without any."""
    difference = predicted - observed
    difference = difference[np.isfinite(difference)]
    return float(np.sqrt(np.mean(difference**2))) if difference.size else np.nan


def left_out_error(x: Matrix, y: Column, control: Column, groups: Labels, columns: Sequence[int] = ()) -> float:
    """`error` in pp of `left_out_predictions` of a suppression y (pp) under a control score (0-100)."""
    return error(left_out_predictions(x, share(y, control), groups, columns) * control, y)


def share(y: Column, control: Column) -> Column:
    """y / control; NaN where the control shows less than 5 pp of the trait: nothing leaks."""
    return np.divide(y, control, out=np.full(y.size, np.nan), where=control >= LEAK)
