"""What travels comes back as it was, and what is damaged or foreign is refused. No server."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inoc.backends.openweights import wire
from inoc.backends.protocols import (
    AdapterSettings,
    Checkpoint,
    CheckpointQuestions,
    Completion,
    SampleRequest,
    ScoreRequest,
    TokenLogprobs,
    TrainingExample,
    TrainingJob,
)
from inoc.errors import BadResult
from inoc.values import Sampling

LORA = Checkpoint(30, "/here/step-00030", AdapterSettings(rank=4, alpha=8.0))
NAMES = {"/here/step-00030": "adapter-abc", "/here/step-00060": "adapter-def"}
tokens = st.lists(st.integers(0, 200_000), min_size=1, max_size=9).map(tuple)
places = st.sampled_from(
    [None, Checkpoint(0, None, AdapterSettings()), LORA, Checkpoint(60, "/here/step-00060", AdapterSettings())]
)
score_rows = st.lists(st.tuples(tokens, tokens, places), min_size=1, max_size=8)
sample_rows = st.lists(st.tuples(tokens, places, st.sampled_from([None, "a", "ü"])), min_size=1, max_size=8)


def there(checkpoint: Checkpoint | None) -> Checkpoint | None:
    """The checkpoint as the worker sees it."""
    if checkpoint is None or checkpoint.location is None:
        return None
    return Checkpoint(checkpoint.step, NAMES[checkpoint.location], checkpoint.adapter)


@settings(deadline=None)
@given(score_rows)
def test_score_requests_arrive_as_they_were(rows):
    asked = [ScoreRequest(f"id {i}", *row) for i, row in enumerate(rows)]
    content = wire.pack_requests({"model": {"id": "m"}}, asked, NAMES)
    assert content == wire.pack_requests({"model": {"id": "m"}}, asked, NAMES)
    parcel = wire.unpack(content)
    assert parcel.meta["model"] == {"id": "m"}
    expected = [ScoreRequest(str(i), r.context, r.completion, there(r.checkpoint)) for i, r in enumerate(asked)]
    assert list(wire.unpack_requests(parcel)) == expected


@settings(deadline=None)
@given(sample_rows)
def test_sample_requests_keep_their_stream(rows):
    asked = [SampleRequest(f"id {i}", *row) for i, row in enumerate(rows)]
    found = wire.unpack_requests(wire.unpack(wire.pack_requests({}, asked, NAMES)))
    assert [(r.context, r.checkpoint) for r in found] == [(r.context, there(r.checkpoint)) for r in asked]
    # the worker's ids are numbers; the stream is what the id would have keyed
    assert [r.stream_name for r in found] == [r.stream_name for r in asked]


def test_a_text_that_many_requests_share_travels_once():
    rng = np.random.default_rng(0)
    long = tuple(int(i) for i in rng.integers(0, 150_000, 4000))
    few = wire.pack_requests({}, [ScoreRequest("0", (1,), long)], {})
    many = wire.pack_requests({}, [ScoreRequest(str(i), (i,), long) for i in range(100)], {})
    assert len(many) < len(few) + 2000


def test_digests_name_what_decides_a_result_and_not_the_id():
    one = ScoreRequest("a", (1, 2), (3,), LORA)
    assert wire.digest(one, NAMES) == wire.digest(ScoreRequest("b", (1, 2), (3,), LORA), NAMES)
    others = [
        ScoreRequest("a", (1,), (2, 3), LORA),
        ScoreRequest("a", (1, 2), (3,)),
        SampleRequest("a", (1, 2), LORA),
        SampleRequest("b", (1, 2), LORA),
        SampleRequest("b", (1, 2), LORA, "a b"),
    ]
    assert len({wire.digest(request, NAMES) for request in [one, *others]}) == 6
    assert wire.digest(one, NAMES) != wire.digest(one, {**NAMES, str(LORA.location): "adapter-other"})


def test_results_get_the_ids_of_all_who_asked():
    asked = {4: (ScoreRequest("x", (1,), (7, 8)), ScoreRequest("y", (1,), (7, 8))), 5: (SampleRequest("z", (1,)),)}
    results = [
        TokenLogprobs("4", np.array([-1.5, -0.25], np.float32), (7, 8)),
        Completion("5", (9,), "stop", np.array([-2.0], np.float32)),
        Completion("6", (1, 1), "length", None),
    ]
    content = wire.pack_results(results)
    found = wire.unpack_results(content, asked, 7)
    assert [(number, result.id) for number, result in found] == [(4, "x"), (4, "y"), (5, "z")]
    assert found[0][1].logprobs.tolist() == [-1.5, -0.25]
    assert found[2][1] == Completion("z", (9,), "stop", found[2][1].logprobs)
    (other,) = wire.unpack_results(content, {6: (SampleRequest("w", (1,)),)}, 7)
    assert other[1] == Completion("w", (1, 1), "length", None)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (TokenLogprobs("0", np.array([-1.0], np.float32), (8,)), "other token ids"),
        (TokenLogprobs("0", np.array([-1.0], np.float32), (7, 8)), "other token ids"),
        (TokenLogprobs("3", np.array([-1.0], np.float32), (7,)), "request 3 of 3"),
        (TokenLogprobs("-1", np.array([-1.0], np.float32), (7,)), "request -1 of 3"),
    ],
)
def test_wrong_results_are_refused(result, said):
    with pytest.raises(BadResult, match=said):
        wire.unpack_results(wire.pack_results([result]), {0: (ScoreRequest("a", (1,), (7,)),)}, 3)


def test_a_sample_with_too_few_logprobs_is_refused():
    short = Completion("0", (1, 2), "stop", np.array([-1.0], np.float32))
    with pytest.raises(BadResult, match="1 log-probabilities for 2"):
        wire.unpack_results(wire.pack_results([short]), {0: (SampleRequest("a", (1,)),)}, 1)


@pytest.mark.parametrize("spoil", [lambda b: b[: len(b) // 2], lambda b: b"no archive", lambda b: b""])
def test_damaged_files_are_refused(spoil):
    content = wire.pack_results([TokenLogprobs("0", np.array([-1.0], np.float32), (7,))])
    with pytest.raises(BadResult):
        wire.unpack_results(spoil(content), {}, 1)


def test_arrays_that_do_not_fit_are_refused():
    arrays = {"token": np.zeros(3, np.int32), "token_size": np.array([1, 1], np.int32)}
    with pytest.raises(BadResult, match="lengths"):
        wire.rows_of(arrays, "token")
    with pytest.raises(BadResult, match="lacks"):
        wire.unpack_results(wire.pack({}, {"number": np.zeros(1, np.int32)}), {}, 1)


def test_nothing_pickled_is_read(tmp_path):
    path = tmp_path / "evil.npz"
    np.savez(path, meta=np.array([{"a": 1}], dtype=object))
    with pytest.raises(BadResult):
        wire.unpack(path.read_bytes())


def training() -> TrainingJob:
    examples = (TrainingExample("e0", (5, 6, 7), (0.0, 0.5, 1.0)), TrainingExample("e1", (8, 9), (0.0, 1.0)))
    return TrainingJob(
        "run", examples, ((0, 1), (1,)), AdapterSettings(rank=8, targets=("q_proj",)), learning_rate=3e-4, warmup=7,
        weight_decay=0.1, max_grad_norm=0.5, accumulation=2, optimizer="adamw", gradient_checkpointing=True,
        seed=11, checkpoint_steps=(1,), resume_every=3, directory="/mine", start=LORA,
    )  # fmt: skip


def test_a_training_arrives_as_it_was_in_another_folder():
    job = training()
    found = wire.unpack_training(wire.unpack(wire.pack_training({}, job, NAMES)), "there")
    for name in TrainingJob.__dataclass_fields__:
        if name not in ("directory", "start"):
            assert getattr(found, name) == getattr(job, name), name
    assert (found.directory, found.start) == ("there", there(LORA))


def test_questions_are_numbered_over_all_steps():
    first = CheckpointQuestions(0, (SampleRequest("a", (1,), None, "s"), SampleRequest("b", (2, 3))), Sampling())
    second = CheckpointQuestions(15, (SampleRequest("a", (4,)),), Sampling(0.5, 0.9, 7, 3, (2,)))
    found = wire.unpack_questions(wire.pack_questions([first, second]))
    assert [(g.step, g.sampling) for g in found] == [(0, first.sampling), (15, second.sampling)]
    assert [[r.id for r in g.requests] for g in found] == [["0", "1"], ["2"]]
    assert [r.stream_name for g in found for r in g.requests] == ["s", "b", "a"]
    assert [r.context for g in found for r in g.requests] == [(1,), (2, 3), (4,)]
