"""The suite of backends that score. Subclass it in a test module that has a `backend` fixture:

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

from inoc.backends.checks import ROUNDING
from inoc.backends.consistency import faults_of_context, next_tokens
from inoc.backends.protocols import ScoreRequest
from inoc.errors import BackendRejected, BadInput
from inoc.testing.asking import ScoringBackend, encode, score_by_id


class ScorerConformance:
    """Every logprob belongs to its token, whatever else is scored with the request."""

    tolerance: ClassVar[float] = 1e-4
    """Largest difference, in nats, between two requests for the same logprob."""
    largest_vocabulary: ClassVar[int] = 2000
    """Largest vocabulary of which every token is scored; above it, those that are drawn and some others."""
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
        """Over the whole vocabulary, or over what is drawn where that is too large and the backend samples."""
        context = encode(backend.tokenizer, "What comes next")
        found = next_tokens(backend, backend.tokenizer, context, largest=self.largest_vocabulary)
        fault = found.fault_of_sum()
        assert fault is None, fault

    def test_every_token_of_the_context_counts(
        self, backend: ScoringBackend, table: Float64[np.ndarray, "token next_token"] | None
    ) -> None:
        """No first token is dropped or added, and a long context is not cut silently."""
        if table is not None:
            pytest.skip("a model with a known table sees the last token only")
        text = encode(backend.tokenizer, "It was a bright cold day, and the clocks were striking thirteen.")
        faults = faults_of_context(backend, backend.tokenizer, text, backend.context_length)
        assert not faults, "; ".join(faults)

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
