"""Probes of the local backend against autograd written out, PEFT and transformers' own hidden states."""

from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from inoc.backends.local.probe import sketch
from inoc.backends.probing import Activations, FirstTokens, Gradient, ProbeGroup, ProbeSpec, check_probes
from inoc.backends.protocols import TrainingExample
from inoc.errors import BadInput, BadResult


def examples(seed: int, n: int = 6) -> tuple[TrainingExample, ...]:
    random = np.random.default_rng(seed)
    found = []
    for i in range(n):
        context, answer = int(random.integers(1, 9)), int(random.integers(1, 12))
        ids = tuple(int(t) for t in random.integers(3, 60, size=context + answer))
        found.append(TrainingExample(f"{seed}/{i}", ids, (0.0,) * context + (1.0,) * answer))
    return tuple(found)


GROUPS = (ProbeGroup("one", examples(1)), ProbeGroup("two", examples(2, 3)))
REFERENCES = (ProbeGroup("none", examples(3)), ProbeGroup("trait", examples(4), examples(5)))


def plain(directory: Path, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(directory, dtype=dtype).eval()


def mean_loss(model: torch.nn.Module, group: tuple[TrainingExample, ...]) -> torch.Tensor:
    """One example at a time, without padding: the sum of -log p of the answer's tokens over their number."""
    total, count = torch.zeros(()), 0
    for e in group:
        logits = model(input_ids=torch.tensor([e.token_ids])).logits[0, :-1].log_softmax(-1)
        start = e.weights.index(1.0)
        for place in range(start, len(e.token_ids)):
            total, count = total - logits[place - 1, e.token_ids[place]], count + 1
    return total / count


def written_out(directory: Path, group: ProbeGroup) -> np.ndarray:
    """The gradient over all matrices but embedding and output layer, by autograd."""
    model = plain(directory)
    names = [n for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n and "lm_head" not in n]
    weights = [dict(model.named_parameters())[n] for n in names]
    loss = mean_loss(model, group.examples)
    if group.less:
        loss = loss - mean_loss(model, group.less)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)]).double().numpy()


def probed(backend, spec: ProbeSpec, groups=GROUPS, references=()) -> list:
    return list(check_probes(spec, groups, references, backend.probe(spec, groups, references)))


# the gradients are torch's, whatever the style
@pytest.mark.parametrize("style", ["gemma", *(pytest.param(s, marks=pytest.mark.slow) for s in ("llama", "qwen2"))])
def test_full_gradients_equal_autograd_written_out(local, models: dict[str, Path], style: str) -> None:
    backend = local(models[style], batch_tokens=40)
    found = probed(backend, ProbeSpec("gradient", weights="all", dimension=64), GROUPS, REFERENCES)
    assert [g.id for g in found] == ["none", "trait", "one", "two"]
    references = [written_out(models[style], group) for group in REFERENCES]
    for result, group in zip(found, (*REFERENCES, *GROUPS), strict=True):
        assert isinstance(result, Gradient)
        g = written_out(models[style], group)
        np.testing.assert_allclose(result.norm, np.linalg.norm(g), rtol=1e-4)
        scale = [np.linalg.norm(g) * np.linalg.norm(r) for r in references]
        np.testing.assert_allclose(result.products, [g @ r for r in references], atol=1e-4 * max(scale))
        signed = [np.sign(g) @ r for r in references]
        # a number that rounds around 0 may have either sign
        np.testing.assert_allclose(result.sign_products, signed, atol=5e-3 * max(np.abs(r).sum() for r in references))
    assert not any(p.requires_grad and p.grad is not None for p in backend.model.engine.model.parameters())


def test_lora_gradients_equal_peft(local, models: dict[str, Path]) -> None:
    """B's gradient of a PEFT adapter with the same first factors."""
    spec = ProbeSpec("gradient", weights="lora", rank=4, dimension=16, seed=5)
    found = probed(local(models["qwen2"]), spec, GROUPS, REFERENCES)
    model = plain(models["qwen2"])
    targets = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n != "lm_head"]
    config = peft.LoraConfig(r=4, lora_alpha=4, target_modules=targets, bias="none")
    wrapped = peft.get_peft_model(model, config).eval()
    from inoc.backends.local.probe import _seed

    parameters = dict(wrapped.named_parameters())
    for name in targets:
        weight = parameters[f"base_model.model.{name}.lora_A.default.weight"]
        generator = torch.Generator().manual_seed(_seed(5, f"lora {name}"))
        drawn = (torch.rand(*weight.shape, generator=generator) * 2 - 1) * weight.shape[1] ** -0.5
        assert weight.abs().max() <= weight.shape[1] ** -0.5  # PEFT draws from the same interval
        weight.data.copy_(drawn)
    second = [p for n, p in parameters.items() if "lora_B" in n]

    def gradient(group: ProbeGroup) -> np.ndarray:
        loss = mean_loss(wrapped, group.examples) - (mean_loss(wrapped, group.less) if group.less else 0)
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, second)]).double().numpy()

    wanted = {group.id: gradient(group) for group in (*REFERENCES, *GROUPS)}
    for result in found:
        g = wanted[result.id]
        np.testing.assert_allclose(result.norm, np.linalg.norm(g), rtol=1e-4)
        np.testing.assert_allclose(result.products[0], g @ wanted["none"], atol=1e-4 * np.linalg.norm(g) ** 2)


