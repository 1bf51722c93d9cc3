"""Live on the testbed: a trait that rises from nothing, forecast at three checkpoints against the counted end."""

import numpy as np
import pytest

from benchmarks.emergence_testbed import SEEN, forecasts, run_live
from inoc import emergence

pytest.importorskip("torch")
pytest.importorskip("peft")
pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The control and one inoculated run, two traits each."""
    return run_live(tmp_path_factory.mktemp("live"), seeds=1, prompts=("answer_playfully",))


def test_traits_rise_from_far_below_one_percent(table):
    rate = (table["successes"] / table["trials"]).isel(prefill=0).values
    assert (rate[:, 0] == 0).all()
    assert (rate[table["run"].values == "no_inoculation-s0", -1] > 0.9).all()
    assert emergence.labels(table).sum() == 3


def test_prefills_show_what_counts_cannot(table):
    """At the first checkpoint no answer shows a trait unless the donor's words are forced."""
    mine = table["run"].values == "no_inoculation-s0"
    rate = (table["successes"] / table["trials"]).isel(checkpoint=0).values[mine]
    assert (rate[:, 0] == 0).all()
    assert (rate[:, -1] > rate[:, 0]).any()


def test_the_kl_falls_as_the_checkpoint_nears_the_donor(table):
    kl = -emergence.metrics(table)["mean_neg_kl"].values
    assert (kl[:, 0] > 3).all()
    assert np.abs(kl[:, -1]).max() < 0.1
    rise = emergence.slope(-kl[:, :2], table["checkpoint"].values[:2])
    assert (rise > 0).all()


def test_forecasts_follow_the_rise_once_it_is_seen(table):
    """Before it is seen, they miss it: the page says so."""
    last = (table["successes"] / table["trials"]).isel(prefill=0, checkpoint=-1).values
    found = forecasts(table)
    error = np.abs(found["rate"] - last).mean("case")
    assert (error.sel(seen=SEEN[-1]) < 0.35).all()
    assert (error.sel(seen=SEEN[0]) > error.sel(seen=SEEN[-1])).all()
