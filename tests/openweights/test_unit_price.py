"""The dry run of `inoc score` with a backend that says its price: nothing is scored, tokens are as requested."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from inoc.backends.pricing import Price, Work
from inoc.backends.protocols import ModelSpec, ScoreRequest, TokenLogprobs
from inoc.cli.forecast import forecast_text
from inoc.experiment import load_experiment
from inoc.plan import Study, plan_scores
from inoc.stages.score import forecast_scores
from inoc.testbed import experiment_path

pytest.importorskip("torch")

from inoc.backends.local import LocalBackend


class Rented(LocalBackend):
    """Would compute elsewhere."""

    def price(self, tokens: int, work: Work = "score", jobs: int | None = None) -> Price:
        return Price(jobs or 2, "1x A100", tokens, 100.0, "made up", tokens / 360_000, tokens / 1000)

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        raise AssertionError("a dry run scores nothing")


def test_price_instead_of_a_measurement(tmp_path: Path):
    experiment = load_experiment(experiment_path())
    backend = Rented.from_spec(ModelSpec("testbed"))
    study = Study(experiment, backend, tmp_path / "run.zarr")
    found = forecast_scores(study, sets=("train",))
    plan = plan_scores(study, sets=("train",))
    exact = sum(len(r.context) + len(r.completion) for unit in plan.units for r in plan.requests(unit).requests)
    assert found.price is not None
    # prefixes are counted by their own length: where they join the text a token may be more or less
    assert found.price.tokens == pytest.approx(exact, rel=0.03)
    assert not (tmp_path / "run.zarr").exists()
    text = forecast_text(found)
    assert f"with contexts about {found.price.tokens:,} in 2 jobs on 1x A100" in text
    assert f"about ${found.price.tokens / 1000:,.2f}" in text
    assert "(made up)" in text
    assert found.to_json()["price"]["jobs"] == 2
