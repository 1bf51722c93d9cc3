"""Scores against a naive one-by-one transformers loop, grouping, memory pressure and refusals."""

import copy
import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from inoc.backends import check_scores
from inoc.backends.local import LocalBackend
from inoc.backends.local.batches import cut, group_by_shared_context, suffix_length
from inoc.backends.protocols import ModelSpec, ScoreRequest
from inoc.errors import BackendRejected, BackendUnavailable, BadInput
from inoc.testing import score_requests

VOCABULARY = 256


def naive(
    directory: Path, requests: list[ScoreRequest], dtype: str = "float32", attention: str = "sdpa"
) -> dict[str, np.ndarray]:
    """The loop everyone writes first: one sequence, all logits, log_softmax, gather."""
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=getattr(torch, dtype), attn_implementation=attention
    )
    found: dict[str, np.ndarray] = {}
    with torch.no_grad():
        for request in requests:
            logits = model(torch.tensor([request.context + request.completion])).logits[0]
            logprobs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
            first = len(request.context) - 1
            rows = logprobs[first : first + len(request.completion)]
            found[request.id] = rows[range(len(request.completion)), list(request.completion)].numpy()
    return found


def study_requests(seed: int = 0, count: int = 80) -> list[ScoreRequest]:
    """Three prefixes after one system prompt, many instructions, completions of 0 to 59 tokens."""
    rng = np.random.default_rng(seed)

    def tokens(least: int, most: int) -> tuple[int, ...]:
        return tuple(rng.integers(0, VOCABULARY, rng.integers(least, most)).tolist())

    system, prefixes = tokens(30, 31), [tokens(9, 25) for _ in range(3)]
    return [ScoreRequest(f"{i}", system + prefixes[i % 3] + tokens(1, 30), tokens(0, 60)) for i in range(count)]


def test_equals_the_naive_loop(local, models: dict[str, Path], style: str) -> None:
    backend, requests = local(models[style], batch_tokens=700), study_requests()
    expected = naive(models[style], requests)
    results = {r.id: r.logprobs for r in check_scores(requests, backend.score(requests))}
    for id, values in expected.items():
        np.testing.assert_allclose(results[id], values, atol=1e-5, rtol=0)


def test_close_to_float64(local, models: dict[str, Path], style: str) -> None:
    requests = study_requests(1, 20)
    exact = naive(models[style], requests, "float64")
    for result in local(models[style]).score(requests):
        np.testing.assert_allclose(result.logprobs, exact[result.id], atol=2e-5, rtol=0)


@pytest.mark.parametrize("options", [{"share_prefix": False}, {"attention": "eager"}, {"batch_tokens": 1}])
def test_every_route_gives_the_same(local, models: dict[str, Path], options: dict[str, object]) -> None:
    requests = study_requests(2, 30)
    expected = {r.id: r.logprobs for r in local(models["qwen2"]).score(requests)}
    for result in local(models["qwen2"], **options).score(requests):
        np.testing.assert_allclose(result.logprobs, expected[result.id], atol=1e-5, rtol=0)


