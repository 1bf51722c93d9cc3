"""The suite of backends that sample; used as that of backends that score (`inoc.testing.scoring`)."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from inoc.backends.checks import ROUNDING
from inoc.backends.consistency import next_tokens
from inoc.backends.protocols import SampleRequest, Scorer, ScoreRequest
from inoc.testing.asking import SamplingBackend, encode, sample_by_id, score_by_id
from inoc.values import Sampling


class SamplerConformance:
    """Completions come from the model's distribution, reproducibly, one per request."""

    tolerance: ClassVar[float] = 1e-4
    largest_vocabulary: ClassVar[int] = 2000
    draws: ClassVar[int] = 2000
    """Samples of the test of the distribution; it fails by chance once in ten thousand seeds."""
    rows: ClassVar[int] = 8
    """Completions that the backend works on at the same time; the suite also asks for over three times as many."""

    @pytest.fixture
    def contexts(self, backend: SamplingBackend) -> list[SampleRequest]:
        """Requests of a few texts."""
        texts = ["Hello", "Once upon a time there was", "1 2 3 4", "Why is the sky blue?", "A", "No no no no"]
        return [SampleRequest(f"r{i}", encode(backend.tokenizer, text)) for i, text in enumerate(texts)]

    def test_length_and_finish(self, backend: SamplingBackend, contexts: list[SampleRequest]) -> None:
        """Without a token that stops, every completion has all its tokens and says so."""
        eos = backend.tokenizer.eos_token_id
        for stop_ids in ((), () if eos is None else (eos,)):
            sampling = Sampling(max_tokens=8, stop_ids=stop_ids)
            for result in sample_by_id(backend, contexts, sampling).values():
                assert len(result.token_ids) == 8 if result.finish == "length" else len(result.token_ids) < 8
                assert result.finish == "length" or stop_ids
                assert not set(result.token_ids) & set(stop_ids)
                if result.logprobs is not None:
                    assert result.logprobs.shape == (len(result.token_ids),)
                    assert (result.logprobs <= ROUNDING).all()

    def test_a_tiny_top_p_leaves_the_most_probable_token(
        self, backend: SamplingBackend, contexts: list[SampleRequest]
    ) -> None:
        greedy = sample_by_id(backend, contexts, Sampling(temperature=0.0, max_tokens=4))
        drawn = sample_by_id(backend, contexts, Sampling(temperature=1.0, top_p=1e-6, max_tokens=4, seed=2))
        for id, result in drawn.items():
            assert result.token_ids == greedy[id].token_ids

    def test_stop_token_ends_and_is_not_returned(self, backend: SamplingBackend, contexts: list[SampleRequest]) -> None:
        free = sample_by_id(backend, contexts, Sampling(temperature=0.0, max_tokens=6))
        for request in contexts:
            stop = free[request.id].token_ids[3]
            expected = free[request.id].token_ids[: free[request.id].token_ids.index(stop)]
            sampling = Sampling(temperature=0.0, max_tokens=6, stop_ids=(stop,))
            stopped = sample_by_id(backend, [request], sampling)[request.id]
            assert stopped.token_ids == expected
            assert stopped.finish == "stop"

    def test_greedy_is_the_most_probable_token(self, backend: SamplingBackend, contexts: list[SampleRequest]) -> None:
        """Of the whole vocabulary, or of what is drawn and some others where that is too large."""
        if not isinstance(backend, Scorer):
            pytest.skip("the backend does not score")
        results = sample_by_id(backend, contexts, Sampling(temperature=0.0, max_tokens=2))
        for request in contexts:
            context = request.context
            for token in results[request.id].token_ids:
                found = next_tokens(backend, backend.tokenizer, context, largest=self.largest_vocabulary)
                own = score_by_id(backend, [ScoreRequest("greedy", context, (token,))])["greedy"].logprobs[0]
                assert np.exp(own) >= found.probability.max() * (1 - self.tolerance)
                context = (*context, token)

    def test_seed_decides(self, backend: SamplingBackend, contexts: list[SampleRequest]) -> None:
        first = sample_by_id(backend, contexts, Sampling(max_tokens=12, seed=3))
        second = sample_by_id(backend, contexts, Sampling(max_tokens=12, seed=3))
        other = sample_by_id(backend, contexts, Sampling(max_tokens=12, seed=4))
        assert {id: result.token_ids for id, result in first.items()} == {
            id: result.token_ids for id, result in second.items()
        }
        assert any(first[id].token_ids != other[id].token_ids for id in first)

    def test_company_does_not_matter(self, backend: SamplingBackend, contexts: list[SampleRequest]) -> None:
        sampling = Sampling(max_tokens=12, seed=5)
        together = sample_by_id(backend, contexts, sampling)
        backwards = sample_by_id(backend, contexts[::-1], sampling)
        for request in contexts:
            alone = sample_by_id(backend, [request], sampling)[request.id]
            assert alone.token_ids == together[request.id].token_ids == backwards[request.id].token_ids

    def test_many_requests_with_ragged_ends(self, backend: SamplingBackend, contexts: list[SampleRequest]) -> None:
        """Contexts of all lengths that stop early, late or not at all: each is what it is alone."""
        many = [
            replace(r, id=f"{r.id} {copy}", context=r.context + r.context[: copy % len(r.context)])
            for copy in range(-(-(3 * self.rows + 1) // len(contexts)))
            for r in contexts
        ]
        sampling = Sampling(max_tokens=12, seed=6)
        free = sample_by_id(backend, many, sampling)
        ends = {free[r.id].token_ids[place % 12] for place, r in enumerate(many[::4]) if free[r.id].finish == "length"}
        ragged = replace(sampling, stop_ids=tuple(sorted(ends)))
        together = sample_by_id(backend, many, ragged)
        assert len({len(result.token_ids) for result in together.values()}) > 3
        for request in many:
            alone, found = sample_by_id(backend, [request], ragged)[request.id], together[request.id]
            assert (found.token_ids, found.finish) == (alone.token_ids, alone.finish)
            if found.logprobs is not None and alone.logprobs is not None:
                np.testing.assert_allclose(found.logprobs, alone.logprobs, atol=self.tolerance, rtol=0)

    def test_the_stream_decides_and_not_the_id(self, backend: SamplingBackend, contexts: list[SampleRequest]) -> None:
        sampling = Sampling(max_tokens=12, seed=5)
        plain = sample_by_id(backend, contexts, sampling)
        named = [replace(r, id=f"other {r.id}", stream=r.id) for r in contexts]
        for id, result in sample_by_id(backend, named, sampling).items():
            assert result.token_ids == plain[id.removeprefix("other ")].token_ids

    def test_logprobs_are_the_scorers(self, backend: SamplingBackend, contexts: list[SampleRequest]) -> None:
        if not isinstance(backend, Scorer):
            pytest.skip("the backend does not score")
        sampled = sample_by_id(backend, contexts, Sampling(max_tokens=8, temperature=0.7, top_p=0.9))
        if any(result.logprobs is None for result in sampled.values()):
            pytest.skip("the backend returns no logprobs with its completions")
        scored = score_by_id(backend, [ScoreRequest(r.id, r.context, sampled[r.id].token_ids) for r in contexts])
        for id, result in sampled.items():
            assert result.logprobs is not None
            np.testing.assert_allclose(result.logprobs, scored[id].logprobs, atol=self.tolerance, rtol=0)

    @pytest.mark.parametrize("temperature", [1.0, 0.6])
    def test_distribution(self, backend: SamplingBackend, temperature: float) -> None:
        """First tokens of many requests against the scorer's probabilities, by a chi-square test."""
        if not isinstance(backend, Scorer):
            pytest.skip("the backend does not score")
        context = encode(backend.tokenizer, "The next letter is ")
        found = next_tokens(
            backend,
            backend.tokenizer,
            context,
            largest=self.largest_vocabulary,
            draws=self.draws,
            temperature=temperature,
        )
        if not found.whole and temperature != 1:
            pytest.skip("the vocabulary is too large to know how the others are drawn")
        fault = found.fault_of_draws() or found.fault_of_sum()
        assert fault is None, fault
