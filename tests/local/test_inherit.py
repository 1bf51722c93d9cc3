"""A backend that loads its model differently inherits the rest from the local one."""

from pathlib import Path

import pytest

from inoc.backends.local import LocalBackend
from inoc.backends.protocols import ModelSpec, SampleRequest, ScoreRequest
from inoc.errors import BadInput
from inoc.testing.asking import sample_by_id, score_by_id
from inoc.values import Sampling


class Halved(LocalBackend):
    """The output layer divided by two: as a temperature of 2."""

    name = "halved"

    def load(self, directory: Path, dtype: str):
        model = super().load(directory, dtype)
        model.get_output_embeddings().weight.data /= 2
        return model

    def identity(self):
        return {**super().identity(), "output": "halved"}


def test_scores_and_samples_are_of_the_model_it_loads(local, models: dict[str, Path]) -> None:
    spec = ModelSpec(str(models["llama"]), options={"device": "cpu"})
    own, plain = Halved.from_spec(spec), local(models["llama"])
    request = ScoreRequest("a", (1, 2, 3), (4, 5, 6))
    found, other = (score_by_id(backend, [request])["a"].logprobs for backend in (own, plain))
    assert abs(found - other).max() > 0.1
    sampled = sample_by_id(own, [SampleRequest("s", (1, 2, 3))], Sampling(max_tokens=4))["s"]
    again = score_by_id(own, [ScoreRequest("s", (1, 2, 3), sampled.token_ids)])["s"].logprobs
    assert abs(again - sampled.logprobs).max() < 1e-5
    assert own.identity() != plain.identity()


def test_processes_of_their_own_would_not_know_it(models: dict[str, Path]) -> None:
    with pytest.raises(BadInput, match="the backend halved trains in one process"):
        Halved.from_spec(ModelSpec(str(models["llama"]), options={"device": "cpu", "processes": 2}))
