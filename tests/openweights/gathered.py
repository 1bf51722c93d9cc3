"""The conformance suites ask a backend a hundred small things; here every call would be a job of ten seconds.

So each suite runs twice. In the rehearsal the local backend answers and what is asked is written down. Then everything
that was asked goes through OpenWeights in a few jobs, and the suite runs on their results. Requests that were asked
alone and requests that were asked in company travel in different jobs: what the suite compares stays a comparison.
"""

import inspect
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest

from inoc.backends.local import LocalBackend
from inoc.backends.openweights import OpenWeightsBackend
from inoc.backends.protocols import ChatTokenizer, Completion, SampleRequest, ScoreRequest, TokenLogprobs
from inoc.values import Sampling

Request = ScoreRequest | SampleRequest
Result = TokenLogprobs | Completion
Group = tuple[bool, Sampling | None]
"""What may travel in one job: asked alone or not, and how to sample (None: scored)."""


class Rehearsal:
    """The local backend, writing down every request by its group."""

    def __init__(self, local: LocalBackend) -> None:
        self.local = local
        self.asked: dict[Group, dict[Request, Result]] = {}

    @property
    def tokenizer(self) -> ChatTokenizer:
        return self.local.tokenizer

    @property
    def context_length(self) -> int:
        return self.local.context_length

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        return self._note(requests, None, self.local.score(requests))

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        return self._note(requests, sampling, self.local.sample(requests, sampling))

    def _note(self, requests, sampling, results):
        by_id = {request.id: request for request in requests}
        group = self.asked.setdefault((len(requests) == 1, sampling), {})
        for result in results:
            group[by_id[result.id]] = result
            yield result


class Gathered:
    """Answers from the jobs that hold what was rehearsed; what was not goes through a job of its own."""

    def __init__(self, backend: OpenWeightsBackend, alone: OpenWeightsBackend, rehearsal: Rehearsal) -> None:
        """`alone` counts as another attempt, so that it does not find what was computed in company."""
        self.backend, self.alone = backend, alone
        self.asked = rehearsal.asked
        self.known: dict[Group, dict[Request, Result]] = {}
        self.late = 0
        with ThreadPoolExecutor(8) as pool:
            for group, results in zip(self.asked, pool.map(self._fetch, self.asked), strict=True):
                self.known[group] = results

    def _fetch(self, group: Group) -> dict[Request, Result]:
        single, sampling = group
        backend = self.alone if single else self.backend
        named = {f"{i} {request.id}": request for i, request in enumerate(self.asked[group])}
        results: dict[Request, Result] = {}
        for result in ask(backend, [rename(request, id) for id, request in named.items()], sampling):
            results[named[result.id]] = replace(result, id=named[result.id].id)
        return results

    @property
    def tokenizer(self) -> ChatTokenizer:
        return self.backend.tokenizer

    @property
    def context_length(self) -> int:
        return self.backend.context_length

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        return self._answer(requests, None)

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        return self._answer(requests, sampling)

    def _answer(self, requests, sampling):
        known = self.known.get((len(requests) == 1, sampling), {})
        if requests and all(request in known for request in requests):
            yield from (known[request] for request in requests)
        else:
            self.late += 1
            yield from ask(self.backend, requests, sampling)


def rename(request: Request, id: str) -> Request:
    """Under another id, with the random stream it had."""
    if isinstance(request, SampleRequest):
        return replace(request, id=id, stream=request.stream_name)
    return replace(request, id=id)


def ask(backend: OpenWeightsBackend, requests, sampling: Sampling | None):
    return backend.score(requests) if sampling is None else backend.sample(requests, sampling)


def rehearse(rehearsal: Rehearsal, suite: object, given: dict[str, object]) -> None:
    """Every test of a suite, with these fixtures; a temperature takes each of the suite's values."""
    for name in (name for name in dir(suite) if name.startswith("test_")):
        test = getattr(suite, name)
        fixtures = inspect.signature(test).parameters
        for temperature in (1.0, 0.6) if "temperature" in fixtures else (None,):
            known = {"backend": rehearsal, "temperature": temperature} | given
            with suppress(pytest.skip.Exception):
                test(**{fixture: known[fixture] for fixture in fixtures})
