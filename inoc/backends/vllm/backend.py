"""VllmBackend: vLLM's engine in this process. Importing this module imports neither vLLM nor torch."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float32

from inoc.backends.base import TokenBackend
from inoc.backends.model_files import ModelFiles
from inoc.backends.protocols import (
    Capabilities,
    ChatTokenizer,
    Checkpoint,
    Completion,
    ModelSpec,
    SampleRequest,
    ScoreRequest,
    TokenLogprobs,
)
from inoc.backends.requests import by_checkpoint, texts_to_ids
from inoc.backends.vllm.adapters import Adapter, engine_rank, read_adapter
from inoc.backends.vllm.known_bad import DATA_PARALLEL, NEWEST, check_version, version_text
from inoc.backends.vllm.options import Options
from inoc.errors import BackendRejected
from inoc.values import Sampling, Scalar

if TYPE_CHECKING:
    from inoc.backends.vllm.engine import Engine, Setup


class VllmBackend(TokenBackend[Options]):
    """Scores, samples and embeds with vLLM, on one or more cards. It does not train.

    The engine starts on first use. Scoring, adapters and embeddings need different engines; one is in memory at a time,
    and changing it takes as long as starting it. BackendUnavailable where vLLM is missing or too old, BackendRejected
    for an option that it handles wrongly.
    """

    name: ClassVar[str] = "vllm"
    options_class: ClassVar[type[Options]] = Options
    capabilities: ClassVar[Capabilities] = Capabilities(
        score=True, sample=True, embed=True, adapters=True, echoes_token_ids=True, shares_prefix=True
    )
    libraries: ClassVar[tuple[str, ...]] = ("vllm",)
    extra: ClassVar[str] = "inoc[vllm]"

    def __init__(self, model: ModelSpec) -> None:
        super().__init__(model)
        self.version = version_text()
        self.share_prefix = self.options.share_prefix and check_version(self.version) <= NEWEST
        """True only in versions whose results with cache reads were compared token by token."""
        if (self.options.data_parallel_size or 1) > 1:
            raise BackendRejected(
                f"backend.options.data_parallel_size is {self.options.data_parallel_size}: {DATA_PARALLEL}"
            )
        self._engine: Engine | None = None
        self._adapters: dict[str, Adapter] = {}

    @cached_property
    def files(self) -> ModelFiles:
        """The model's files on this machine."""
        return ModelFiles(self.spec, f"vllm {self.version}", self.options.quantization)

    def load_tokenizer(self) -> ChatTokenizer:
        return self.files.tokenizer

    @property
    def vocabulary(self) -> int:
        return self.files.vocabulary

    @property
    def context_length(self) -> int:
        """One less than the model's: vLLM generates a token after the last scored one."""
        longest = self.files.context_length
        return min(longest, self.options.max_model_len or longest) - 1

    def identity(self) -> Mapping[str, Scalar]:
        """Model, weights, tokenizer, template, dtype, quantization, engine and its version."""
        return self.files.identity

    def check(self) -> None:
        """That model, configuration and weights are there; the engine is not started."""
        self.files.check()

    def close(self) -> None:
        """End the engine, so that its memory is free."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def compute_scores(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        """float32 log-softmax."""
        from inoc.backends.vllm.score import score

        groups = by_checkpoint(requests)
        self._read_adapters(groups)
        for checkpoint, group in groups.items():
            engine, adapter = self._engine_for(checkpoint)
            yield from score(engine, group, adapter, share_prefix=self.share_prefix)

    def compute_samples(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        """`logprobs` are the model's at temperature 1: what `score` would return."""
        from inoc.backends.vllm.sample import sample

        groups = by_checkpoint(requests)
        self._read_adapters(groups)
        for checkpoint, group in groups.items():
            engine, adapter = self._engine_for(checkpoint)
            yield from sample(engine, group, adapter, sampling)

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text feature"]:
        """Mean over a text's tokens of the base model's last hidden state, scaled to length 1.

        Starts an engine of its own: one that generates cannot embed.
        """
        ids = texts_to_ids(texts, self.tokenizer, self.context_length)
        if not ids:
            return np.zeros((0, int(self.files.config.hidden_size)), np.float32)
        return self._start(self._setup(embed=True)).embed(ids)

    def _read_adapters(self, checkpoints: Mapping[Checkpoint | None, object]) -> None:
        """Read and check all adapters before any work: they share one engine, and one may be refused."""
        for checkpoint in checkpoints:
            if checkpoint is None or checkpoint.location is None:
                continue
            self.files.check_checkpoint(checkpoint)
            if checkpoint.adapter.kind == "lora" and checkpoint.location not in self._adapters:
                self._adapters[checkpoint.location] = read_adapter(checkpoint.location)

    def _engine_for(self, checkpoint: Checkpoint | None) -> "tuple[Engine, Adapter | None]":
        """The engine to use and the adapter to put on it; a full fine-tuning is a model of its own."""
        if checkpoint is None or checkpoint.location is None:
            return self._start(self._setup()), None
        if checkpoint.adapter.kind == "full":
            return self._start(self._setup(directory=checkpoint.location)), None
        return self._start(self._setup(adapters=True)), self._adapters[checkpoint.location]

    def _setup(self, *, directory: str = "", embed: bool = False, adapters: bool = False) -> "Setup":
        from inoc.backends.vllm.engine import Setup

        rank = engine_rank(max(adapter.rank for adapter in self._adapters.values())) if adapters else 0
        return Setup(directory or str(self.files.source.directory), self.spec.dtype, embed, rank)

    def _start(self, wanted: "Setup") -> "Engine":
        """The running engine if it can do this, else a new one that replaces it."""
        from inoc.backends.vllm.engine import Engine

        if self._engine is None or self._engine.broken or not self._engine.setup.serves(wanted):
            self.close()
            self._engine = Engine(wanted, self.options.engine_arguments())
        return self._engine
