"""The checks and random streams that all backends share."""

import pytest

from inoc.backends.protocols import SampleRequest, ScoreRequest
from inoc.backends.requests import refuse_impossible
from inoc.backends.streams import stream_seed
from inoc.errors import BackendRejected, BadInput


@pytest.mark.parametrize("bits", [31, 63])
def test_streams_differ_by_seed_and_name_and_fit_their_bits(bits: int) -> None:
    requests = [SampleRequest(str(id), (1,)) for id in range(200)]
    seeds = {stream_seed(seed, request, bits) for seed in range(20) for request in requests}
    assert len(seeds) == 4000
    assert all(seed is not None and 0 <= seed < 2**bits for seed in seeds)
    assert stream_seed(None, requests[0], bits) is None


def test_requests_that_name_the_same_stream_share_it() -> None:
    first, second = (SampleRequest(id, (1,), stream="question 7") for id in ("a", "b"))
    assert stream_seed(0, first) == stream_seed(0, second) == stream_seed(0, SampleRequest("question 7", (2,)))


@pytest.mark.parametrize(
    ("requests", "error", "words"),
    [
        ([ScoreRequest("a", (1,), (2,)), ScoreRequest("a", (1,), (3,))], BadInput, "two requests have the id 'a'"),
        ([ScoreRequest("a", (), (2,))], BadInput, "empty context"),
        ([ScoreRequest("a", (1,), (-1,))], BadInput, "token id -1"),
        ([ScoreRequest("a", (1,), (9,))], BadInput, "token id 9; the model's last is 8"),
        ([ScoreRequest("a", (1, 2, 3), (4, 5))], BackendRejected, "3 tokens of context and 2 of completion"),
        ([SampleRequest("a", (1, 2, 3))], BackendRejected, "3 tokens of context and 2 of completion"),
    ],
)
def test_impossible_requests_are_refused(
    requests: list[ScoreRequest | SampleRequest], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        refuse_impossible(requests, 4, vocabulary=9, max_tokens=2 if isinstance(requests[0], SampleRequest) else 0)
