"""Counts with a latent Gaussian: the mode by Newton's method with step halving, and the Laplace evidence, in JAX.

The latent is f = mean + loading @ v with v standard normal (Rasmussen & Williams 2006, 3.4, whitened): its Hessian is
I + a positive matrix, also where constraints between cells make it non-diagonal. Everything works under jit and vmap.
"""

# JAX ships partial types:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Scalar = Float[Array, ""]
Vector = Float[Array, " latent"]
Matrix = Float[Array, "latent latent"]
STEPS = 40
"""Newton steps at most; under ten are usual."""
HALVINGS = 12
ENOUGH = 1e-10


class Latent(NamedTuple):
    """What is known of f before the counts, and the counts.

    Attributes:
        mean: Prior mean of the latent logit of every cell.
        loading: f = mean + loading @ v.
        successes, trials: Counts by cell; 0 trials where nothing was counted.
        contrast: Rows of soft constraints, contrast @ f ~ N(target, sd^2); sd infinite where there is no constraint.
        target, sd: Of the constraints.
    """

    mean: Float[Array, " cell"]
    loading: Float[Array, "cell latent"]
    successes: Float[Array, " cell"]
    trials: Float[Array, " cell"]
    contrast: Float[Array, "row cell"]
    target: Float[Array, " row"]
    sd: Float[Array, " row"]


class Mode(NamedTuple):
    """The mode of v, the lower Cholesky factor of minus the Hessian there, and the log evidence (nats, without the
    binomial coefficients)."""

    v: Vector
    factor: Matrix
    evidence: Scalar


def log_joint(latent: Latent, v: Vector) -> Scalar:
    """log p(counts, constraints, v) up to the binomial coefficients and (2 pi)^(-latent / 2)."""
    f = latent.mean + latent.loading @ v
    counts = jnp.sum(latent.successes * f - latent.trials * jax.nn.softplus(f))
    there = jnp.isfinite(latent.sd)
    sd = jnp.where(there, latent.sd, 1.0)
    z = (latent.contrast @ f - latent.target) / sd
    soft = jnp.sum(jnp.where(there, -0.5 * z**2 - jnp.log(sd) - 0.5 * jnp.log(2 * jnp.pi), 0.0))
    return counts + soft - 0.5 * v @ v


def _slope(latent: Latent, v: Vector) -> tuple[Vector, Matrix]:
    """Gradient and minus the Hessian of `log_joint`."""
    rate = jax.nn.sigmoid(latent.mean + latent.loading @ v)
    there = jnp.isfinite(latent.sd)
    precision = jnp.where(there, 1.0 / jnp.where(there, latent.sd, 1.0) ** 2, 0.0)
    rows = latent.contrast @ latent.loading
    miss = latent.contrast @ (latent.mean + latent.loading @ v) - latent.target
    gradient = latent.loading.T @ (latent.successes - latent.trials * rate) - rows.T @ (precision * miss) - v
    weight = latent.trials * rate * (1 - rate)
    hessian = jnp.eye(v.size) + latent.loading.T @ (weight[:, None] * latent.loading)
    return gradient, hessian + rows.T @ (precision[:, None] * rows)


def _newton_step(latent: Latent, v: Vector) -> Vector:
    gradient, hessian = _slope(latent, v)
    return jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(hessian), True), gradient)


def find_mode(latent: Latent) -> Mode:
    """The mode and the Laplace evidence, differentiable once in everything that `latent` holds.

    Args:
        latent: Prior and counts.

    Returns:
        The mode, with the factor of minus the Hessian and the log evidence.
    """
    fixed = jax.lax.stop_gradient(latent)
    sizes = 0.5 ** jnp.arange(HALVINGS + 1)

    def improve(state: tuple[Vector, Scalar, Scalar, Scalar]) -> tuple[Vector, Scalar, Scalar, Scalar]:
        v, value, _, count = state
        step = _newton_step(fixed, v)
        values = jax.vmap(partial(log_joint, fixed))(v + sizes[:, None] * step)
        best = jnp.argmax(values)
        better = values[best] > value
        return (
            jnp.where(better, v + sizes[best] * step, v),
            jnp.where(better, values[best], value),
            jnp.where(better, values[best] - value, 0.0),
            count + 1.0,
        )

    start = jnp.zeros(latent.loading.shape[1])
    state = (start, log_joint(fixed, start), jnp.asarray(jnp.inf), jnp.asarray(0.0))
    v, *_ = jax.lax.while_loop(lambda s: (s[2] > ENOUGH) & (s[3] < STEPS), improve, state)
    # At the mode a Newton step is 0 and does not depend on v, so its derivative is that of the mode.
    v = jax.lax.stop_gradient(v)
    v = v + _newton_step(latent, v)
    factor = jnp.linalg.cholesky(_slope(latent, v)[1])
    return Mode(v, factor, log_joint(latent, v) - jnp.sum(jnp.log(jnp.diag(factor))))
