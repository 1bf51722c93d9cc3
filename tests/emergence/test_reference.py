"""The default posterior against NUTS (numpyro) on small cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inoc.emergence import fit as fitting
from inoc.emergence.fit import MEAN, SD, fit
from inoc.emergence.processes import PRIORS, Cells, Settings, latent_of


def nuts(case: Cells, settings: Settings) -> np.ndarray:
    """Draws of the last logit without a prefill."""
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import MCMC, NUTS

    def model():
        units = numpyro.sample("units", dist.Normal(0, 1).expand([len(PRIORS)]))
        v = numpyro.sample("v", dist.Normal(0, 1).expand([case.trials.size]))
        prior = latent_of(settings.flags, MEAN + SD * units, case)
        f = prior.mean + prior.loading @ v
        numpyro.deterministic("last", f[-len(case.prefill)])
        numpyro.factor("counts", jnp.sum(case.successes * f - case.trials * jax.nn.softplus(f)))
        there = jnp.isfinite(prior.sd)
        z = (prior.contrast @ f - prior.target) / jnp.where(there, prior.sd, 1.0)
        numpyro.factor("soft", jnp.sum(jnp.where(there, -0.5 * z**2 - jnp.log(jnp.where(there, prior.sd, 1.0)), 0.0)))

    chain = MCMC(NUTS(model, target_accept_prob=0.9), num_warmup=500, num_samples=2000, progress_bar=False)
    chain.run(jax.random.key(0))
    return np.asarray(chain.get_samples()["last"])


@pytest.mark.slow
@pytest.mark.parametrize("process", ["rate", "offset", "constrained"])
@pytest.mark.parametrize("successes", [[0, 2, 0, 1, 0, 9, 0, 0], [0, 3, 2, 9, 20, 28, 0, 0]])
def test_draws_agree_with_nuts(process, successes, monkeypatch):
    monkeypatch.setattr(fitting, "THETAS", 1024)  # less noise in the tails than by default
    trials = np.array([30, 30, 30, 30, 30, 30, 0, 0.0])
    offset = np.array([np.nan, 3.0, np.nan, 2.5, np.nan, 2.0, np.nan, np.nan])
    case = Cells(np.array([0, 0.3, 0.6, 1.0]), np.array([0.0, 1.0]), np.array(successes, float), trials, offset)
    settings = Settings(process, "linear")
    with jax.enable_x64(True):
        reference = nuts(case, settings)
        found = fit(case, settings)
    order = np.argsort(found.logit[:, -1])
    mine = np.interp([0.025, 0.25, 0.5, 0.75, 0.975], np.cumsum(found.weight[order]), found.logit[order, -1])
    theirs = np.quantile(reference, [0.025, 0.25, 0.5, 0.75, 0.975])
    assert np.abs(mine - theirs)[1:4].max() < 0.15 * reference.std() + 0.1, (mine, theirs)
    assert np.abs(mine - theirs)[[0, 4]].max() < 0.3 * reference.std(), (mine, theirs)
