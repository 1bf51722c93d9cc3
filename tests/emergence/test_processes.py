"""The processes against scikit-learn, numerical integration and their own gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate
from scipy.special import expit
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from inoc import emergence
from inoc.emergence.fit import MEAN, SD, fit, log_posterior
from inoc.emergence.laplace import Latent, find_mode, log_joint
from inoc.emergence.processes import PRIORS, Cells, Settings, latent_of, matern52

MODE = jax.jit(find_mode)
BOTH = jax.jit(jax.value_and_grad(log_posterior, argnums=1))  # one compilation for all settings
SETTINGS = [Settings(process, mean) for process in ("rate", "offset", "constrained") for mean in ("constant", "tanh")]
FAST = (Settings("rate", "tanh"), Settings("constrained", "constant"))


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def latent(mean, root, y, n) -> Latent:
    size = len(y)
    return Latent(
        jnp.asarray(mean, float),
        jnp.asarray(root, float),
        jnp.asarray(y, float),
        jnp.asarray(n, float),
        jnp.zeros((size, size)),
        jnp.zeros(size),
        jnp.full(size, jnp.inf),
    )


def cells(checkpoints: int = 3, seen: int = 2) -> Cells:
    random = np.random.default_rng(0)
    shape = checkpoints, 3
    trials = np.full(shape, 30.0)
    trials[seen:] = 0
    rate = expit(-3 + 2 * np.arange(checkpoints)[:, None] / checkpoints + np.arange(3))
    offset = np.tile([np.nan, 1.0, 2.0], (checkpoints, 1))
    offset[seen:] = np.nan
    return Cells(
        np.linspace(0, 1, checkpoints),
        np.array([0.0, 0.5, 1.0]),
        (random.binomial(30, rate) * (trials > 0)).astype(float).reshape(-1),
        trials.reshape(-1),
        offset.reshape(-1),
    )


def test_binary_limit_is_scikit_learns_classifier():
    random = np.random.default_rng(1)
    x = random.uniform(0, 1, (25, 2))
    y = (random.random(25) < expit(4 * x[:, 0] - 2)).astype(float)
    kernel = ConstantKernel(2.5) * Matern([0.4, 0.7], nu=2.5)
    there = GaussianProcessClassifier(kernel, optimizer=None).fit(x, y)
    scaled = x / [0.4, 0.7]
    square = ((scaled[:, None] - scaled) ** 2).sum(-1)
    covariance = 2.5 * np.asarray(matern52(jnp.asarray(square)))
    assert covariance == pytest.approx(kernel(x))
    found = MODE(latent(np.zeros(25), np.linalg.cholesky(covariance + 1e-12 * np.eye(25)), y, np.ones(25)))
    assert float(found.evidence) == pytest.approx(there.log_marginal_likelihood_value_, abs=1e-6)


def log_integral(mean, sd, y, n):
    """The exact log evidence of one latent."""

    def density(f):
        return np.exp(y * f - n * np.logaddexp(0, f) - 0.5 * ((f - mean) / sd) ** 2) / (sd * np.sqrt(2 * np.pi))

    return np.log(integrate.quad(density, mean - 9 * sd, mean + 9 * sd, epsabs=0, limit=400)[0])


@pytest.mark.parametrize(("y", "n", "tolerance"), [(0, 90, 0.2), (5, 90, 0.02), (45, 90, 0.005)])
def test_one_point_by_numerical_integration(y, n, tolerance):
    found = MODE(latent([-2.0], [[2.0]], [y], [n]))
    assert float(found.evidence) == pytest.approx(log_integral(-2, 2, y, n), abs=tolerance)


def test_two_points_by_numerical_integration():
    covariance = np.array([[4.0, 3.0], [3.0, 4.0]])
    y, n, mean = np.array([4, 20]), np.array([30, 30]), np.array([-1.0, -1.0])
    precision, log_norm = np.linalg.inv(covariance), 0.5 * np.log(np.linalg.det(covariance)) + np.log(2 * np.pi)

    def density(b, a):
        f = np.array([a, b])
        return np.exp(y @ f - n @ np.logaddexp(0, f) - 0.5 * (f - mean) @ precision @ (f - mean) - log_norm + 35)

    exact = np.log(integrate.dblquad(density, -6, 3, -4, 5)[0]) - 35
    found = MODE(latent(mean, np.linalg.cholesky(covariance), y, n))
    assert float(found.evidence) == pytest.approx(exact, abs=0.02)


def test_constraints_are_gaussian_observations():
    """Without counts everything is Gaussian, so that evidence and mode are known."""
    root, contrast = np.array([[1.5, 0.0], [0.5, 1.0]]), np.array([[1.0, -1.0]])
    prior = Latent(*(jnp.asarray(a) for a in ([0.0, 1.0], root, [0.0, 0.0], [0.0, 0.0], contrast, [-2.0], [0.7])))
    found = MODE(prior)
    variance = (contrast @ root @ root.T @ contrast.T)[0, 0] + 0.7**2
    miss = -2.0 - (0.0 - 1.0)
    assert float(found.evidence) == pytest.approx(-0.5 * miss**2 / variance - 0.5 * np.log(2 * np.pi * variance))
    f = np.array([0.0, 1.0]) + root @ np.asarray(found.v)
    assert f[0] - f[1] == pytest.approx(-1 + (variance - 0.49) / variance * miss)


# the others repeat these two: every kernel, mean and constraint is in one of them
@pytest.mark.parametrize(
    "settings",
    [pytest.param(s, marks=[] if s in FAST else pytest.mark.slow, id=f"{s.process}-{s.mean}") for s in SETTINGS],
)
def test_gradient_is_that_of_finite_differences(settings):
    units = np.linspace(-0.4, 0.5, len(PRIORS))
    gradient = np.asarray(BOTH(settings.flags, units, cells())[1])
    for k in range(units.size):
        step = np.eye(units.size)[k] * 1e-5
        above, below = (float(BOTH(settings.flags, at, cells())[0]) for at in (units + step, units - step))
        assert gradient[k] == pytest.approx((above - below) / 2e-5, abs=2e-5)


def test_newton_finds_the_mode_from_a_start_where_whole_steps_diverge():
    extreme = latent([-40.0, 30.0], np.eye(2) * 30, [90, 0], [90, 90])
    found = MODE(extreme)
    assert np.abs(np.asarray(jax.grad(lambda v: log_joint(extreme, v))(found.v))).max() < 1e-6


@pytest.mark.slow  # compiles a process of its own
def test_unused_hyper_parameters_keep_their_prior():
    found = fit(cells(), Settings("rate", "constant"))
    unused = [k for k, p in enumerate(PRIORS) if p.name in ("rise", "log_bend", "alpha", "log_slack")]
    assert found.theta[unused] == pytest.approx(MEAN[unused])
    assert SD.min() > 0
    assert found.effective > 100


def exact_quantiles(case: Cells, settings: Settings) -> np.ndarray:
    """Quantiles of the last logit without a prefill by plain Monte Carlo: the prior, weighted by the likelihood."""
    random, n = np.random.default_rng(3), 40_000

    def draw(theta, v):
        prior = latent_of(settings.flags, theta, case)
        return prior.mean + prior.loading @ v

    f = np.asarray(
        jax.jit(jax.vmap(draw))(MEAN + SD * random.normal(size=(n, len(PRIORS))), random.normal(size=(n, 9)))
    )
    log_weight = f @ case.successes - np.logaddexp(0, f) @ case.trials
    order, weight = np.argsort(f[:, -3]), np.exp(log_weight - log_weight.max())
    return np.interp([0.1, 0.5, 0.9], np.cumsum(weight[order]) / weight.sum(), f[order, -3])


def test_draws_agree_with_plain_monte_carlo():
    """Few answers, so that the prior is a usable proposal."""
    case = cells()._replace(
        successes=np.array([0, 1, 2, 1, 1, 3, 0, 0, 0.0]), trials=np.array([4, 4, 4, 4, 4, 4, 0, 0, 0.0])
    )
    settings = Settings("rate", "linear")
    found = fit(case, settings)
    order = np.argsort(found.logit[:, -1])
    mine = np.interp([0.1, 0.5, 0.9], np.cumsum(found.weight[order]), found.logit[order, -1])
    assert mine == pytest.approx(exact_quantiles(case, settings), abs=0.35)


def test_forecast_sorts_clear_cases_and_says_how_sure():
    table = emergence.simulate(0).isel(case=[5, 15], prefill=[0, 2, 5])
    found = emergence.forecast(table, seen=5)
    assert float(found["rate"][0]) > 0.1 > float(found["rate"][1])
    assert (found["lower"] < found["rate"]).all()
    assert (found["rate"] < found["upper"]).all()
    assert float(found["probability"][0]) > 0.5 > float(found["probability"][1])
