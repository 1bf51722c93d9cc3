# pyright: reportUnknownMemberType=false
"""VllmBackend: vLLM's engine in this process. Importing this module imports neither vLLM nor torch."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np
from jaxtyping import Float32

from inoc.backends.base import TokenBackend, read_options
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
from inoc.backends.requests import by_checkpoint
from inoc.backends.vllm.adapters import Adapter, engine_rank, read_adapter, trained_on
from inoc.backends.vllm.known_bad import DATA_PARALLEL, NEWEST, check_version, version_text
from inoc.backends.vllm.options import Options
from inoc.errors import BackendRejected, BadInput
from inoc.values import Sampling, Scalar

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from inoc.backends.local.load import Source
    from inoc.backends.vllm.engine import Engine, Setup


class VllmBackend(TokenBackend[Options]):
    """Scores, samples and embeds with vLLM, on one or more cards. It does not train.

    The engine starts on first use. Adapters and embeddings need another kind of engine than plain scoring; only one
    is in memory at a time and changing it takes as long as starting it.
    """

    name: ClassVar[str] = "vllm"
    capabilities: ClassVar[Capabilities] = Capabilities(
        score=True, sample=True, embed=True, adapters=True, echoes_token_ids=True, shares_prefix=True
    )
    libraries: ClassVar[tuple[str, ...]] = ("vllm",)
    extra: ClassVar[str] = "inoc[vllm]"

    def __init__(self, model: ModelSpec) -> None:
        super().__init__(model)
        self.version = version_text()
        self.share_prefix = self.options.share_prefix and check_version(self.version) <= NEWEST
        """Only in versions whose results with cache reads were compared token by token."""
        if (self.options.data_parallel_size or 1) > 1:
            raise BackendRejected(
                f"vLLM option data_parallel_size = {self.options.data_parallel_size}: {DATA_PARALLEL.reason} "
                f"({DATA_PARALLEL.links[0]})."
            )
        self._engine: Engine | None = None
        self._adapters: dict[str, Adapter] = {}
        self._checked: set[str] = set()
        self._identity: dict[str, Scalar] | None = None

    @classmethod
    def parse_options(cls, options: Mapping[str, Scalar] | None) -> Options:
        """BadInput for a wrong option."""
        return read_options(Options, cls.name, options)

    @cached_property
    def source(self) -> "Source":
        """Where the model lies on this machine."""
        from inoc.backends.local import load

        return load.find(self.spec)

    @cached_property
    def _config(self) -> "PretrainedConfig":
        from inoc.backends.local import load

        return load.load_config(self.source)

    def load_tokenizer(self) -> ChatTokenizer:
        """From the model's directory."""
        from inoc.backends.local import load

        return cast(ChatTokenizer, load.load_tokenizer(self.source))

    @property
    def vocabulary(self) -> int:
        return int(self._config.get_text_config().vocab_size)

    @property
    def context_length(self) -> int:
        """One less than the model's: vLLM generates a token after the last scored one."""
        longest = int(self._config.get_text_config().max_position_embeddings)
        return min(longest, self.options.max_model_len or longest) - 1

    def identity(self) -> Mapping[str, Scalar]:
        if self._identity is None:
            from inoc.backends.local import load

            self._identity = {
                **super().identity(),
                "revision": self.source.commit or self.spec.revision,
                "weights": load.weights_hash(self.source.directory),
                "quantization": self.options.quantization,
                "engine": f"vllm {self.version}",
            }
        return self._identity

    def check(self) -> None:
        """That model, configuration and weights are there; the engine is not started."""
        _ = self._config
        if not any(self.source.directory.glob("*.safetensors")):
            raise BadInput(
                f"'{self.source.directory}' holds no safetensors weights; pickled weights are not loaded."
            )

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
        ids = [tuple(self.tokenizer.encode(text)) for text in texts]
        for place, tokens in enumerate(ids):
            if not tokens:
                raise BadInput(f"text {place} to embed is empty.")
            if len(tokens) > self.context_length:
                raise BackendRejected(
                    f"text {place} has {len(tokens)} tokens, more than the context {self.context_length}."
                )
        if not ids:
            return np.zeros((0, int(self._config.get_text_config().hidden_size)), np.float32)
        return self._start(self._setup(embed=True)).embed(ids)

    def _read_adapters(self, checkpoints: Mapping[Checkpoint | None, object]) -> None:
        """Read and check all adapters first: one engine for all, and nothing is computed where one is refused."""
        for checkpoint in checkpoints:
            if checkpoint is None or checkpoint.location is None:
                continue
            self._check_base(checkpoint.location)
            if checkpoint.adapter.kind == "lora" and checkpoint.location not in self._adapters:
                self._adapters[checkpoint.location] = read_adapter(checkpoint.location)

    def _check_base(self, location: str) -> None:
        """BadInput if a checkpoint says that it was trained on another base model."""
        if location in self._checked:
            return
        weights, tokenizer = trained_on(location)
        for field, value in (("weights", weights), ("tokenizer", tokenizer)):
            if value is not None and value != self.identity()[field]:
                raise BadInput(
                    f"the checkpoint '{location}' was trained on a model with other {field} than "
                    f"{self.identity()['model']} has: use the model it was trained on."
                )
        self._checked.add(location)

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
        return Setup(directory or str(self.source.directory), self.spec.dtype, embed, rank)

    def _start(self, wanted: "Setup") -> "Engine":
        """The running engine if it can do this, else a new one in its place."""
        from inoc.backends.vllm.engine import Engine

        if self._engine is None or self._engine.broken or not self._engine.setup.serves(wanted):
            self.close()
            self._engine = Engine(wanted, self.options.engine_arguments())
        return self._engine
