"""LocalBackend: transformers and torch on this machine. Importing this module imports neither."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float32

from inoc.backends.base import TokenBackend
from inoc.backends.local.options import Options
from inoc.backends.probing import Probed, ProbeGroup, ProbeSpec, refuse_impossible_probe
from inoc.backends.protocols import (
    Capabilities,
    ChatTokenizer,
    Completion,
    ModelSpec,
    SampleRequest,
    ScoreRequest,
    TokenLogprobs,
    TrainingEvent,
    TrainingJob,
)
from inoc.backends.requests import by_checkpoint, texts_to_ids
from inoc.errors import BadInput
from inoc.values import Sampling, Scalar

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

    from inoc.backends.local.model import LocalModel


class LocalBackend(TokenBackend[Options]):
    """Scores, samples, trains, embeds and probes with a transformers model on this machine's CPU or GPU.

    A backend that loads its model differently inherits from it, overrides `load` and says so in `identity`; one that
    trains differently overrides `train`. Scores, samples, adapters and probes stay.

    The model is loaded on first use; `identity`, `tokenizer` and `check` need no weights in memory. BadInput for a
    wrong model or option, BackendUnavailable where the device is absent.
    """

    name: ClassVar[str] = "local"
    options_class: ClassVar[type[Options]] = Options
    capabilities: ClassVar[Capabilities] = Capabilities(
        score=True,
        sample=True,
        train=True,
        embed=True,
        probe=True,
        adapters=True,
        echoes_token_ids=True,
        shares_prefix=True,
        merges=True,
    )
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "peft", "safetensors")
    extra: ClassVar[str] = "inoc[local]"

    def __init__(self, model: ModelSpec) -> None:
        super().__init__(model)
        _ = self.model  # a wrong one is reported at once

    @cached_property
    def model(self) -> "LocalModel":
        """The base model: its files and, from first use, its weights."""
        from inoc.backends.local.model import LocalModel

        own = type(self).load is not LocalBackend.load
        if own and self.options.processes > 1:
            raise BadInput(f"the backend {self.name} trains in one process. Fix: remove backend.options.processes.")
        return LocalModel(self.spec, self.options, load=self.load if own else None)

    def load(self, directory: "Path", dtype: str) -> "PreTrainedModel":
        """The causal language model in a directory, in evaluation mode on its device.

        Args:
            directory: Of the base model, or of a checkpoint with all weights.
            dtype: float32, bfloat16 or float16.
        """
        from inoc.backends.local.load import load_model

        return load_model(directory, dtype, self.options)

    def load_tokenizer(self) -> ChatTokenizer:
        return self.model.tokenizer

    @property
    def vocabulary(self) -> int:
        return self.model.vocabulary

    @property
    def context_length(self) -> int:
        return self.model.context_length

    def identity(self) -> Mapping[str, Scalar]:
        """Model, weights, tokenizer, template, dtype, quantization, engine and its version."""
        return self.model.identity

    def check(self) -> None:
        """Construction checked device, configuration and tokenizer; this checks that there are weights."""
        self.model.check()

    def close(self) -> None:
        """Forget the model, so that its memory is free."""
        self.model.close()

    def compute_scores(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        """float32 log-softmax, results in the cheapest order."""
        from inoc.backends.local.score import score

        for checkpoint, group in by_checkpoint(requests).items():
            engine, adapter = self.model.engine_for(checkpoint)
            tokens = self.options.batch_tokens or (1024 if engine.device.type == "cpu" else 32768)
            yield from score(engine, group, adapter, batch_tokens=tokens, share_prefix=self.options.share_prefix)

    def compute_samples(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        """`logprobs` are the model's at temperature 1 whatever the sampling: what `score` would return."""
        from inoc.backends.local.sample import sample

        for checkpoint, group in by_checkpoint(requests).items():
            engine, adapter = self.model.engine_for(checkpoint)
            yield from sample(engine, group, adapter, sampling, rows=self.options.rows)

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text feature"]:
        """Mean over a text's tokens of the base model's last hidden state, scaled to length 1."""
        from inoc.backends.local.embed import embed

        return embed(self.model.engine, texts_to_ids(texts, self.tokenizer, self.context_length))

    def probe(
        self, spec: ProbeSpec, groups: Sequence[ProbeGroup], references: Sequence[ProbeGroup] = ()
    ) -> Iterator[Probed]:
        """Gradients, hidden states or first tokens of the model; a backward pass per batch, nothing stored whole.

        Raises:
            BadInput: Before any work: an impossible example, or layers that the model lacks.
            BackendRejected: One example does not fit the memory, or the weights have no gradient.
        """
        from inoc.backends.local.probe import probe

        refuse_impossible_probe(spec, (*references, *groups), self.context_length)
        engine, adapter = self.model.engine_for(spec.checkpoint)
        tokens = self.options.batch_tokens or (1024 if engine.device.type == "cpu" else 8192)
        return probe(engine, adapter, spec, groups, references, tokens)

    def train(self, job: TrainingJob) -> Iterator[TrainingEvent]:
        """A low-rank adapter (PEFT) or all weights; with the option `processes`, in that many processes."""
        if self.options.processes > 1:
            from inoc.backends.local.parallel import train_in_processes

            return train_in_processes(self.model, job)
        from inoc.backends.local.train import train

        return train(self.model, job)
