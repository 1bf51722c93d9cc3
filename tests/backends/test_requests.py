"""The checks and random streams that all backends share."""

import pytest

from inoc.backends.protocols import AdapterSettings, SampleRequest, ScoreRequest, TrainingExample, TrainingJob
from inoc.backends.requests import portions, refuse_impossible
from inoc.backends.streams import stream_seed, uniform_stream, update_seed
from inoc.backends.training import check_job
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


def test_a_request_may_be_exactly_as_long_as_the_context() -> None:
    refuse_impossible([ScoreRequest("a", (1, 2), (3, 8))], 4, vocabulary=9)
    refuse_impossible([SampleRequest("a", (1, 2))], 4, vocabulary=9, max_tokens=2)
    for context_length in (3, 2):
        with pytest.raises(BackendRejected, match="2 tokens of context and 2 of completion"):
            refuse_impossible([ScoreRequest("a", (1, 2), (3, 8))], context_length)


def test_a_training_example_may_be_exactly_as_long_as_the_context() -> None:
    example = TrainingExample("row", (1, 2, 3), (0.0, 1.0, 1.0))
    job = TrainingJob("job", (example,), ((0,),), AdapterSettings(), directory="somewhere")
    check_job(job, 3)
    with pytest.raises(BackendRejected, match=r"'row' has 3 tokens; the model's context is 2"):
        check_job(job, 2)


def test_portions_end_with_the_item_that_reaches_the_limit() -> None:
    assert list(portions([3, 2, 4, 5, 1, 1], lambda item: item, 5)) == [[3, 2], [4, 5], [1, 1]]


def test_random_streams_are_pinned() -> None:
    """Samples and dropout of other versions are drawn from these."""
    assert stream_seed(3, SampleRequest("a", (1,))) == 749573581
    assert uniform_stream(3, "a").random() == 0.5598754468811735
    assert [update_seed(3, update) for update in (1, 2)] == [11552045118435039, 55814786816607479]
    assert [update_seed(4, 1), update_seed(3, 1, 1)] == [18127641327845556, 59028411809319519]
