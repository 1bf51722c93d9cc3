# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Looking inside the model: gradients as products and projections, hidden states, the first token's distribution."""

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Float32

from inoc.backends.local.engine import Engine
from inoc.backends.local.score import is_out_of_memory
from inoc.backends.local.train import summed_loss
from inoc.backends.probing import Activations, FirstTokens, Gradient, Probed, ProbeGroup, ProbeSpec, answer_start
from inoc.backends.protocols import Checkpoint, TrainingExample
from inoc.errors import BackendRejected, BadInput

Flat = list[torch.Tensor]
"""One float32 tensor per weight."""
Work = Callable[[Sequence[TrainingExample]], list[torch.Tensor]]


def probe(
    engine: Engine,
    adapter: Checkpoint | None,
    spec: ProbeSpec,
    groups: Sequence[ProbeGroup],
    references: Sequence[ProbeGroup],
    batch_tokens: int,
) -> Iterator[Probed]:
    """Results of the references, then of the groups, in order, of a model with an adapter or without."""
    if spec.kind == "gradient":
        yield from _gradients(partial(_gradient, engine, adapter, spec, batch_tokens), spec, groups, references)
        return
    layers, whole = _layers(engine, spec), spec.pooling == "answer"
    look: Work = (
        (lambda part: _hidden(engine, part, layers, whole))
        if spec.kind == "activation"
        else (lambda part: _first_tokens(engine, part))
    )
    for group in groups:
        # the consumer may have activated an adapter since the last group
        engine.activate(adapter)
        with torch.inference_mode():
            values = torch.stack(_in_batches(group.examples, batch_tokens, look)).numpy()
        found = Activations(group.id, layers, values) if spec.kind == "activation" else FirstTokens(group.id, values)
        yield found


