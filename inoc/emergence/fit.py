"""Fitting a process to one case after the other: hyper-parameters at their mode, then weighted draws of everything.

Cases are looped over, not batched: a batch of Newton loops runs as long as its slowest member and measured 100 times
slower on a CPU. The programs are compiled once for each size of the grid.

Importing this module asks XLA for one thread per operation, unless XLA_FLAGS is set or JAX runs already: threads slow
matrices of this size down, up to tenfold on a busy machine.
"""

# JAX ships partial types:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import os
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64
from threadpoolctl import threadpool_limits

from inoc.emergence.laplace import find_mode, log_joint
from inoc.emergence.processes import KERNEL_AND_MEAN, PRIORS, Cells, Flags, Settings, Theta, latent_of

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
Posterior = Literal["draws", "laplace"]
"""`draws`: hyper-parameters and latent rates are drawn and weighted by the exact posterior. `laplace`: the Gaussian
at the mode of the hyper-parameters."""
Vector = Float64[np.ndarray, " parameter"]
Square = Float64[np.ndarray, "parameter parameter"]
MEAN, SD = np.array([p.mean for p in PRIORS]), np.array([p.sd for p in PRIORS])
THETAS, DRAWS = 128, 16
"""Draws of hyper-parameters, and of the latent rates for each."""
DEGREES = 5.0
"""Of the Student distribution that hyper-parameters are drawn from."""
WIDER = 1.2
"""It is so much wider than the curvature at the mode says."""


class Fit(NamedTuple):
    """The posterior of one case's logit rate without a prefill.

    Attributes:
        theta: Hyper-parameters at the mode, in the order of `PRIORS`.
        logit: Draws of the logit rate at every checkpoint of the grid.
        weight: Of the draws; adds up to 1.
        evidence: Log evidence at the mode plus log prior, in nats, up to a constant.
    """

    theta: Vector
    logit: Float64[np.ndarray, "draw checkpoint"]
    weight: Float64[np.ndarray, " draw"]
    evidence: float

    @property
    def effective(self) -> float:
        """Effective number of draws."""
        return float(1 / (self.weight**2).sum())


def log_posterior(flags: Flags, units: Theta, cells: Cells) -> Float[Array, ""]:
    """Laplace evidence of the counts plus the log prior of the hyper-parameters, in nats.

    Args:
        flags: `Settings.flags`.
        units: Hyper-parameters in standard deviations of their prior from its mean.
        cells: One case.

    Returns:
        The value, up to a constant; differentiable in `units`.
    """
    return find_mode(latent_of(flags, MEAN + SD * units, cells)).evidence - 0.5 * units @ units


_value_and_gradient = jax.jit(jax.value_and_grad(log_posterior, argnums=1))


def _maximize(
    flags: Flags, cells: Cells, start: Vector, free: slice
) -> tuple[Vector, Float64[np.ndarray, "free free"], float]:
    """The mode over the free hyper-parameters, an estimate of their covariance, and the value there."""
    from scipy.optimize import minimize

    units = start.copy()

    def minus(part: Vector) -> tuple[float, Vector]:
        units[free] = part
        value, gradient = _value_and_gradient(flags, units, cells)
        if not np.isfinite(value):
            return 1e10, np.zeros(part.size)
        return -float(value), -np.asarray(gradient)[free]

    found = minimize(minus, start[free], jac=True, method="BFGS", options={"gtol": 1e-3, "maxiter": 50})
    units[free] = found.x
    return units, np.asarray(found.hess_inv), -float(found.fun)


