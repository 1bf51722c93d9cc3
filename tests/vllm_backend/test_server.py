"""vLLM's own OpenAI server, started and stopped here, driven by the backend openai_server."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pytest
from servers.adapters import write_adapter

from inoc.backends import check_scores
from inoc.backends.local import LocalBackend
from inoc.backends.openai_server import OpenAIServerBackend
from inoc.backends.protocols import AdapterSettings, Checkpoint, ModelSpec, ScoreRequest, TokenLogprobs
from inoc.errors import BackendUnavailable
from inoc.store.imports.prompt_logprobs import PromptLogprobs
from inoc.testing import SamplerConformance, ScorerConformance
from inoc.testing.asking import encode, score_by_id

START_SECONDS = 240


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server(NamedTuple):
    url: str
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def server(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server. `vllm serve` looks for a distribution named vllm, which the CPU build is not."""
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed here: make test-vllm")
    port = free_port()
    log = tmp_path_factory.mktemp("server") / "log.txt"
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(tiny),
        "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--generation-config", "vllm",
        "--gpu-memory-utilization", "0.1", "--enforce-eager", "--max-num-seqs", "64", "--enable-lora",
        "--max-lora-rank", "8", "--no-enable-chunked-prefill", "--max-num-batched-tokens", "1024",
    ]  # fmt: skip
    environment = os.environ | {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_NO_USAGE_STATS": "1"}
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    try:
        wait_for(process, f"http://127.0.0.1:{port}/health", log)
        yield Server(f"http://127.0.0.1:{port}/v1", process)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what a killed server leaves behind


def wait_for(server: subprocess.Popen[bytes], health: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            pytest.fail(f"the server ended with {server.returncode}: {log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(health, timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"the server was not ready after {START_SECONDS} s: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def backend(server: Server, tiny: Path) -> Iterator[OpenAIServerBackend]:
    options = {"url": server.url, "prompts_per_request": 32}
    made = OpenAIServerBackend.from_spec(ModelSpec(str(tiny), options=options))
    yield made
    made.close()


class TestScoring(ScorerConformance):
    tolerance: ClassVar[float] = 2e-5


class TestSampling(SamplerConformance):
    tolerance: ClassVar[float] = 2e-5
    draws: ClassVar[int] = 300


def test_agreement_with_an_adapter(backend: OpenAIServerBackend, tiny: Path, tmp_path: Path) -> None:
    """The server loads the adapter at run time and honours its rank-stabilised scale."""
    checkpoint = Checkpoint(1, str(write_adapter(tiny, tmp_path / "adapter", rank=8)), AdapterSettings(rank=8))
    rng = np.random.default_rng(0)
    draws = [tuple(int(token) for token in rng.integers(0, 256, 40)) for _ in range(8)]
    requests = [
        ScoreRequest(f"{i} {place}", ids[:25], ids[25:], place)
        for i, ids in enumerate(draws)
        for place in (None, checkpoint)
    ]
    local = LocalBackend.from_spec(ModelSpec(str(tiny), options={"device": "cpu"}))
    found, wanted = score_by_id(backend, requests), score_by_id(local, requests)
    for request in requests:
        np.testing.assert_allclose(found[request.id].logprobs, wanted[request.id].logprobs, atol=5e-5, rtol=0)


@pytest.mark.parametrize("more", [{"prompt_logprobs": 0}, {"prompt_logprobs": 2, "return_token_ids": True}])
def test_saved_replies_are_imported(server: Server, tiny: Path, tmp_path: Path, more: dict[str, object]) -> None:
    """What the server wrote, as a file, holds the logprobs that the local backend computes."""
    local = LocalBackend.from_spec(ModelSpec(str(tiny), options={"device": "cpu"}))
    texts = {"a": (" Yes, of course.", "Why? Be brief:"), "b": (" No", "Is tea blue?")}
    replies, requests = [], []
    for name, (completion, prompt) in texts.items():
        asked = {"model": str(tiny), "prompt": prompt + completion, "max_tokens": 1, **more}
        request = urllib.request.Request(
            f"{server.url}/completions", json.dumps(asked).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            replies.append(json.loads(answer.read()) | {"id": name})
        before, whole = encode(local.tokenizer, prompt), encode(local.tokenizer, prompt + completion)
        assert whole[: len(before)] == before
        requests.append(ScoreRequest(name, before, whole[len(before) :]))
    dump, completions = tmp_path / "baseline.jsonl", tmp_path / "texts.jsonl"
    dump.write_text("".join(json.dumps(reply) + "\n" for reply in replies))
    completions.write_text("".join(json.dumps({"id": n, "completion": c}) + "\n" for n, (c, _) in texts.items()))
    importer = PromptLogprobs(completions=str(completions))
    assert importer.sniff([dump])
    rows, wanted = list(importer.read([dump])), score_by_id(local, requests)
    assert [row.example_id for row in rows] == ["a", "b"]
    for row, request in zip(rows, requests, strict=True):
        assert tuple(row.token_ids or ()) == request.completion
        np.testing.assert_allclose(row.logprobs, wanted[request.id].logprobs, atol=5e-5, rtol=0)


def test_killed_in_the_middle(server: Server, tiny: Path) -> None:
    """The last test: one sentence within seconds; what had arrived is kept, the rest is scored elsewhere."""
    rng = np.random.default_rng(1)
    draws = [tuple(int(token) for token in rng.integers(0, 256, 60)) for _ in range(40)]
    requests = [ScoreRequest(str(i), ids[:30], ids[30:]) for i, ids in enumerate(draws)]
    options = {"url": server.url, "prompts_per_request": 2, "concurrency": 1, "backoff": 0.1}
    backend = OpenAIServerBackend.from_spec(ModelSpec(str(tiny), options=options))
    results: list[TokenLogprobs] = []

    def consume() -> None:
        for result in check_scores(requests, backend.score(requests)):
            results.append(result)
            if len(results) == 6:
                server.process.kill()
                server.process.wait()

    with pytest.raises(BackendUnavailable):
        consume()
    backend.close()
    done = {result.id for result in results}
    assert 6 <= len(done) < 40
    local = LocalBackend.from_spec(ModelSpec(str(tiny), options={"device": "cpu"}))
    rest = score_by_id(local, [request for request in requests if request.id not in done])
    assert sorted([*done, *rest]) == sorted(request.id for request in requests)
    wanted = score_by_id(local, requests)
    for result in results:
        np.testing.assert_allclose(result.logprobs, wanted[result.id].logprobs, atol=5e-5, rtol=0)