def _in_batches(examples: Sequence[TrainingExample], batch_tokens: int, work: Work) -> list[torch.Tensor]:
    """A tensor per example, in their order, from work on batches of similar lengths."""
    order = sorted(range(len(examples)), key=lambda i: -len(examples[i].token_ids))
    found: list[torch.Tensor] = [torch.empty(0)] * len(examples)
    at = 0
    while at < len(order):
        rows = max(1, batch_tokens // len(examples[order[at]].token_ids))
        part = order[at : at + rows]
        try:
            values = work([examples[i] for i in part])
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if len(part) == 1:
                raise BackendRejected(_too_large(examples[part[0]])) from None
            batch_tokens = batch_tokens // 2
            continue
        for i, value in zip(part, values, strict=True):
            found[i] = value
        at += len(part)
    return found


def _too_large(example: TrainingExample) -> str:
    return (
        f"'{example.id}' alone ({len(example.token_ids)} tokens) does not fit the memory with the model. "
        "Fix: use a smaller model, dtype bfloat16 or probe.weights: lora."
    )


def _contexts(engine: Engine, examples: Sequence[TrainingExample], whole: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded ids of the contexts (or of context and answer), and their positions."""
    lengths = [len(e.token_ids) if whole else answer_start(e) for e in examples]
    ids = torch.zeros(len(examples), max(lengths), dtype=torch.int64)
    for row, (example, length) in enumerate(zip(examples, lengths, strict=True)):
        ids[row, :length] = torch.tensor(example.token_ids[:length])
    positions = torch.arange(ids.shape[1])[None].expand(len(examples), -1)
    return ids.to(engine.device), positions.to(engine.device)


def _layers(engine: Engine, spec: ProbeSpec) -> tuple[int, ...]:
    depth = int(engine.text_config.num_hidden_layers)
    if wrong := [layer for layer in spec.layers if layer > depth]:
        raise BadInput(f"layer {wrong[0]} is probed, the model has {depth}. Fix: correct probe.layers.")
    return spec.layers or tuple(sorted({max(1, round(depth * k / 4)) for k in (1, 2, 3, 4)}))


def _hidden(
    engine: Engine, examples: Sequence[TrainingExample], layers: Sequence[int], whole: bool
) -> list[Float[torch.Tensor, "layer feature"]]:
    ids, positions = _contexts(engine, examples, whole)
    out = engine.decoder(input_ids=ids, position_ids=positions, output_hidden_states=True, use_cache=False)
    states = [cast(torch.Tensor, out.hidden_states[layer]) for layer in layers]
    found: list[torch.Tensor] = []
    for row, example in enumerate(examples):
        start = answer_start(example)
        places = slice(start, len(example.token_ids)) if whole else slice(start - 1, start)
        found.append(torch.stack([state[row, places].float().mean(0).cpu() for state in states]))
    return found


def _first_tokens(engine: Engine, examples: Sequence[TrainingExample]) -> list[Float32[torch.Tensor, " vocabulary"]]:
    ids, positions = _contexts(engine, examples, False)
    rows, last = torch.arange(len(examples)), torch.tensor([answer_start(e) - 1 for e in examples])
    if engine.projects_rows:
        hidden = engine.hidden(ids, positions)
        logits = engine.logits(hidden[rows.to(hidden.device), last.to(hidden.device)])
    else:
        logits = engine.whole_logits(ids, positions)[rows.to(ids.device), last.to(ids.device)]
    return list(logits.log_softmax(-1).cpu())


# gradients


def _gradients(
    gradient: Callable[[ProbeGroup], Flat],
    spec: ProbeSpec,
    groups: Sequence[ProbeGroup],
    references: Sequence[ProbeGroup],
) -> Iterator[Gradient]:
    known = [gradient(group) for group in references]
    for group, flat in zip(references, known, strict=True):
        yield _numbers(group.id, spec, flat, known)
    for group in groups:
        yield _numbers(group.id, spec, gradient(group), known)


def _gradient(
    engine: Engine, adapter: Checkpoint | None, spec: ProbeSpec, batch_tokens: int, group: ProbeGroup
) -> Flat:
    """The gradient of a group's mean loss per token; never kept longer than it is needed."""
    engine.activate(adapter)
    with _weights(engine, spec) as weights:
        flat = _mean_gradient(engine, weights, group.examples, batch_tokens)
        if group.less:
            other = _mean_gradient(engine, weights, group.less, batch_tokens)
            flat = [mine - less for mine, less in zip(flat, other, strict=True)]
    return flat


def _mean_gradient(
    engine: Engine, weights: Sequence[torch.Tensor], examples: Sequence[TrainingExample], batch_tokens: int
) -> Flat:
    total = sum(sum(example.weights) for example in examples)
    flat = [torch.zeros(weight.shape, dtype=torch.float32, device=weight.device) for weight in weights]

    def add(part: Sequence[TrainingExample]) -> list[torch.Tensor]:
        with torch.enable_grad():
            found = torch.autograd.grad(summed_loss(engine, part) / total, list(weights))
        for mine, more in zip(flat, found, strict=True):
            mine += more
        return [torch.empty(0)] * len(part)

    _in_batches(examples, batch_tokens, add)
    return flat


def _numbers(id: str, spec: ProbeSpec, flat: Flat, known: Sequence[Flat]) -> Gradient:
    def product(one: Iterable[torch.Tensor], other: Flat) -> float:
        return sum(float((a * b).sum(dtype=torch.float64)) for a, b in zip(one, other, strict=True))

    return Gradient(
        id,
        product(flat, flat) ** 0.5,
        np.array([product(flat, other) for other in known], np.float64),
        np.array([product((values.sign() for values in flat), other) for other in known], np.float64),
        sketch(flat, spec.dimension, spec.seed),
    )


def sketch(flat: Sequence[torch.Tensor], dimension: int, seed: int) -> Float32[np.ndarray, " component"]:
    """A count sketch: every number is added, with a random sign, to a random component.

    The product of two sketches is that of the whole vectors in expectation, with a variance of at most
    (|a|^2 |b|^2 + (a . b)^2) / dimension.
    """
    out = torch.zeros(dimension, dtype=torch.float64)
    for number, values in enumerate(flat):
        generator = torch.Generator().manual_seed(_seed(seed, f"projection {number}"))
        drawn = torch.randint(2 * dimension, (values.numel(),), generator=generator)
        signed = values.detach().cpu().flatten().double() * (drawn % 2 * 2 - 1)
        out.index_add_(0, drawn // 2, signed)
    return out.float().numpy()


def _seed(seed: int, what: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{what}".encode(), digest_size=7).digest(), "little")


@contextmanager
def _weights(engine: Engine, spec: ProbeSpec) -> Generator[list[torch.Tensor]]:
    """The weights whose gradient is taken; the model is left unchanged."""
    embedding = engine.model.get_input_embeddings()
    outside = {id(module) for module in (embedding, engine.model.get_output_embeddings())}
    inside = [(name, m) for name, m in engine.model.named_modules() if id(m) not in outside and "lora_" not in name]
    if spec.weights == "lora":
        linear = [(name, m) for name, m in inside if isinstance(m, torch.nn.Linear)]
        if not linear:
            raise BackendRejected("the model has no linear layer for LoRA. Fix: set probe.weights: all.")
        with _lora(linear, spec) as factors:
            yield factors
        return
    plain = [m for _, m in inside if not isinstance(m, torch.nn.Embedding)]
    matrices = list(dict.fromkeys(p for m in plain for p in m.parameters(recurse=False) if p.ndim == 2))
    if any(not p.dtype.is_floating_point for p in matrices):
        raise BackendRejected("quantized weights have no gradient. Fix: set probe.weights: lora.")
    was = [p.requires_grad for p in matrices]
    try:
        for p in matrices:
            p.requires_grad_(True)
        yield list(matrices)
    finally:
        for p, before in zip(matrices, was, strict=True):
            p.requires_grad_(before)


@contextmanager
def _lora(linear: Sequence[tuple[str, torch.nn.Linear]], spec: ProbeSpec) -> Generator[list[torch.Tensor]]:
    """Second factors B = 0 of LoRA on every linear layer, as hooks: nothing is added to the model's memory but B's
    gradient. The first factors are uniform as PEFT draws them."""
    factors: list[torch.Tensor] = []
    handles: list[torch.utils.hooks.RemovableHandle] = []

    def hook(a: torch.Tensor, b: torch.Tensor) -> Callable[..., torch.Tensor]:
        def add(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            low = torch.nn.functional.linear(inputs[0].float(), a)
            return output + torch.nn.functional.linear(low, b).to(output.dtype)

        return add

    try:
        for name, module in linear:
            device, bound = module.weight.device, module.in_features**-0.5
            generator = torch.Generator().manual_seed(_seed(spec.seed, f"lora {name}"))
            a = (torch.rand(spec.rank, module.in_features, generator=generator) * 2 - 1) * bound
            b = torch.zeros(module.out_features, spec.rank, device=device, requires_grad=True)
            factors.append(b)
            handles.append(module.register_forward_hook(hook(a.to(device), b)))
        yield factors
    finally:
        for handle in handles:
            handle.remove()
