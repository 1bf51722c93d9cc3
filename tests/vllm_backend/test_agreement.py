"""Per-token agreement with the local backend, adapters included; vectors; what vLLM cannot apply is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from servers.adapters import write_adapter

from inoc.backends import check_scores
from inoc.backends.local import LocalBackend
from inoc.backends.protocols import AdapterSettings, Checkpoint, ModelSpec, SampleRequest, ScoreRequest
from inoc.backends.vllm import VllmBackend
from inoc.errors import BackendRejected, BackendUnavailable, BadInput
from inoc.testing.asking import sample_by_id, score_by_id
from inoc.values import Sampling

LIMIT = 5e-5
ADAPTER = AdapterSettings(rank=8)


@pytest.fixture(scope="module")
def local(tiny: Path) -> LocalBackend:
    return LocalBackend.from_spec(ModelSpec(str(tiny), options={"device": "cpu"}))


@pytest.fixture(scope="module")
def requests() -> list[ScoreRequest]:
    """A study's shape: contexts that share a beginning, some exactly a block long, completions of all lengths."""
    rng = np.random.default_rng(3)

    def draw(count: int) -> tuple[int, ...]:
        return tuple(int(token) for token in rng.integers(0, 256, count))

    beginnings = [draw(length) for length in (40, 64, 100)]
    made = [
        ScoreRequest(f"{b}-{i}", beginnings[b] + draw(int(rng.integers(0, 20))), draw(1 + i))
        for b in range(3)
        for i in range(16)
    ]
    return [*made, *(ScoreRequest(f"whole {i}", beginnings[1], draw(12)) for i in range(4))]


def with_checkpoint(requests: list[ScoreRequest], checkpoint: Checkpoint, prefix: str) -> list[ScoreRequest]:
    return [ScoreRequest(f"{prefix} {r.id}", r.context, r.completion, checkpoint) for r in requests]


def largest_difference(backend: VllmBackend, local: LocalBackend, requests: list[ScoreRequest]) -> float:
    ours = {result.id: result for result in check_scores(requests, backend.score(requests))}
    theirs = score_by_id(local, requests)
    return max(float(np.abs(ours[r.id].logprobs - theirs[r.id].logprobs).max()) for r in requests)


def test_base_model(backend: VllmBackend, local: LocalBackend, requests: list[ScoreRequest]) -> None:
    assert largest_difference(backend, local, requests) < LIMIT


@pytest.fixture(scope="module")
def checkpoints(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Checkpoint]:
    """rsLoRA, plain LoRA of another rank, and a second rsLoRA adapter."""
    root = tmp_path_factory.mktemp("adapters")
    return [
        Checkpoint(1, str(write_adapter(tiny, root / "rs", rank=8, seed=1)), ADAPTER),
        Checkpoint(1, str(write_adapter(tiny, root / "plain", rank=4, rslora=False, seed=2)), ADAPTER),
        Checkpoint(1, str(write_adapter(tiny, root / "other", rank=8, seed=3)), ADAPTER),
    ]


def test_adapters(
    backend: VllmBackend, local: LocalBackend, requests: list[ScoreRequest], checkpoints: list[Checkpoint]
) -> None:
    """Several adapters and the base model in one call, the same prompts under each: no cache mixes them."""
    everything = list(requests[::3])
    for number, checkpoint in enumerate(checkpoints):
        everything += with_checkpoint(requests[::3], checkpoint, str(number))
    assert largest_difference(backend, local, everything) < LIMIT
    results = score_by_id(local, everything)
    plain = results[requests[0].id].logprobs
    for number in range(len(checkpoints)):
        assert np.abs(results[f"{number} {requests[0].id}"].logprobs - plain).max() > 100 * LIMIT


