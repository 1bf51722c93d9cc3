"""What predictors are fitted to, and how wrong they are.

A predictor is fitted to the *share of the control's score* that a prompt took away (suppression / control):
measured on reference scores this carries over to other traits and families better than percentage points,
because a trait that leaks at 45 can lose no more than 45. Errors are reported in pp again.
"""

import numpy as np
from jaxtyping import Float64

Column = Float64[np.ndarray, " row"]
LEAK = 5.0
"""pp the control must show before a suppression can calibrate anything."""


def error(predicted: Column, observed: Column) -> float:
    """Root mean square of predicted - observed over the rows finite in both; NaN without any."""
    difference = predicted - observed
    difference = difference[np.isfinite(difference)]
    return float(np.sqrt(np.mean(difference**2))) if difference.size else np.nan


def share(y: Column, control: Column) -> Column:
    """y / control; NaN where the control shows less than 5 pp of the trait: nothing leaks."""
    return np.divide(y, control, out=np.full(y.size, np.nan), where=control >= LEAK)


def control_lacks(trait: str, score: float) -> str:
    """The warning about a control run that hardly shows a trait."""
    return (
        f"The control run shows {score:.1f} of {trait} (of 100): there is nothing to hold back, and no suppression of "
        f"{trait} can be measured or predicted below {LEAK:g}. Fix: check the training data and the judge."
    )
