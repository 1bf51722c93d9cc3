"""The three Gaussian processes on logit rates as one model: what settings and hyper-parameters say of the latent.

A grid of cells (checkpoint, prefill) includes those without counts; their posterior is the forecast. Time is
log checkpoint / log of the last checkpoint of the grid, prefill is level / highest level, so both end at 1.
A hyper-parameter that a process does not use keeps its prior. So one compiled program serves every process and mean.
"""

# JAX ships partial types:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from inoc.emergence.laplace import Latent

Process = Literal["rate", "offset", "constrained"]
"""`rate`: over checkpoint and prefill. `offset`: over checkpoints, plus alpha times the offset of a prefill.
`constrained`: `rate` with soft constraints from the offsets."""
Mean = Literal["constant", "linear", "tanh"]
"""The prior mean over checkpoints: level; level + rise t; level + rise tanh(bend t) / tanh(bend)."""
Theta = Float[Array | np.ndarray, " parameter"]
Flags = Float[Array | np.ndarray, " 6"]
JITTER = 1e-8


class Prior(NamedTuple):
    """A normal prior of one hyper-parameter."""

    name: str
    mean: float
    sd: float


PRIORS = (
    Prior("log_sd", 1.3, 0.5),
    Prior("log_checkpoint_scale", 0.0, 0.5),
    Prior("log_prefill_scale", -0.5, 0.7),
    Prior("level", -4.0, 3.0),
    Prior("rise", 2.0, 3.0),
    Prior("log_bend", 0.5, 0.7),
    Prior("alpha", 1.0, 0.5),
    Prior("log_slack", 0.0, 1.0),
)
"""Logits, in time and prefill scaled to 1. Weak: rates from one in a million to one in two are within 2 sd."""
KERNEL_AND_MEAN = 6
"""The first six are fitted before alpha and slack where the process is constrained."""


@dataclass(frozen=True)
class Settings:
    """Which process, and how far offsets are believed.

    Attributes:
        process: One of the three.
        mean: Its mean over checkpoints.
        slack_slope: Growth of a constraint's standard deviation with its offset:
            sd^2 = slack^2 + (offset * slack_slope)^2.
        offset_cap: Offsets above it (nats) count as this.
    """

    process: Process = "rate"
    mean: Mean = "linear"
    slack_slope: float = 0.0
    offset_cap: float = float("inf")

    @property
    def flags(self) -> Float64[np.ndarray, " 6"]:
        """The settings as numbers: over prefills, offset in the mean, constraints, rising, tanh, slope of the slack."""
        process, mean = self.process, self.mean
        told = (process != "offset", process == "offset", process == "constrained", mean != "constant", mean == "tanh")
        return np.array([*told, self.slack_slope], np.float64)


class Cells(NamedTuple):
    """One case on a grid of checkpoints x prefills, flattened checkpoint by checkpoint; the first prefill is 0.

    Attributes:
        time: log checkpoint, scaled, by checkpoint.
        prefill: Level, scaled, by prefill.
        successes, trials: Counts by cell.
        offset: Nats by which the prefill of a cell moves its log rate; NaN where not measured.
    """

    time: Float[Array | np.ndarray, " checkpoint"]
    prefill: Float[Array | np.ndarray, " prefill"]
    successes: Float[Array | np.ndarray, " cell"]
    trials: Float[Array | np.ndarray, " cell"]
    offset: Float[Array | np.ndarray, " cell"]


def matern52(square: Float[Array, "row column"]) -> Float[Array, "row column"]:
    """Matern 5/2 correlation of a squared scaled distance.

    Args:
        square: Squared distances.

    Returns:
        Correlations; their gradient is finite at distance 0.
    """
    distance = jnp.sqrt(5.0 * jnp.where(square > 0, square, 1.0))
    distance = jnp.where(square > 0, distance, 0.0)
    return (1 + distance + 5.0 / 3.0 * square) * jnp.exp(-distance)


def latent_of(flags: Flags, theta: Theta, cells: Cells) -> Latent:
    """The latent Gaussian that hyper-parameters give to the cells of a case.

    Args:
        flags: `Settings.flags`.
        theta: Hyper-parameters in the order of `PRIORS`.
        cells: The case; offsets are capped.

    Returns:
        Mean, loading, counts and constraints.
    """
    over_prefills, shifted, constrained, rising, bent, slope = flags
    log_sd, log_time_scale, log_prefill_scale, level, rise, log_bend, alpha, log_slack = theta
    levels, n = len(cells.prefill), len(cells.prefill) * len(cells.time)
    time, prefill = jnp.repeat(jnp.asarray(cells.time), levels), jnp.tile(jnp.asarray(cells.prefill), len(cells.time))
    known = jnp.isfinite(cells.offset) & (prefill > 0)
    offset = jnp.where(known, cells.offset, 0.0)
    square = ((time[:, None] - time) / jnp.exp(log_time_scale)) ** 2
    square += over_prefills * ((prefill[:, None] - prefill) / jnp.exp(log_prefill_scale)) ** 2
    root = jnp.exp(log_sd) * jnp.linalg.cholesky(matern52(square) + JITTER * jnp.eye(n))
    bend = jnp.exp(log_bend)
    shape = jnp.where(bent > 0, jnp.tanh(bend * time) / jnp.tanh(bend), time)
    mean = level + rising * rise * shape + shifted * alpha * offset
    used = (shifted == 0) | known | (prefill == 0)
    slack = jnp.sqrt(jnp.exp(2 * log_slack) + (offset * slope) ** 2)
    first = (jnp.arange(n) // levels) * levels
    return Latent(
        mean,
        root,
        jnp.where(used, cells.successes, 0.0),
        jnp.where(used, cells.trials, 0.0),
        jnp.eye(n)[first] - jnp.eye(n),
        -alpha * offset,
        jnp.where(known & (constrained > 0), slack, jnp.inf),
    )
