"""What a backend that can look inside its model is asked, and how its answers are verified."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64

from inoc.backends.protocols import Checkpoint, TrainingExample
from inoc.errors import BadInput, BadResult

ProbeKind = Literal["gradient", "activation", "logits"]


@dataclass(frozen=True)
class ProbeSpec:
    """What is looked at.

    Attributes:
        kind: `gradient` of the mean loss per token, `activation`: hidden states, `logits` of the first answer token.
        layers: Of hidden states, 0 is the embedding; () for four that are spread over the depth.
        pooling: Hidden states of the last prompt token, or their mean over the answer.
        weights: The gradient is of all matrices except embeddings and output layer, or of LoRA's second factors at
            initialization, which is what fits the memory of a large model.
        rank: Of LoRA.
        dimension: Of the random projection of a gradient.
        seed: Of LoRA's first factors and of the projection.
        checkpoint: Whose weights; None for the base model.
    """

    kind: ProbeKind
    layers: tuple[int, ...] = ()
    pooling: Literal["prompt", "answer"] = "prompt"
    weights: Literal["lora", "all"] = "lora"
    rank: int = 32
    dimension: int = 4096
    seed: int = 0
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True)
class ProbeGroup:
    """Examples that are looked at together; of a gradient that of `less` is subtracted. The first weight above 0 of an
    example is the first token of its answer."""

    id: str
    examples: tuple[TrainingExample, ...]
    less: tuple[TrainingExample, ...] = ()


@dataclass(frozen=True)
class Gradient:
    """The gradient g of a group, by numbers: its norm, its products with the reference gradients r (g . r), those of
    its signs (sign g . r), and a random projection of it. Nats."""

    id: str
    norm: float
    products: Float64[np.ndarray, " reference"]
    sign_products: Float64[np.ndarray, " reference"]
    sketch: Float32[np.ndarray, " component"]


@dataclass(frozen=True)
class Activations:
    """Hidden states of the examples of a group, at these layers."""

    id: str
    layers: tuple[int, ...]
    values: Float32[np.ndarray, "example layer feature"]


@dataclass(frozen=True)
class FirstTokens:
    """Log-probabilities of the first answer token over the vocabulary, for the examples of a group, in nats."""

    id: str
    logprobs: Float32[np.ndarray, "example vocabulary"]


Probed = Gradient | Activations | FirstTokens


@runtime_checkable
class Prober(Protocol):
    def probe(
        self, spec: ProbeSpec, groups: Sequence[ProbeGroup], references: Sequence[ProbeGroup] = ()
    ) -> Iterator[Probed]:
        """The references, which only gradients have, then the groups, each exactly once and in order."""
        ...


def refuse_impossible_probe(spec: ProbeSpec, groups: Iterable[ProbeGroup], context_length: int) -> None:
    """BadInput for a group that nothing can be said about."""
    for group in groups:
        if not group.examples:
            raise BadInput(f"probe group '{group.id}' has no example. Fix: give it one.")
        for example in (*group.examples, *group.less):
            if len(example.token_ids) > context_length:
                raise BadInput(
                    f"'{example.id}' has {len(example.token_ids)} tokens; the model's context is {context_length}. "
                    "Fix: shorten or remove it."
                )
            if not answer_start(example):
                raise BadInput(f"'{example.id}' has no context or no answer. Fix: remove it.")
    if spec.rank < 1 or spec.dimension < 1 or any(layer < 0 for layer in spec.layers):
        raise BadInput("a probe's rank and dimension are at least 1 and its layers at least 0. Fix: correct them.")


def answer_start(example: TrainingExample) -> int:
    """Where the answer begins: the tokens before it are the context; 0 where there is none."""
    return next((i for i, weight in enumerate(example.weights) if weight > 0), 0)


def check_probes(
    spec: ProbeSpec, groups: Sequence[ProbeGroup], references: Sequence[ProbeGroup], results: Iterable[Probed]
) -> Iterator[Probed]:
    """Pass on results that can be correct: of the kind and group asked for, one row per example, every number finite;
    else BadResult, which names the group."""
    kinds: Mapping[ProbeKind, type[Probed]] = {"gradient": Gradient, "activation": Activations, "logits": FirstTokens}
    asked = (*references, *groups)
    received = iter(results)
    for group in asked:
        found = next(received, None)
        if found is None or found.id != group.id or type(found) is not kinds[spec.kind]:
            raise BadResult(f"the probe of '{group.id}' was answered with another. Fix: use a backend that works.")
        if isinstance(found, Gradient):
            shapes = found.products.shape, found.sign_products.shape, found.sketch.shape
            fits = shapes == ((len(references),), (len(references),), (spec.dimension,))
            values = np.concatenate([[found.norm], found.products, found.sign_products, found.sketch])
        else:
            values = found.values if isinstance(found, Activations) else found.logprobs
            fits = values.shape[0] == len(group.examples)
        if not fits or not np.isfinite(values).all():
            raise BadResult(
                f"the probe of '{group.id}' has values of wrong shape, or not finite. Fix: use a backend that works."
            )
        yield found
