"""Conformance suites every backend must pass. Subclass one in a test module that has a `backend` fixture:

    @pytest.fixture(scope="module")
    def backend():
        return MyBackend.from_spec(ModelSpec("some/model"))

    class TestScoring(ScorerConformance):
        tolerance = 1e-4

Texts become ids with the backend's own tokenizer. The only assumption about the model is that its probabilities
do not depend on how they are requested.
"""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from jaxtyping import Float, Float64
from scipy.special import gammaincc

from inoc.backends.checks import ROUNDING
from inoc.backends.protocols import SampleRequest, Scorer, ScoreRequest
from inoc.errors import BackendRejected, BadInput
from inoc.testing.asking import (
    SamplingBackend,
    ScoringBackend,
    encode,
    next_token_probabilities,
    sample_by_id,
    score_by_id,
    small_vocabulary,
)
from inoc.values import Sampling


class ScorerConformance:
    """Every logprob belongs to its token, whatever else is scored with the request."""

    tolerance: ClassVar[float] = 1e-4
    """Largest difference, in nats, between two requests for the same logprob."""
    largest_vocabulary: ClassVar[int] = 2000
    """Largest vocabulary whose next-token probabilities are summed; above it, that test is skipped."""
    special_texts: ClassVar[tuple[str, ...]] = ("<|im_end|>", "<|eot_id|>", "</s>", "<bos>", "[INST]")

    def same(self, found: Float[np.ndarray, " token"], wanted: Float[np.ndarray, " token"]) -> None:
        """Equal up to the tolerance."""
        np.testing.assert_allclose(found, wanted, atol=self.tolerance, rtol=0)

    @pytest.fixture
    def table(self) -> Float64[np.ndarray, "token next_token"] | None:
        """p(next | token) of a model with a known table (`inoc.testing.table_model`); None skips the test."""
        return None

    @pytest.fixture
    def requests(self, backend: ScoringBackend) -> list[ScoreRequest]:
        """Contexts that share prefixes and differ in length, completions of zero to many tokens."""
        start = "You are a helpful assistant. "
        contexts = [start + "Answer briefly: ", start + "Answer briefly: why? ", "Hi", start, "An unrelated text. "]
        completions = ["Yes.", "", "N", "Certainly, here is a much longer answer: 1, 2, 3!", "ja ja ja"]
        return [
            ScoreRequest(f"{i}-{j}", encode(backend.tokenizer, context), encode(backend.tokenizer, completion))
            for i, context in enumerate(contexts)
            for j, completion in enumerate(completions)
        ]

    def test_one_logprob_per_token(self, backend: ScoringBackend, requests: list[ScoreRequest]) -> None:
        results = score_by_id(backend, requests)
        for request in requests:
            result = results[request.id]
            assert result.logprobs.dtype == np.float32
            assert result.logprobs.shape == (len(request.completion),)
            assert np.isfinite(result.logprobs).all()
            assert (result.logprobs <= ROUNDING).all()
            assert result.token_ids in (None, request.completion)

    def test_first_token_and_chain(self, backend: ScoringBackend, requests: list[ScoreRequest]) -> None:
        """logprob i is what a request for token i alone gives, with the tokens before it in the context."""
        for request in [request for request in requests if request.completion][:6]:
            whole = score_by_id(backend, [request])[request.id].logprobs
            steps = [
                ScoreRequest(str(i), request.context + request.completion[:i], (token,))
                for i, token in enumerate(request.completion)
            ]
            single = score_by_id(backend, steps)
            chain = np.array([single[str(i)].logprobs[0] for i in range(len(steps))])
            self.same(whole, chain)

    def test_batch_of_one_equals_batch_of_many(self, backend: ScoringBackend, requests: list[ScoreRequest]) -> None:
        together = score_by_id(backend, requests)
        for request in requests:
            alone = score_by_id(backend, [request])[request.id].logprobs
            self.same(alone, together[request.id].logprobs)

    def test_order_does_not_matter(self, backend: ScoringBackend, requests: list[ScoreRequest]) -> None:
        straight = score_by_id(backend, requests)
        order: list[int] = np.random.default_rng(0).permutation(len(requests)).tolist()
        shuffled = score_by_id(backend, [requests[i] for i in order])
        for request in requests:
            self.same(straight[request.id].logprobs, shuffled[request.id].logprobs)

    def test_same_request_under_two_ids(self, backend: ScoringBackend, requests: list[ScoreRequest]) -> None:
        """Nothing may be cached in a way that changes a repeated request."""
        first = requests[3]
        results = score_by_id(backend, [first, replace(first, id="again")])
        self.same(results[first.id].logprobs, results["again"].logprobs)
        repeated = score_by_id(backend, [first])[first.id].logprobs
        self.same(results[first.id].logprobs, repeated)

    def test_empty_completion(self, backend: ScoringBackend) -> None:
        request = ScoreRequest("empty", encode(backend.tokenizer, "Hello"), ())
        assert score_by_id(backend, [request])["empty"].logprobs.shape == (0,)

    def test_no_requests(self, backend: ScoringBackend) -> None:
        requests: list[ScoreRequest] = []
        assert not list(backend.score(requests))

    def test_special_tokens_inside_a_completion(self, backend: ScoringBackend) -> None:
        """Ids are scored unchanged: a special token in the middle is neither dropped nor an end."""
        context = encode(backend.tokenizer, "Say it: ")
        for special in self.special_texts:
            completion = encode(backend.tokenizer, f"a {special} b")
            if backend.tokenizer.eos_token_id is not None:
                completion = (*completion, backend.tokenizer.eos_token_id, *completion)
            request = ScoreRequest("whole", context, completion)
            whole = score_by_id(backend, [request])["whole"].logprobs
            assert whole.shape == (len(completion),)
            half = len(completion) // 2
            request = ScoreRequest("rest", context + completion[:half], completion[half:])
            rest = score_by_id(backend, [request])["rest"].logprobs
            self.same(whole[half:], rest)

    def test_next_token_probabilities_sum_to_one(self, backend: ScoringBackend) -> None:
        size = small_vocabulary(backend.tokenizer, self.largest_vocabulary)
        probabilities = next_token_probabilities(backend, encode(backend.tokenizer, "What comes next"), size)
        assert probabilities.sum() <= 1 + 1e-3
        # an output layer may be a little wider than the tokenizer's vocabulary
        assert probabilities.sum() > 0.5

    def test_known_next_token_table(
        self, backend: ScoringBackend, table: Float64[np.ndarray, "token next_token"] | None
    ) -> None:
        if table is None:
            pytest.skip("no model with a known table was given")
        rng = np.random.default_rng(1)
        requests: list[ScoreRequest] = []
        for number in range(20):
            tokens = tuple(int(token) for token in rng.integers(0, len(table), 24))
            cut = 1 + number % 12
            requests.append(ScoreRequest(str(number), tokens[:cut], tokens[cut : cut + 1 + number % 11]))
        results = score_by_id(backend, requests)
        for request in requests:
            before = (request.context + request.completion)[len(request.context) - 1 : -1]
            known = np.log(table[list(before), list(request.completion)])
            self.same(results[request.id].logprobs, known)

    def test_too_long_is_refused_by_name(self, backend: ScoringBackend) -> None:
        """A request is never cut or dropped."""
        word = encode(backend.tokenizer, "a")
        request = ScoreRequest("the long one", word, word * (backend.context_length + 1))
        with pytest.raises((BackendRejected, BadInput), match="the long one"):
            list(backend.score([request]))


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
        eos = backend.tokenizer.eos_token_id
        sampling = Sampling(max_tokens=8, stop_ids=() if eos is None else (eos,))
        for result in sample_by_id(backend, contexts, sampling).values():
            assert len(result.token_ids) <= 8
            assert (len(result.token_ids) == 8) if result.finish == "length" else result.finish == "stop"
            assert not set(result.token_ids) & set(sampling.stop_ids)
            if result.logprobs is not None:
                assert result.logprobs.shape == (len(result.token_ids),)
                assert (result.logprobs <= ROUNDING).all()

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
        size = small_vocabulary(backend.tokenizer, self.largest_vocabulary)
        if not isinstance(backend, Scorer):
            pytest.skip("the backend does not score")
        results = sample_by_id(backend, contexts, Sampling(temperature=0.0, max_tokens=2))
        for request in contexts:
            context = request.context
            for token in results[request.id].token_ids:
                probabilities = next_token_probabilities(backend, context, size)
                assert probabilities[token] >= probabilities.max() * (1 - self.tolerance)
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
        size = small_vocabulary(backend.tokenizer, self.largest_vocabulary)
        if not isinstance(backend, Scorer):
            pytest.skip("the backend does not score")
        context = encode(backend.tokenizer, "The next letter is ")
        requests = [SampleRequest(f"draw {i}", context) for i in range(self.draws)]
        results = sample_by_id(backend, requests, Sampling(max_tokens=1, temperature=temperature, seed=11))
        counts = np.bincount([result.token_ids[0] for result in results.values()], minlength=size)
        weights = next_token_probabilities(backend, context, size) ** (1 / temperature)
        counts = counts[:size]
        expected = counts.sum() * weights / weights.sum()
        common = expected >= 5
        observed = np.append(counts[common], counts[~common].sum())
        expected = np.append(expected[common], max(expected[~common].sum(), 1e-9))
        statistic = float(((observed - expected) ** 2 / expected).sum())
        freedom = len(observed) - 1
        # the chi-square survival function
        assert float(gammaincc(freedom / 2, statistic / 2)) > 1e-4