def _mode(settings: Settings, cells: Cells) -> tuple[Vector, Square, float]:
    """The constrained process is fitted in two stages: kernel and mean without the constraints, then the rest."""
    everything, start = slice(None), np.zeros(len(PRIORS))
    if settings.process != "constrained":
        return _maximize(settings.flags, cells, start, everything)
    units, covariance, _ = _maximize(Settings("rate", settings.mean).flags, cells, start, everything)
    rest = slice(KERNEL_AND_MEAN, None)
    units, covariance[rest, rest], value = _maximize(settings.flags, cells, units, rest)
    covariance[:KERNEL_AND_MEAN, rest] = covariance[rest, :KERNEL_AND_MEAN] = 0
    return units, covariance, value


def _at(
    flags: Flags, cells: Cells, units_and_z: tuple[Theta, Float[Array, "draw latent"]]
) -> tuple[Float[Array, "draw checkpoint"], Float[Array, " draw"]]:
    """Logits without a prefill and log weights for given hyper-parameters and standard normal draws."""
    units, z = units_and_z
    latent = latent_of(flags, MEAN + SD * units, cells)
    mode = find_mode(latent)
    v = mode.v + jax.scipy.linalg.solve_triangular(mode.factor, z.T, lower=True, trans=1).T
    levels = len(cells.prefill)
    exact = jax.vmap(partial(log_joint, latent))(v) - jnp.sum(jnp.log(jnp.diag(mode.factor)))
    logit = latent.mean[::levels] + v @ latent.loading[::levels].T
    return logit, exact - 0.5 * units @ units + 0.5 * jnp.sum(z**2, axis=1)


@jax.jit
def _draws(
    flags: Flags,
    cells: Cells,
    units: Float[Array | np.ndarray, "theta parameter"],
    z: Float[Array | np.ndarray, "theta draw latent"],
) -> tuple[Float[Array, "theta draw checkpoint"], Float[Array, "theta draw"]]:
    """`_at` for many hyper-parameters, one after the other."""
    return jax.lax.map(partial(_at, flags, cells), (units, z))


def _student(p: int, seed: int) -> Float64[np.ndarray, "theta {p}"]:
    """Multivariate Student draws, evenly spread (scrambled Sobol points)."""
    from scipy.special import chdtri, ndtri
    from scipy.stats import qmc

    uniform = np.clip(qmc.Sobol(p + 1, rng=seed).random(THETAS), 1e-9, 1 - 1e-9)
    return np.asarray(ndtri(uniform[:, :p]) * np.sqrt(DEGREES / chdtri(DEGREES, uniform[:, p:])))


def fit(cells: Cells, settings: Settings | None = None, posterior: Posterior = "draws", seed: int = 0) -> Fit:
    """Fit a process to one case.

    Args:
        cells: The case on its grid; cells without trials are forecast.
        settings: Which process and mean.
        posterior: How its uncertainty is computed.
        seed: Of the draws.

    Returns:
        The posterior of the logit rate without a prefill.
    """
    settings, random = settings or Settings(), np.random.default_rng(seed)
    cells = cells._replace(offset=np.minimum(cells.offset, settings.offset_cap))
    p, checkpoints = len(PRIORS), len(cells.time)
    z = random.normal(size=(THETAS, DRAWS, checkpoints * len(cells.prefill)))
    t = _student(p, seed)
    with threadpool_limits(1, user_api="blas"), jax.enable_x64(True):  # BLAS threads cost three times the work here
        units, covariance, value = _mode(settings, cells)
        if posterior == "laplace":
            t[:] = 0
        root = np.linalg.cholesky(covariance + 1e-9 * np.eye(p)) * WIDER
        logit, log_weight = (np.asarray(part) for part in _draws(settings.flags, cells, units + t @ root.T, z))
    density = -0.5 * (DEGREES + p) * np.log1p((t**2).sum(axis=1) / DEGREES)
    log_weight = np.where(np.isfinite(log_weight), log_weight - density[:, None], -np.inf).reshape(-1)
    weight = np.ones_like(log_weight) if posterior == "laplace" else np.exp(log_weight - log_weight.max())
    return Fit(MEAN + SD * units, logit.reshape(-1, checkpoints), weight / weight.sum(), value)
