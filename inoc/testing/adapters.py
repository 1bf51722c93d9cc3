"""The suite of backends that score with trained weights. Used as that of those that score (`inoc.testing.scoring`)."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from inoc.backends.consistency import next_tokens
from inoc.backends.protocols import AdapterSettings, Checkpoint, Sampler, SampleRequest, ScoreRequest, Trainer
from inoc.errors import InocError
from inoc.testing.asking import ScoringBackend, encode, sample_by_id, score_by_id
from inoc.testing.training import TEXTS, Trained, small_job
from inoc.values import Sampling

Values = dict[str, np.ndarray]
"""Log-probabilities by request id."""


def ask(backend: ScoringBackend, requests: list[ScoreRequest], checkpoint: Checkpoint | None) -> Values:
    """The values of all requests under one checkpoint."""
    found = score_by_id(backend, [replace(request, checkpoint=checkpoint) for request in requests])
    return {id: result.logprobs for id, result in found.items()}


def distance(one: Values, two: Values) -> float:
    """The largest difference, in nats."""
    return max(float(np.abs(one[id] - two[id]).max()) for id in one)


class AdapterConformance:
    """Every request is scored with the weights it names, whatever was loaded before or is asked with it."""

    tolerance: ClassVar[float] = 1e-4
    """Largest difference, in nats, between two requests for the same logprob."""
    adapter: ClassVar[AdapterSettings] = AdapterSettings(rank=4, alpha=8.0)
    """Settings that the backend can train."""

    @pytest.fixture(scope="class")
    @classmethod
    def checkpoints(
        cls, backend: ScoringBackend, tmp_path_factory: pytest.TempPathFactory
    ) -> tuple[Checkpoint, Checkpoint]:
        """Two that differ clearly from the base model and from each other; by default trained here."""
        if not isinstance(backend, Trainer):
            pytest.skip("the backend does not train: give the suite two checkpoints")
        folder = tmp_path_factory.mktemp("adapters")
        job = small_job(backend.tokenizer, folder / "one", cls.adapter)
        job = replace(job, checkpoint_steps=(), learning_rate=0.05, warmup=0)
        plain = tuple(replace(e, weights=tuple(float(w > 0) for w in e.weights)) for e in job.examples)
        job = replace(job, examples=plain)
        other = tuple(tuple(8 - i for i in batch) for batch in job.batches[:3])
        second = replace(job, directory=str(folder / "two"), id="conformance-two", seed=6, batches=other)
        return Trained(backend, job).last, Trained(backend, second).last

    @pytest.fixture(scope="class")
    @classmethod
    def requests(cls, backend: ScoringBackend) -> list[ScoreRequest]:
        """Requests of the base model."""
        pairs = zip(TEXTS[::2], TEXTS[1::2], strict=True)
        return [
            ScoreRequest(context, encode(backend.tokenizer, context), encode(backend.tokenizer, answer))
            for context, answer in pairs
        ]

    @pytest.fixture(scope="class")
    @classmethod
    def alone(
        cls, backend: ScoringBackend, checkpoints: tuple[Checkpoint, Checkpoint], requests: list[ScoreRequest]
    ) -> list[Values]:
        """The values of base model, first and second checkpoint, each in a call of its own, the base model first."""
        return [ask(backend, requests, checkpoint) for checkpoint in (None, *checkpoints)]

    def test_a_checkpoint_is_not_ignored(self, alone: list[Values]) -> None:
        for one, two in ((0, 1), (0, 2), (1, 2)):
            assert distance(alone[one], alone[two]) > 10 * self.tolerance

    def test_a_checkpoint_does_not_stick(
        self,
        backend: ScoringBackend,
        checkpoints: tuple[Checkpoint, Checkpoint],
        requests: list[ScoreRequest],
        alone: list[Values],
    ) -> None:
        """One after the other, in another order, back to the base model in between."""
        weights = (None, *checkpoints)
        for k in (2, 0, 1, 2, 1, 0):
            assert distance(ask(backend, requests, weights[k]), alone[k]) <= self.tolerance

    def test_checkpoints_in_one_call(
        self,
        backend: ScoringBackend,
        checkpoints: tuple[Checkpoint, Checkpoint],
        requests: list[ScoreRequest],
        alone: list[Values],
    ) -> None:
        weights = (None, *checkpoints)
        mixed = [replace(r, id=f"{k} {r.id}", checkpoint=weights[k]) for r in requests for k in (1, 0, 2)]
        found = score_by_id(backend, mixed)
        for k, values in enumerate(alone):
            own = {id: found[f"{k} {id}"].logprobs for id in values}
            assert distance(own, values) <= self.tolerance

    def test_step_0_is_the_base_model(
        self,
        backend: ScoringBackend,
        checkpoints: tuple[Checkpoint, Checkpoint],
        requests: list[ScoreRequest],
        alone: list[Values],
    ) -> None:
        base = Checkpoint(0, None, checkpoints[0].adapter)
        assert distance(ask(backend, requests, base), alone[0]) <= self.tolerance

    def test_samples_are_of_the_checkpoint(
        self, backend: ScoringBackend, checkpoints: tuple[Checkpoint, Checkpoint], requests: list[ScoreRequest]
    ) -> None:
        """Greedy tokens of base model and checkpoints, asked in one call, are the most probable of each."""
        if not isinstance(backend, Sampler):
            pytest.skip("the backend does not sample")
        weights = (None, *checkpoints)
        asked = [SampleRequest(f"{k} {r.id}", r.context, weights[k]) for r in requests for k in (1, 0, 2)]
        found = sample_by_id(backend, asked, Sampling(temperature=0.0, max_tokens=1))
        for request in asked[:6]:
            (token,) = found[request.id].token_ids
            likely = next_tokens(backend, backend.tokenizer, request.context, draws=0, checkpoint=request.checkpoint)
            own = score_by_id(backend, [ScoreRequest("own", request.context, (token,), request.checkpoint)])
            assert np.exp(own["own"].logprobs[0]) >= likely.probability.max() * (1 - self.tolerance)

    def test_lost_weights_are_an_error(
        self, backend: ScoringBackend, checkpoints: tuple[Checkpoint, Checkpoint], requests: list[ScoreRequest]
    ) -> None:
        """Never the base model's values instead."""
        lost = replace(checkpoints[0], location=f"{checkpoints[0].location}-lost")
        with pytest.raises(InocError):
            ask(backend, requests, lost)
