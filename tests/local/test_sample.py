"""Slots of the sampler: rows that end at different times, refilled, give what one row at a time gives."""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from inoc.backends.local.sample import keep_top, next_tokens
from inoc.backends.local.slots import Slots
from inoc.backends.protocols import AdapterSettings, Checkpoint, Completion, SampleRequest
from inoc.backends.streams import uniform_stream
from inoc.errors import BackendRejected
from inoc.values import Sampling

from ..servers.adapters import write_adapter

COUNT = 60
STOPS = tuple(range(0, 240, 12))
"""One token in twelve ends a completion."""


def ragged_requests() -> list[SampleRequest]:
    """Contexts of 1 to 40 tokens; more than three times as many as the widest sampler has rows."""
    rng = np.random.default_rng(4)
    lengths = rng.integers(1, 41, COUNT).tolist()
    return [SampleRequest(f"r{i}", tuple(rng.integers(0, 256, n).tolist())) for i, n in enumerate(lengths)]


def completions(local, model: Path, rows: int) -> dict[str, Completion]:
    sampling = Sampling(max_tokens=20, seed=2, stop_ids=STOPS)
    return {result.id: result for result in local(model, rows=rows).sample(ragged_requests(), sampling)}


def differing(found: dict[str, Completion], wanted: dict[str, Completion]) -> Sequence[str]:
    """Requests with other tokens, another end or other logprobs."""
    assert found.keys() == wanted.keys()
    return [
        id
        for id, one in wanted.items()
        if (found[id].token_ids, found[id].finish) != (one.token_ids, one.finish)
        or not np.allclose(found[id].logprobs, one.logprobs, atol=1e-5, rtol=0)
    ]


@pytest.fixture(scope="module")
def one_row(local, models: dict[str, Path]) -> dict[str, Completion]:
    """What one row at a time of the llama gives."""
    return completions(local, models["llama"], 1)


# the slots of the sampler know nothing of a model's style
@pytest.mark.parametrize("style", ["llama", *(pytest.param(s, marks=pytest.mark.slow) for s in ("qwen2", "gemma"))])
def test_any_number_of_rows_gives_what_one_row_gives(
    local, models: dict[str, Path], style: str, one_row: dict[str, Completion]
) -> None:
    alone = one_row if style == "llama" else completions(local, models[style], 1)
    lengths = [len(one.token_ids) for one in alone.values()]
    assert len(set(lengths)) > 10
    assert {one.finish for one in alone.values()} == {"stop", "length"}
    for rows in (8, 19):
        assert differing(completions(local, models[style], rows), alone) == []


