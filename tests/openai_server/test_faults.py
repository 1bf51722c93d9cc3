"""What goes wrong on real servers: deaths, storms, garbage, wrong models, missing keys; and adapters, embeddings."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from servers.adapters import write_adapter
from servers.completions_server import CompletionsServer
from servers.openai_stub import Call, Reply, StubServer, error_reply, json_reply

from inoc.backends import check_scores
from inoc.backends.local import LocalBackend
from inoc.backends.openai_server import wire
from inoc.backends.protocols import AdapterSettings, Checkpoint, Completion, ModelSpec, SampleRequest, ScoreRequest
from inoc.errors import BackendRejected, BackendUnavailable, BadInput, BadResult
from inoc.values import Sampling

REQUESTS = [
    ScoreRequest(f"r{i}", tuple(range(40, 45 + i % 7)), tuple((i * 7 + k) % 250 for k in range(3 + i % 5)))
    for i in range(40)
]


@pytest.fixture(scope="module")
def local(tiny: Path) -> LocalBackend:
    return LocalBackend.from_spec(ModelSpec(str(tiny), options={"device": "cpu"}))


def completions(call: Call) -> bool:
    return call.path.endswith("/completions") and len(call.content) > 0


def prompts(call: Call) -> list[tuple[int, ...]]:
    return [tuple(ids) for ids in call.json["prompt"]]


def test_agrees_with_the_local_backend(tiny: Path, connect, local: LocalBackend) -> None:
    with CompletionsServer(tiny) as server:
        backend = connect(server.url)
        backend.check()
        got = {r.id: r for r in check_scores(REQUESTS, backend.score(REQUESTS))}
        for reference in local.score(REQUESTS):
            np.testing.assert_allclose(got[reference.id].logprobs, reference.logprobs, atol=5e-5, rtol=0)
        assert all(got[request.id].token_ids == request.completion for request in REQUESTS)
        assert backend.context_length == 512
        assert backend.identity()["engine"] == "openai-compatible server 0.0-test"
        assert "127.0.0.1" not in json.dumps(dict(backend.identity()))
        assert str(tiny.parent) not in json.dumps(dict(backend.identity()))


def test_adapters_are_loaded_used_and_unloaded(tiny: Path, connect, local: LocalBackend, tmp_path: Path) -> None:
    adapter = AdapterSettings(rank=8, alpha=16.0, targets=("q_proj", "v_proj", "up_proj"))
    checkpoints = [
        None,
        *(Checkpoint(n, str(write_adapter(tiny, tmp_path / f"a{n}", seed=n)), adapter) for n in (1, 2)),
    ]
    requests = [
        ScoreRequest(f"{r.id}-{n}", r.context, r.completion, checkpoint)
        for r in REQUESTS[:8]
        for n, checkpoint in enumerate(checkpoints)
    ]
    with CompletionsServer(tiny) as server:
        backend = connect(server.url)
        got = {r.id: r.logprobs for r in check_scores(requests, backend.score(requests))}
        reference = {r.id: r.logprobs for r in local.score(requests)}
        for id, values in reference.items():
            np.testing.assert_allclose(got[id], values, atol=5e-5, rtol=0)
        assert max(abs(got[f"r5-{n}"] - got["r5-0"]).max() for n in (1, 2)) > 0.1, "the adapters do something"
        draws = [SampleRequest(str(n), (50, 51, 52), checkpoint) for n, checkpoint in enumerate(checkpoints)]
        sampled = {c.id: c.token_ids for c in backend.sample(draws, Sampling(temperature=0.0, max_tokens=8))}
        assert len(set(sampled.values())) > 1
        assert len(server.loaded) == 2
        assert list(backend.score(requests[:6]))
        assert len(server.loaded) == 2, "loaded once"
        backend.close()
        assert server.adapters == {}


def test_adapters_that_cannot_be_loaded(tiny: Path, connect, tmp_path: Path) -> None:
    missing = ScoreRequest("a", (1,), (2,), Checkpoint(1, str(tmp_path / "none"), AdapterSettings()))
    with CompletionsServer(tiny) as server, pytest.raises(BackendRejected, match="none"):
        list(connect(server.url).score([missing]))
    with CompletionsServer(tiny, "echo") as server, pytest.raises(BackendRejected, match="--enable-lora"):
        list(connect(server.url).score([missing]))
    full = ScoreRequest("a", (1,), (2,), Checkpoint(1, "/some/model", AdapterSettings(kind="full")))
    with CompletionsServer(tiny) as server, pytest.raises(BackendRejected, match="fully fine-tuned"):
        list(connect(server.url).score([full]))


@pytest.mark.parametrize("style", ["vllm", "prompt_logprobs"])
def test_embeddings_are_unit_vectors_in_order_base64_or_not(tiny: Path, connect, style) -> None:
    texts = ["one", "a longer text", "three", "été"]
    with CompletionsServer(tiny, style) as server:
        backend = connect(server.url)
        vectors = backend.embed(texts)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
        for row, text in zip(vectors, texts, strict=True):
            mean = server._logits("tiny", backend.tokenizer.encode(text)).mean(0).numpy()
            np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-5)
        assert backend.embed([]).shape == (0, 0)
        with pytest.raises(BadInput, match="text 1"):
            backend.embed(["a", " "])


def test_server_killed_in_the_middle_and_resumed_elsewhere(tiny: Path, connect) -> None:
    """What had arrived is kept, the rest is asked of the next server: nothing lost, nothing scored twice."""
    scored: Counter[tuple[int, ...]] = Counter()

    def count(call: Call, answer: dict) -> None:
        scored.update(ids for ids in prompts(call) if len(ids) > 3)

    with CompletionsServer(tiny, spoil=count) as server:
        backend = connect(server.url, prompts_per_request=4, concurrency=1)
        results = []

        def consume() -> None:
            for result in check_scores(REQUESTS, backend.score(REQUESTS)):
                results.append(result)
                if len(results) == 12:
                    server.stub.kill()

        with pytest.raises(BackendUnavailable, match="nothing answers"):
            consume()
    assert 12 <= len(results) < 40
    done = {result.id for result in results}
    arrived = Counter(r.context + r.completion for r in REQUESTS if r.id in done)
    scored = Counter(arrived)
    with CompletionsServer(tiny, spoil=count) as server:
        rest = [request for request in REQUESTS if request.id not in done]
        results += check_scores(rest, connect(server.url).score(rest))
    assert sorted(result.id for result in results) == sorted(request.id for request in REQUESTS)
    assert scored == Counter(r.context + r.completion for r in REQUESTS)


@pytest.mark.slow  # waits, as the fast test of a dead server in tests/judge does
def test_a_dead_server_is_told_at_once(connect) -> None:
    with StubServer(lambda call: Reply()) as stub:
        url = stub.url
    backend = connect(url, backoff=0.5)
    with pytest.raises(BackendUnavailable, match="nothing answers at"):
        backend.check()
    with (
        StubServer(lambda call: Reply(silent=True)) as stub,
        pytest.raises(BackendUnavailable, match="no answer within"),
    ):
        connect(stub.url, timeout=300.0).check()


def faulty(faults: list):
    """A `spoil` that plays each fault once, on the first requests that score more than the probe."""
    left = list(faults)

    def spoil(call: Call, answer: dict) -> Reply | None:
        if not left or len(prompts(call)[0]) <= 3:
            return None
        fault = left.pop(0)
        return fault(answer) if callable(fault) else fault

    return spoil


def wrong_id(answer: dict) -> None:
    answer["choices"][0]["logprobs"]["tokens"][-1] = "token_id:1"


def garbage(answer: dict) -> None:
    answer["choices"][0]["logprobs"]["token_logprobs"][-1] = -5.6e20 * 1e30


def positive(answer: dict) -> None:
    answer["choices"][-1]["logprobs"]["token_logprobs"][-1] = 0.36


def absent(answer: dict) -> None:
    answer["choices"][0]["logprobs"]["token_logprobs"][-1] = None


def not_a_number(answer: dict) -> None:
    answer["choices"][0]["logprobs"]["token_logprobs"][-1] = float("nan")


def short(answer: dict) -> None:
    answer["choices"].pop()


def shifted(answer: dict) -> None:
    answer["choices"][0]["logprobs"]["token_logprobs"].pop(0)


def truncated(answer: dict) -> Reply:
    return Reply(json.dumps(answer).encode()[:-40])


def cut(answer: dict) -> Reply:
    return Reply(json.dumps(answer).encode(), cut=100)


STORM = [error_reply(429, headers={"retry-after": "0.1"})] * 8


@pytest.mark.parametrize(
    "faults",
    [STORM, [error_reply(500)] * 3, [cut] * 2, [truncated], [wrong_id], [garbage], [positive], [absent],
     [not_a_number], [short], [shifted], [Reply(b"")],
     [Reply(b"<html>busy</html>")]],
    ids=["storm", "500", "cut", "truncated", "wrong-id", "garbage", "positive", "absent", "nan", "short", "shifted",
         "empty", "html"],
)  # fmt: skip
def test_passing_faults_leave_no_trace(tiny: Path, connect, local: LocalBackend, faults: list) -> None:
    with CompletionsServer(tiny, spoil=faulty(faults)) as server:
        backend = connect(server.url, prompts_per_request=4, concurrency=2)
        got = {r.id: r.logprobs for r in check_scores(REQUESTS, backend.score(REQUESTS))}
        extra = len([c for c in server.stub.requests if completions(c) and len(prompts(c)[0]) > 3]) - 10
    assert extra == len(faults)
    for reference in local.score(REQUESTS):
        np.testing.assert_allclose(got[reference.id], reference.logprobs, atol=5e-5, rtol=0)


@pytest.mark.parametrize("fault", [wrong_id, garbage, positive, absent, not_a_number, short, shifted, truncated])
def test_lasting_garbage_is_refused(tiny: Path, connect, fault) -> None:
    with CompletionsServer(tiny, spoil=faulty([fault] * 1000)) as server:
        backend = connect(server.url, prompts_per_request=4, concurrency=2)
        with pytest.raises(BadResult, match="unusable reply"):
            list(backend.score(REQUESTS))
        assert len(server.stub.requests) < 12, "asked once more, not for ever"


@pytest.mark.parametrize("entry", [{"7": {"logprob": -0.36}}, {"-504204688": {"logprob": -0.1}}, {}, None])
def test_garbage_prompt_logprobs_are_refused(tiny: Path, connect, entry) -> None:
    def spoil(answer: dict) -> None:
        answer["choices"][0]["prompt_logprobs"][-1] = entry

    requests = [ScoreRequest("a", (40, 41, 42), (50, 51, 52))]
    with (
        CompletionsServer(tiny, "prompt_logprobs", spoil=faulty([spoil] * 10)) as server,
        pytest.raises(BadResult, match="a: "),
    ):
        list(connect(server.url).score(requests))


def test_a_server_that_cannot_score_says_so(tiny: Path, connect) -> None:
    with CompletionsServer(tiny, "generate") as server:
        backend = connect(server.url)
        with pytest.raises(BackendRejected, match="does not return the logprobs of a given text"):
            list(backend.score(REQUESTS))
        assert len(list(backend.sample([SampleRequest("a", (40, 41))], Sampling(max_tokens=3)))) == 1


def test_text_only_servers_still_sample(tiny: Path, connect, caplog: pytest.LogCaptureFixture) -> None:
    with CompletionsServer(tiny, "echo") as server:
        backend = connect(server.url)
        requests = [SampleRequest(str(n), (40, 41 + n)) for n in range(6)]
        stop = (backend.tokenizer.eos_token_id,)
        got = list(backend.sample(requests, Sampling(max_tokens=6, stop_ids=stop)))
        assert {c.id for c in got} == {r.id for r in requests}
        assert all(c.logprobs is None and not set(c.token_ids) & set(stop) for c in got)
        assert "tokenized again" in caplog.text
        body = server.stub.requests[-1].json
        assert body["stop"] == ["<|im_end|>"]
        assert "stop_token_ids" not in body


def test_unknown_model_and_missing_or_wrong_key(tiny: Path, connect, monkeypatch: pytest.MonkeyPatch) -> None:
    with CompletionsServer(tiny, name="other-model") as server:
        with pytest.raises(BackendRejected, match=r"does not serve 'tiny'; it serves other-model.*served_name"):
            connect(server.url).check()
        connect(server.url, served_name=None).check()  # found by its path
    monkeypatch.setenv("INOC_KEYS", "MY_KEY=127.0.0.1")
    with pytest.raises(BackendUnavailable, match="MY_KEY is not set"):
        connect("http://127.0.0.1:9/v1", key_env="MY_KEY")
    monkeypatch.setenv("MY_KEY", "expired-key-1234")
    with StubServer(lambda call: error_reply(401, "bad key expired-key-1234")) as stub:
        with pytest.raises(BackendUnavailable, match=r"key in MY_KEY.*expired") as caught:
            connect(stub.url, key_env="MY_KEY").check()
        assert "1234" not in str(caught.value)
        assert stub.requests[0].headers["authorization"] == "Bearer expired-key-1234"


def test_model_taken_away_in_the_middle(tiny: Path, connect) -> None:
    with (
        CompletionsServer(tiny, spoil=faulty([error_reply(404, "The model `tiny` does not exist")])) as server,
        pytest.raises(BackendRejected, match="does not exist"),
    ):
        list(connect(server.url).score(REQUESTS))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"servd_name": "x"}, "unknown option .* 'servd_name'. Fix: did you mean 'served_name'"),
        ({"prompts_per_request": 0}, "option 'prompts_per_request' .* is 0"),
        ({"concurrency": "a"}, "concurrency"),
        ({"tokenizer": "/no/such/folder"}, "Fix: set backend.options.tokenizer"),
    ],
)
def test_bad_options(connect, options: dict, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        connect("http://127.0.0.1:9/v1", **options)


def test_bad_requests_are_refused_before_anything_is_sent(tiny: Path, connect) -> None:
    with CompletionsServer(tiny) as server:
        backend = connect(server.url)
        for requests in ([ScoreRequest("a", (), (1,))], [REQUESTS[0], REQUESTS[0]], [ScoreRequest("a", (1,), (-1,))]):
            with pytest.raises(BadInput):
                backend.score(requests)
        with pytest.raises(BackendRejected, match="'a' needs"):
            backend.sample([SampleRequest("a", (1,) * 500)], Sampling(max_tokens=13))
        for sampling in (Sampling(max_tokens=0), Sampling(temperature=-1.0), Sampling(top_p=0.0)):
            with pytest.raises(BadInput):
                backend.sample([SampleRequest("a", (1,))], sampling)
        assert not any(completions(call) for call in server.stub.requests)
        whole = ScoreRequest("whole", (1,) * 500, (2,) * 12)
        assert next(backend.score([whole])).logprobs.shape == (12,), "a request as long as the context fits"


def test_no_length_known(tiny: Path, connect) -> None:
    listing = json_reply({"data": [{"id": "tiny"}]})
    with StubServer(lambda call: listing) as stub:
        with pytest.raises(BadInput, match="context_length"):
            connect(stub.url).score(REQUESTS)
        assert connect(stub.url, context_length=77).context_length == 77


def test_a_sample_sets_all_that_servers_take_from_the_model() -> None:
    """vLLM takes what a request leaves out from generation_config.json, repetition_penalty among it."""
    sampling = Sampling(temperature=0.7, top_p=0.9, max_tokens=5, stop_ids=(9, 8))
    body = wire.sample_body("tiny", SampleRequest("a", (1, 2)), sampling, 77, ["x"], extended=True)
    assert body == {
        "model": "tiny", "prompt": [1, 2], "max_tokens": 5, "temperature": 0.7, "top_p": 0.9, "seed": 77,
        "logprobs": 0, "return_token_ids": True, "stop_token_ids": [9, 8], "ignore_eos": True, "top_k": 0,
        "min_p": 0.0, "repetition_penalty": 1.0, "skip_special_tokens": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ids", "said", "kept", "finish"),
    [
        ([5, 6, 9], "stop", (5, 6), "stop"),
        ([5, 6, 9], "length", (5, 6), "stop"),
        ([9], "stop", (), "stop"),
        ([5, 6, 7], "length", (5, 6, 7), "length"),
        ([5, 6], "stop", (5, 6), "stop"),
        ([9, 6, 7], "length", None, None),
        ([9, 9], "stop", None, None),
        ([5, 6, 7, 4], "length", None, None),
        ([5, 6, 7, 9], "stop", (5, 6, 7), "stop"),
    ],
)
def test_the_stop_token_ends_a_sample_and_is_not_part_of_it(ids, said, kept, finish) -> None:
    choice = {"index": 0, "finish_reason": said, "token_ids": ids}
    choice["logprobs"] = {"token_logprobs": [-0.5 - i for i in range(len(ids))]}
    content = json.dumps({"choices": [choice]}).encode()

    def read() -> Completion:
        return wire.read_sample(
            content, SampleRequest("a", (1,)), Sampling(max_tokens=3, stop_ids=(9,)), lambda text: ()
        )

    if kept is None:
        with pytest.raises(ValueError, match="continues after its end"):
            read()
        return
    found = read()
    assert (found.token_ids, found.finish) == (kept, finish)
    assert found.logprobs.tolist() == [-0.5 - i for i in range(len(kept))]