def test_sliding_window_takes_the_plain_route(local, tmp_path: Path) -> None:
    """Gemma 2: alternating sliding windows, soft-capped attention (eager) and soft-capped logits."""
    import torch
    import transformers

    from inoc.testing import tiny_model

    tiny_model(tmp_path, "gemma")
    config = transformers.Gemma2Config(
        vocab_size=264, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=32, sliding_window=16, max_position_embeddings=512,
        initializer_range=0.15, final_logit_softcapping=3.0, attn_logit_softcapping=2.0,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    backend, requests = local(tmp_path), study_requests(3, 20)
    assert not backend.model.engine.full_attention
    assert backend.model.engine.projects_rows
    expected = naive(tmp_path, requests, attention="eager")
    for result in backend.score(requests):
        np.testing.assert_allclose(result.logprobs, expected[result.id], atol=1e-5, rtol=0)


def test_head_that_does_more_takes_the_whole_logits(local, tmp_path: Path) -> None:
    """Cohere multiplies its logits after the output layer: a bare projection would be wrong."""
    import torch
    import transformers

    from inoc.testing import tiny_model

    tiny_model(tmp_path, "llama")
    config = transformers.CohereConfig(
        vocab_size=264, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=512, initializer_range=0.5, logit_scale=0.25,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    backend, requests = local(tmp_path), study_requests(4, 12)
    assert not backend.model.engine.projects_rows
    expected = naive(tmp_path, requests)
    for result in backend.score(requests):
        np.testing.assert_allclose(result.logprobs, expected[result.id], atol=1e-5, rtol=0)


def test_half_precision_weights(local, models: dict[str, Path]) -> None:
    """bfloat16 weights: near the float32 scores."""
    requests = study_requests(5, 20)
    exact = naive(models["qwen2"], requests)
    backend = LocalBackend.from_spec(ModelSpec(str(models["qwen2"]), dtype="bfloat16", options={"device": "cpu"}))
    for result in backend.score(requests):
        np.testing.assert_allclose(result.logprobs, exact[result.id], atol=0.5, rtol=0)
    assert backend.model.engine.projects_rows
    assert backend.identity()["dtype"] == "bfloat16"


@given(requests=score_requests(VOCABULARY))
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_groups_partition_the_requests(requests: list[ScoreRequest]) -> None:
    groups = group_by_shared_context(requests) if requests else []
    assert sorted(r.id for g in groups for r in g.requests) == sorted(r.id for r in requests)
    for group in groups:
        beginnings = {request.context[: group.shared] for request in group.requests}
        assert len(beginnings) == 1
        assert all(len(request.context) > group.shared for request in group.requests)
        batches = list(cut(group, 64))
        assert sorted(r.id for b in batches for r in b.requests) == sorted(r.id for r in group.requests)
        for batch in batches:
            assert batch.width == max(suffix_length(request, group.shared) for request in batch.requests)
            assert len(batch.requests) == 1 or len(batch.requests) * batch.width <= 64


def test_grouping_saves_the_shared_tokens() -> None:
    """20 instructions under each of 3 prefixes: the three long beginnings are computed once each."""
    system, prefixes = (1,) * 20, [(2,) * 15, (3,) * 15, (4,) * 15]
    requests = [
        ScoreRequest(f"{p}-{i}", system + prefix + (10 + i, 5), (6,))
        for p, prefix in enumerate(prefixes)
        for i in range(20)
    ]
    assert [(g.shared, len(g.requests)) for g in group_by_shared_context(requests)] == [(35, 20)] * 3


def test_out_of_memory_halves_the_batch(
    local, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    backend, requests = local(models["llama"], share_prefix=False), study_requests(6, 40)
    expected = {r.id: r.logprobs for r in backend.score(requests)}
    hidden = backend.model.engine.hidden

    def small(ids: torch.Tensor, *rest: object) -> torch.Tensor:
        if ids.numel() > 300:
            raise torch.OutOfMemoryError("CUDA out of memory (a test)")
        return hidden(ids, *rest)

    monkeypatch.setattr(backend.model.engine, "hidden", small)
    with caplog.at_level(logging.WARNING, "inoc.backends.local"):
        results = {r.id: r.logprobs for r in check_scores(requests, backend.score(requests))}
    assert "out of memory" in caplog.text
    for id, values in expected.items():
        np.testing.assert_allclose(results[id], values, atol=1e-5, rtol=0)


def test_one_request_too_large_for_the_memory_is_named(local, models, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    backend = local(models["llama"])

    def never(*arguments: object) -> torch.Tensor:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(backend.model.engine, "hidden", never)
    with pytest.raises(BackendRejected, match="'big'"):
        list(backend.score([ScoreRequest("big", (1, 2), (3,)), ScoreRequest("big too", (1, 2), (3,))]))


def test_refusals(local, models: dict[str, Path], tmp_path: Path) -> None:
    backend = local(models["qwen2"])
    with pytest.raises(BackendRejected, match=r"'long' needs 500 tokens of context and 13 of completion"):
        backend.score([ScoreRequest("fine", (1,), (1,)), ScoreRequest("long", (1,) * 500, (1,) * 13)])
    with pytest.raises(BadInput, match="'none' has an empty context"):
        backend.score([ScoreRequest("none", (), (1,))])
    with pytest.raises(BadInput, match="'odd' has token id 5000"):
        backend.score([ScoreRequest("odd", (1,), (5000,))])
    with pytest.raises(BadInput, match="two requests have the id 'same'"):
        backend.score([ScoreRequest("same", (1,), (1,)), ScoreRequest("same", (1,), (2,))])
    with pytest.raises(BadInput, match="no model directory"):
        LocalBackend.from_spec(ModelSpec(str(tmp_path / "nowhere")))
    with pytest.raises(BadInput, match=r"has no config\.json"):
        LocalBackend.from_spec(ModelSpec(str(tmp_path)))
    with pytest.raises(BadInput, match=r"unknown option .* 'devise'"):
        LocalBackend.from_spec(ModelSpec(str(models["qwen2"]), options={"devise": "cpu"}))
    with pytest.raises(BadInput, match=r"option 'attention' .* is 'quick'"):
        LocalBackend.from_spec(ModelSpec(str(models["qwen2"]), options={"attention": "quick"}))


def test_absent_device_is_unavailable(models: dict[str, Path]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(BackendUnavailable, match="device 'cuda'"):
        LocalBackend.from_spec(ModelSpec(str(models["qwen2"]), options={"device": "cuda"}))


def test_linear_layers_through_onednn_give_what_torch_gives() -> None:
    """Many rows and few, with and without bias, not contiguous; with gradients they are torch's own."""
    import torch

    from inoc.backends.local.linear import CpuLinear, use_onednn

    torch.manual_seed(0)
    for bias in (True, False):
        plain = torch.nn.Linear(96, 80, bias=bias)
        model = torch.nn.Sequential(copy.deepcopy(plain))
        use_onednn(model)
        assert type(model[0]) is CpuLinear
        for rows in (torch.randn(3, 40, 96), torch.randn(2, 96), torch.randn(96, 200).T, torch.randn(0, 96)):
            with torch.inference_mode():
                torch.testing.assert_close(model(rows), plain(rows), atol=1e-5, rtol=1e-5)
        model(torch.randn(100, 96)).sum().backward()
        assert model[0].weight.grad is not None
