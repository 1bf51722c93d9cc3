# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""LocalBackend: transformers and torch on this machine. Importing this module imports neither."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np
from jaxtyping import Float32

from inoc.backends.base import TokenBackend, read_options
from inoc.backends.local.options import Options
from inoc.backends.protocols import (
    Capabilities,
    ChatTokenizer,
    Checkpoint,
    Completion,
    ModelSpec,
    SampleRequest,
    ScoreRequest,
    TokenLogprobs,
    TrainingEvent,
    TrainingJob,
)
from inoc.backends.requests import by_checkpoint
from inoc.errors import BadInput
from inoc.values import Sampling, Scalar

if TYPE_CHECKING:
    from inoc.backends.local.engine import Engine
    from inoc.backends.local.load import Source

log = logging.getLogger("inoc.backends.local")


class LocalBackend(TokenBackend[Options]):
    """Scores, samples, trains and embeds with a transformers model on this machine's CPU or GPU.

    The model is loaded on first use; `identity`, `tokenizer` and `check` need no weights in memory.
    """

    name: ClassVar[str] = "local"
    capabilities: ClassVar[Capabilities] = Capabilities(
        score=True,
        sample=True,
        train=True,
        embed=True,
        adapters=True,
        echoes_token_ids=True,
        shares_prefix=True,
    )
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "peft", "safetensors")
    extra: ClassVar[str] = "inoc[local]"

    def __init__(self, model: ModelSpec) -> None:
        super().__init__(model)
        from inoc.backends.local import load

        load.choose_device(self.options.device)
        self.source: Source = load.find(model)
        self._config = load.load_config(self.source)
        _ = self.tokenizer  # a wrong one is reported at once
        self._engine: Engine | None = None
        self._trained: tuple[str, Engine] | None = None
        self._checked: set[str] = set()
        self._identity: dict[str, Scalar] | None = None

    @classmethod
    def parse_options(cls, options: Mapping[str, Scalar] | None) -> Options:
        """BadInput for a wrong option."""
        return read_options(Options, cls.name, options)

    def load_tokenizer(self) -> ChatTokenizer:
        """From the model's directory."""
        from inoc.backends.local import load

        return cast(ChatTokenizer, load.load_tokenizer(self.source))

    @property
    def vocabulary(self) -> int:
        return int(self._config.get_text_config().vocab_size)

    @property
    def context_length(self) -> int:
        return int(self._config.get_text_config().max_position_embeddings)

    def identity(self) -> Mapping[str, Scalar]:
        if self._identity is None:
            import torch
            import transformers

            from inoc.backends.local import load

            engine = f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}"
            self._identity = {
                **super().identity(),
                "revision": self.source.commit or self.spec.revision,
                "weights": load.weights_hash(self.source.directory),
                "quantization": self.options.quantization,
                "engine": engine,
            }
        return self._identity

    def take_identity(self, identity: Mapping[str, Scalar]) -> None:
        """Believe another process that has read the same files, instead of reading them all again."""
        self._identity = dict(identity)

    def check(self) -> None:
        """Construction checked device, configuration and tokenizer; this checks that there are weights."""
        if not any(self.source.directory.glob("*.safetensors")):
            raise BadInput(
                f"'{self.source.directory}' holds no safetensors weights; pickled weights are not loaded."
            )

    def close(self) -> None:
        """Forget the model, so that its memory is free."""
        self._engine = self._trained = None

    @property
    def engine(self) -> "Engine":
        """The base model, loaded now if it is not yet."""
        if self._engine is None:
            self._engine = self.load_engine(self.source.directory, self.spec)
        return self._engine

    def compute_scores(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        """float32 log-softmax, results in the cheapest order."""
        from inoc.backends.local.score import score

        for checkpoint, group in by_checkpoint(requests).items():
            engine, adapter = self._engine_for(checkpoint)
            default = 1024 if engine.device.type == "cpu" else 32768
            yield from score(
                engine,
                group,
                adapter,
                batch_tokens=self.options.batch_tokens or default,
                share_prefix=self.options.share_prefix,
            )

    def compute_samples(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        """`logprobs` are the model's at temperature 1 whatever the sampling: what `score` would return."""
        from inoc.backends.local.sample import sample

        for checkpoint, group in by_checkpoint(requests).items():
            engine, adapter = self._engine_for(checkpoint)
            yield from sample(engine, group, adapter, sampling, rows=self.options.rows)

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text feature"]:
        """Mean over a text's tokens of the base model's last hidden state, scaled to length 1."""
        from inoc.backends.local.embed import embed

        return embed(self.engine, self.tokenizer, texts, self.context_length)

    def train(self, job: TrainingJob) -> Iterator[TrainingEvent]:
        """Own loop with a low-rank adapter (PEFT) or all weights; see `inoc.backends.local.train`. With the option
        `processes`, in several of them side by side."""
        if self.options.processes > 1:
            from inoc.backends.local.parallel import train_in_processes

            return train_in_processes(self, job)
        from inoc.backends.local.train import train

        return train(self, job)

    def load_engine(self, directory: Path, spec: ModelSpec) -> "Engine":
        """Another model in memory, with this backend's options."""
        from inoc.backends.local import load
        from inoc.backends.local.engine import Engine

        source = load.Source(directory, None)
        return Engine(load.load_model(source, spec, self.options))

    def check_base(self, location: str) -> None:
        """BadInput if a checkpoint says that it was trained on another base model. Adapters without a manifest
        (of another tool) are taken as they are."""
        from inoc.backends.local.training_files import read_json

        path = Path(location) / "manifest.json"
        if location in self._checked or not path.is_file():
            return
        base = cast(Mapping[str, Scalar], read_json(path).get("base", {}))
        for field in ("weights", "tokenizer"):
            if base.get(field) != self.identity()[field]:
                raise BadInput(
                    f"the checkpoint '{location}' was trained on {base.get('model')} with other {field} than "
                    f"{self.identity()['model']} has: use the model it was trained on."
                )
        self._checked.add(location)

    def _engine_for(self, checkpoint: Checkpoint | None) -> "tuple[Engine, Checkpoint | None]":
        """The model to use and the adapter to put on it; a full fine-tuning is a model of its own."""
        if checkpoint is None or checkpoint.location is None:
            return self.engine, None
        self.check_base(checkpoint.location)
        if checkpoint.adapter.kind == "lora":
            return self.engine, checkpoint
        if self._trained is None or self._trained[0] != checkpoint.location:
            self._trained = None
            self._trained = checkpoint.location, self.load_engine(Path(checkpoint.location), self.spec)
        return self._trained[1], None
