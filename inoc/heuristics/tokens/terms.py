"""What is computed per token, written once for NumPy and JAX.

Formulas use operators and one function, `exp`, so the same lines run on NumPy arrays and under `jax.jit`. A
delta of 0 contributes 0 to every sum, so padding and missing pairs are zeros.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, TypeVar, cast

import numpy as np
from jaxtyping import Float64

from inoc.heuristics.maths.tokenwise import DECAY_RATE, DECAY_STEPS, FILTER, simulate_decay

A = TypeVar("A")

FEATURES = (
    "mean_abs",
    "mean_signed",
    "mean_square",
    "filtered",
    "gradient",
    "filtered_gradient",
    "loss_decay",
)


class BlockSums(NamedTuple):
    """Sums over the tokens of one block; rows are (prefix type, prompt), prefix-type-major."""

    features: Float64[np.ndarray, "feature row"]
    gram: Float64[np.ndarray, "row row"]
    gram_scaled: Float64[np.ndarray, "prefix_type prompt prompt"]


def standardised(x: A, valid: A | None, sqrt: Callable[[A], A]) -> A:
    """Columns of `x[prefix_type, prompt, token]` centred over prompts and divided by their std (ddof=0).

    Constant columns become 0. Where `valid` (1 or 0, same shape) is given, zeros stay out of mean and std.
    """
    values, mask = cast(np.ndarray, x), cast(np.ndarray | None, valid)
    n = values.shape[-2] if mask is None else mask.sum(-2, keepdims=True)
    n = n + (n == 0)
    centred = values - values.sum(-2, keepdims=True) / n
    if mask is not None:
        centred = centred * mask
    variance = (centred * centred).sum(-2, keepdims=True) / n
    constant = variance == 0
    return cast(A, centred / cast(np.ndarray, sqrt(cast(A, variance + constant))))


def token_features(delta: A, exp: Callable[[A], A]) -> tuple[A, ...]:
    """The seven per-token terms of FEATURES, each of the shape of `delta`, in its dtype."""
    x = cast(np.ndarray, delta)  # or a JAX array: the operators used here mean the same
    size = abs(x)
    decay = cast(np.ndarray, exp(cast(A, -size)))
    step = 1 - decay
    strong = size > FILTER
    *lower, highest = decay_polynomial()
    total = highest * decay
    for coefficient in reversed(lower[1:]):
        total = (total + coefficient) * decay
    total = (total + lower[0]) * step
    return cast(tuple[A, ...], (size, x, x * x, x * strong, step, step * strong, total))


@cache
def decay_polynomial(degree: int = 6, tolerance: float = 1e-6) -> tuple[float, ...]:
    """Coefficients c with `simulate_decay` total = (1 - z) sum_j c_j z^j, z = exp(-abs(delta)), to 1e-6 of
    32.

    The total after 32 small steps is a smooth function of z that vanishes at z = 1; one polynomial replaces
    32 passes. The fit is verified against the recursion on a grid every time it is made.
    """

    def ratio(z: Float64[np.ndarray, " node"]) -> Float64[np.ndarray, " node"]:
        return simulate_decay(-np.log(z), DECAY_RATE, DECAY_STEPS)[0] / (1 - z)

    nodes = (1 + np.cos(np.pi * (np.arange(64) + 0.5) / 64)) / 2
    fit = np.polynomial.Polynomial.fit(nodes, ratio(nodes), degree, domain=[0, 1]).convert()
    grid = np.linspace(1e-6, 1 - 1e-6, 2001)
    error = float(np.abs(fit(grid) - ratio(grid)).max())
    if not error < tolerance:
        raise AssertionError(f"the polynomial for the loss decay is off by {error:.1e}")
    return tuple(float(c) for c in fit.coef)