def test_projections_keep_products_within_their_error() -> None:
    """Over 300 seeds: unbiased, and with the variance that the theory gives."""
    random = np.random.default_rng(0)
    a, b = random.normal(size=500), random.normal(size=500)
    b += a
    dimension = 64
    parts = [[torch.tensor(x[:200]), torch.tensor(x[200:]).reshape(3, 100)] for x in (a, b)]
    found = np.array([sketch(parts[0], dimension, s) @ sketch(parts[1], dimension, s) for s in range(300)])
    variance = ((a @ a) * (b @ b) + (a @ b) ** 2 - 2 * (a**2 * b**2).sum()) / dimension
    assert abs(found.mean() - a @ b) < 4 * np.sqrt(variance / 300)
    assert 0.75 < found.var(ddof=1) / variance < 1.3
    assert np.array_equal(sketch(parts[0], 64, 3), sketch(parts[0], 64, 3))
    assert not np.array_equal(sketch(parts[0], 64, 3), sketch(parts[0], 64, 4))


def test_the_stored_projection_gives_the_cosine(local, models: dict[str, Path]) -> None:
    found = probed(local(models["llama"]), ProbeSpec("gradient", weights="all"), GROUPS, REFERENCES)
    none, one = found[0], found[2]
    exact = one.products[0] / (one.norm * none.norm)
    rough = one.sketch @ none.sketch / (one.norm * none.norm)
    assert abs(rough - exact) < 4 * np.sqrt((1 + exact**2) / 4096)


@pytest.mark.parametrize("pooling", ["prompt", "answer"])
def test_activations_equal_transformers_hidden_states(local, models: dict[str, Path], style: str, pooling) -> None:
    found = probed(local(models[style], batch_tokens=30), ProbeSpec("activation", (0, 1, 2), pooling))
    model = plain(models[style])
    for result, group in zip(found, GROUPS, strict=True):
        assert isinstance(result, Activations)
        assert result.layers == (0, 1, 2)
        for row, e in zip(result.values, group.examples, strict=True):
            start = e.weights.index(1.0)
            with torch.no_grad():
                states = model(input_ids=torch.tensor([e.token_ids]), output_hidden_states=True).hidden_states
            places = slice(start - 1, start) if pooling == "prompt" else slice(start, None)
            wanted = np.stack([states[layer][0, places].mean(0).numpy() for layer in (0, 1, 2)])
            np.testing.assert_allclose(row, wanted, atol=1e-4 * np.abs(wanted).max())


def test_first_tokens_equal_a_forward_pass(local, models: dict[str, Path], style: str) -> None:
    found = probed(local(models[style], batch_tokens=30), ProbeSpec("logits"))
    model = plain(models[style])
    for result, group in zip(found, GROUPS, strict=True):
        assert isinstance(result, FirstTokens)
        for row, e in zip(result.logprobs, group.examples, strict=True):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([e.token_ids[: e.weights.index(1.0)]])).logits[0, -1]
            np.testing.assert_allclose(row, logits.log_softmax(-1).numpy(), atol=1e-4)
            np.testing.assert_allclose(np.exp(row.astype(np.float64)).sum(), 1, rtol=1e-4)


def test_the_batch_changes_nothing_but_rounding_and_the_model_is_left_alone(local, models: dict[str, Path]) -> None:
    small, large = (local(models["qwen2"], batch_tokens=tokens) for tokens in (8, 4096))
    spec = ProbeSpec("gradient", dimension=16)
    for one, two in zip(probed(small, spec, GROUPS, REFERENCES), probed(large, spec, GROUPS, REFERENCES), strict=True):
        np.testing.assert_allclose(one.sketch, two.sketch, atol=1e-4 * one.norm)
    again = probed(large, spec, GROUPS, REFERENCES)
    assert np.array_equal(again[2].sketch, probed(large, spec, GROUPS, REFERENCES)[2].sketch)
    assert not any(m._forward_hooks for m in large.model.engine.model.modules())


def test_out_of_memory_halves_the_batch(local, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import inoc.backends.local.probe as module

    backend, sizes = local(models["qwen2"]), []
    right = module.summed_loss

    def scarce(engine, part):
        sizes.append(len(part))
        if len(part) > 2:
            raise torch.OutOfMemoryError("no")
        return right(engine, part)

    wanted = probed(backend, ProbeSpec("gradient", dimension=16), GROUPS)
    monkeypatch.setattr(module, "summed_loss", scarce)
    found = probed(backend, ProbeSpec("gradient", dimension=16), GROUPS)
    assert max(sizes) > 2
    for one, two in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.norm, two.norm, rtol=1e-5)


def test_refusals(local, models: dict[str, Path]) -> None:
    backend = local(models["qwen2"])
    empty = TrainingExample("e", (1, 2), (0.0, 0.0))
    for group, said in ((ProbeGroup("g", ()), "no example"), (ProbeGroup("g", (empty,)), "no context or no answer")):
        with pytest.raises(BadInput, match=said):
            backend.probe(ProbeSpec("logits"), [group])
    with pytest.raises(BadInput, match="layer 99 is probed"):
        list(backend.probe(ProbeSpec("activation", (99,)), GROUPS))


@pytest.mark.parametrize("fault", ["order", "missing", "nan", "kind"])
def test_wrong_results_are_refused(local, models: dict[str, Path], fault: str) -> None:
    spec = ProbeSpec("gradient", dimension=8)
    right = probed(local(models["qwen2"]), spec)
    nan = Gradient("one", np.nan, right[0].products, right[0].sign_products, right[0].sketch)
    wrong = {
        "order": right[::-1],
        "missing": right[:1],
        "nan": [nan, right[1]],
        "kind": [FirstTokens("one", np.zeros((6, 4), np.float32)), right[1]],
    }[fault]
    with pytest.raises(BadResult):
        list(check_probes(spec, GROUPS, (), wrong))