def test_rank_stabilised_scale_is_honoured(
    backend: VllmBackend, requests: list[ScoreRequest], checkpoints: list[Checkpoint], tmp_path: Path
) -> None:
    """The same weights, once with the other scale: sqrt(8) times smaller, and the scores differ."""
    location = checkpoints[0].location
    assert location is not None
    for file in Path(location).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"use_rslora": False}))
    both = [
        *with_checkpoint(requests[:4], checkpoints[0], "stabilised"),
        *with_checkpoint(requests[:4], Checkpoint(1, str(tmp_path), ADAPTER), "plain"),
    ]
    results = score_by_id(backend, both)
    for request in requests[:4]:
        difference = results[f"stabilised {request.id}"].logprobs - results[f"plain {request.id}"].logprobs
        assert np.abs(difference).max() > 100 * LIMIT


def test_sampling_with_an_adapter(
    backend: VllmBackend, local: LocalBackend, requests: list[ScoreRequest], checkpoints: list[Checkpoint]
) -> None:
    """Greedy completions with an adapter are those of the local backend, with its logprobs."""
    asked = [SampleRequest(r.id, r.context, checkpoints[0]) for r in requests[:6]]
    sampling = Sampling(temperature=0.0, max_tokens=10)
    ours, theirs = sample_by_id(backend, asked, sampling), sample_by_id(local, asked, sampling)
    for request in asked:
        assert ours[request.id].token_ids == theirs[request.id].token_ids
        found, wanted = ours[request.id].logprobs, theirs[request.id].logprobs
        assert found is not None
        assert wanted is not None
        np.testing.assert_allclose(found, wanted, atol=LIMIT, rtol=0)


def test_output_layer_adapter_is_refused(
    backend: VllmBackend, requests: list[ScoreRequest], tiny: Path, tmp_path: Path
) -> None:
    checkpoint = Checkpoint(1, str(write_adapter(tiny, tmp_path / "head", head=True)), ADAPTER)
    with pytest.raises(BackendRejected, match=r"lm_head.*merge"):
        list(backend.score(with_checkpoint(requests[:1], checkpoint, "head")))
    assert still_answers(backend, requests)


def still_answers(backend: VllmBackend, requests: list[ScoreRequest]) -> bool:
    """The engine still answers after a refusal."""
    return bool(np.isfinite(score_by_id(backend, requests[:1])[requests[0].id].logprobs).all())


def test_checkpoint_of_another_model_is_refused(
    backend: VllmBackend, requests: list[ScoreRequest], tiny: Path, tmp_path: Path
) -> None:
    folder = write_adapter(tiny, tmp_path / "foreign")
    (folder / "manifest.json").write_text(json.dumps({"base": {"model": "x", "weights": "0" * 64}}))
    with pytest.raises(BadInput, match="whose weights hash differs"):
        list(backend.score(with_checkpoint(requests[:1], Checkpoint(1, str(folder), ADAPTER), "foreign")))


def test_embeddings(backend: VllmBackend, local: LocalBackend) -> None:
    """Unit vectors, those of the local backend; and scoring goes on afterwards."""
    texts = ["Hello", "A longer text about something else.", "1 2 3"]
    vectors = backend.embed(texts)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors, local.embed(texts), atol=1e-5, rtol=0)
    request = ScoreRequest("after", (1, 2, 3), (4, 5))
    np.testing.assert_allclose(
        score_by_id(backend, [request])["after"].logprobs,
        score_by_id(local, [request])["after"].logprobs,
        atol=LIMIT,
        rtol=0,
    )


def test_a_failure_inside_vllm_leaves_a_working_backend(
    backend: VllmBackend, requests: list[ScoreRequest], tiny: Path, tmp_path: Path
) -> None:
    """Weights cut short behind an intact header: only vLLM notices. Its queue is not used again."""
    folder = write_adapter(tiny, tmp_path / "cut", seed=9)
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises((BackendRejected, BackendUnavailable), match="vLLM") as caught:
        list(backend.score(with_checkpoint(requests[:2], Checkpoint(1, str(folder), ADAPTER), "cut")))
    assert "\n" not in str(caught.value)
    assert [len(r.logprobs) for r in backend.score(requests[:1])] == [len(requests[0].completion)]
