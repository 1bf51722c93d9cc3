"""The public suites through the real client and worker, and what came back against the local backend."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest

pytest.importorskip("openweights", reason="make test-openweights")

from gathered import Gathered, Rehearsal

from inoc.backends.protocols import SampleRequest, TokenLogprobs
from inoc.testing import SamplerConformance, ScorerConformance

if TYPE_CHECKING:
    from stack import Stack

    from inoc.backends.local import LocalBackend

pytestmark = [pytest.mark.xdist_group("openweights-1"), pytest.mark.timeout(600)]
AGREEMENT = 5e-5
"""Nats, in float32."""


@pytest.fixture(scope="module")
def rehearsal(local: "LocalBackend") -> Rehearsal:
    return Rehearsal(local)


@pytest.fixture(scope="module", params=["rehearsal", "jobs"])
def backend(
    request: pytest.FixtureRequest,
    rehearsal: Rehearsal,
    session_environment: "Stack",
    open_backend,
    tiny: Path,
) -> Iterator[Rehearsal | Gathered]:
    if request.param == "rehearsal":
        yield rehearsal
        return
    if not session_environment.has_worker():
        session_environment.start_worker()
    backend, alone = open_backend(tiny), open_backend(tiny, attempt=1)
    yield Gathered(backend, alone, rehearsal)
    backend.close()
    alone.close()


class TestScoring(ScorerConformance):
    tolerance: ClassVar[float] = 1e-5


class TestSampling(SamplerConformance):
    tolerance: ClassVar[float] = 1e-5
    draws: ClassVar[int] = 300

    @pytest.fixture
    def contexts(self, backend: Rehearsal | Gathered) -> list[SampleRequest]:
        texts = ["Why is the sky blue?", "No no no no"]
        return [
            SampleRequest(f"r{i}", tuple(backend.tokenizer.encode(text, add_special_tokens=False)))
            for i, text in enumerate(texts)
        ]


@pytest.mark.parametrize("backend", ["jobs"], indirect=True)
def test_every_result_is_the_local_backends(backend: Gathered) -> None:
    """Every logprob and every sampled token of both suites; only what is refused went through no gathered job."""
    compared = 0
    for group, wanted in backend.asked.items():
        for request, here in wanted.items():
            there = backend.known[group][request]
            if not isinstance(here, TokenLogprobs):
                assert there.token_ids == here.token_ids
                assert there.finish == here.finish
            if here.logprobs is not None:
                np.testing.assert_allclose(there.logprobs, here.logprobs, atol=AGREEMENT, rtol=0)
                compared += len(here.logprobs)
    assert compared > 1000
    assert backend.late <= 2


def test_known_next_token_table(worker: "Stack", open_backend, known: tuple[Path, np.ndarray]) -> None:
    folder, table = known
    backend = open_backend(folder)
    TestScoring().test_known_next_token_table(backend, table)
    backend.close()