def test_out_of_memory_halves_the_rows_and_loses_none(
    local, models, one_row, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill, most = Slots.fill, 3

    def small(slots: Slots, target: int, *rest: object) -> None:
        if slots.rows > most and target == slots.rows - 1:  # the last place, when rows before it are under way
            raise torch.OutOfMemoryError("CUDA out of memory (a test)")
        fill(slots, target, *rest)

    monkeypatch.setattr(Slots, "fill", small)
    with caplog.at_level(logging.WARNING, "inoc.backends.local"):
        assert differing(completions(local, models["llama"], 12), one_row) == []
    assert [record.args[1] for record in caplog.records] == [6, 3]
    most = 0
    with pytest.raises(BackendRejected, match=r"one completion alone does not fit.*Fix: use a smaller model"):
        completions(local, models["llama"], 2)


@pytest.mark.parametrize("broken", ["move", "fill", "mask"])
def test_a_broken_slot_is_seen(local, models, one_row, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """Planted faults: a row that is not moved, a prompt put in cut short, stale keys that are seen."""
    fill, mask = Slots.fill, Slots.mask
    faults = {
        "move": lambda self, source, target, length: None,
        "fill": lambda self, row, prefilled, source, length: fill(self, row, prefilled, source, max(1, length - 2)),
        "mask": lambda self, dtype: mask(self, dtype) * 0,
    }
    monkeypatch.setattr(Slots, broken, faults[broken])
    assert len(differing(completions(local, models["llama"], 8), one_row)) > COUNT // 4


def test_a_model_with_sliding_windows_samples_what_it_scores(local, models: dict[str, Path], tmp_path: Path) -> None:
    """Its rows have no slots: one by one in the model's own cache, past the window of 16 tokens."""
    import torch
    import transformers

    config = transformers.AutoConfig.from_pretrained(models["qwen2"])
    config.use_sliding_window, config.sliding_window, config.max_window_layers = True, 16, 1
    config.layer_types = ["full_attention", "sliding_attention"]
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(models["qwen2"]).save_pretrained(tmp_path)
    backend = local(tmp_path)
    assert not backend.model.engine.full_attention
    requests = ragged_requests()[:12]
    for temperature in (1.0, 0.0):
        sampling = Sampling(temperature=temperature, max_tokens=20, seed=2, stop_ids=STOPS)
        found = {result.id: result for result in backend.sample(requests, sampling)}
        assert {one.finish for one in found.values()} == {"stop", "length"}
        for request in requests:
            logits = naive_logits(tmp_path, request.context + found[request.id].token_ids)[len(request.context) - 1 :]
            sequence = [*found[request.id].token_ids, *STOPS][: len(logits)]
            logprobs = np.take_along_axis(logits, np.array(sequence)[:, None], 1)[:, 0]
            n = len(found[request.id].token_ids)
            np.testing.assert_allclose(found[request.id].logprobs, logprobs[:n], atol=1e-5, rtol=0)
            if temperature == 0.0:
                assert list(found[request.id].token_ids) == logits.argmax(1)[:n].tolist()
                assert (logits.argmax(1)[n] in STOPS) == (found[request.id].finish == "stop") or n == 20
            else:
                draws = uniform_stream(2, request.id).random(n)
                below = np.exp(logits[:n]).cumsum(1)
                assert [int((row <= draw * row[-1]).sum()) for row, draw in zip(below, draws, strict=True)] == sequence[
                    :n
                ]

    adapter = AdapterSettings(rank=8, alpha=16.0, targets=("q_proj", "v_proj", "up_proj"))
    checkpoint = Checkpoint(1, str(write_adapter(tmp_path, tmp_path / "adapter", seed=1)), adapter)
    sampling = Sampling(max_tokens=20, seed=2)
    plain, adapted, again = (
        [result.token_ids for result in backend.sample([replace(r, checkpoint=asked) for r in requests], sampling)]
        for asked in (None, checkpoint, None)
    )
    assert plain == again
    assert plain != adapted


def naive_logits(model: Path, ids: Sequence[int]) -> np.ndarray:
    """Log-probabilities of every next token, by one pass over the whole text."""
    import torch
    import transformers

    loaded = transformers.AutoModelForCausalLM.from_pretrained(model)
    with torch.no_grad():
        return loaded(torch.tensor([ids])).logits[0].double().log_softmax(-1).numpy()


def test_without_a_seed_no_two_calls_are_alike(local, models: dict[str, Path]) -> None:
    backend, sampling = local(models["qwen2"]), Sampling(max_tokens=20, seed=None)
    one, other = (next(iter(backend.sample([SampleRequest("a", (1, 2))], sampling))) for _ in range(2))
    assert one.token_ids != other.token_ids


HALF = [0.5, 0.25, 0.125, 0.125]


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(0.5, [0]), (0.5000001, [0, 1]), (0.75, [0, 1]), (0.875, [0, 1, 2]), (0.9, [0, 1, 2, 3]), (1e-9, [0])],
)
def test_the_fewest_tokens_that_reach_top_p_are_kept(top_p: float, kept: list[int]) -> None:
    """Exact in binary, in another order of columns in each row."""
    rows = torch.tensor([HALF, HALF[::-1]], dtype=torch.float64)
    left = keep_top(rows, top_p)
    assert left[0].tolist() == [p if i in kept else 0.0 for i, p in enumerate(HALF)]
    assert sorted(left[1].tolist()) == sorted(left[0].tolist())
    assert left[1, 3] == 0.5


def test_a_token_is_the_inverse_of_the_cumulative_distribution() -> None:
    logits = torch.tensor([HALF]).log().repeat(6, 1)
    uniform = [0.0, 0.4999, 0.5001, 0.7499, 0.7501, 0.999]
    tokens, logprobs = next_tokens(logits, uniform, Sampling(temperature=1.0))
    assert tokens == [0, 0, 1, 1, 2, 3]
    assert logprobs == pytest.approx([math.log(HALF[token]) for token in tokens])
    assert next_tokens(logits, uniform, Sampling(temperature=0.0))[0] == [0] * 6
    sharp, logprobs = next_tokens(logits, uniform, Sampling(temperature=0.5))  # squares: 16, 4, 1, 1 of 22
    assert sharp == [0, 0, 0, 1, 1, 3]
    assert logprobs == pytest.approx([math.log(HALF[token]) for token in sharp]), "at temperature 1"
    assert next_tokens(logits, uniform, Sampling(top_p=0.75))[0] == [0, 0, 0, 1, 1, 1], "1/3 after two thirds"
    ascending = logits.flip(-1)
    assert next_tokens(ascending, [0.0] * 6, Sampling(top_p=0.4))[0] == [3] * 6, "never one of those left out"
