"""A base model on this machine: its files, and from first use the model in memory with its adapters."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import transformers
from transformers import PreTrainedModel

from inoc.backends.local.engine import Engine
from inoc.backends.local.load import choose_device, load_model
from inoc.backends.local.options import Options
from inoc.backends.model_files import ModelFiles
from inoc.backends.protocols import Checkpoint, ModelSpec
from inoc.values import Scalar


class LocalModel(ModelFiles):
    """What scoring, sampling, embedding and training work on; `identity`: what another process found in the files;
    `load`: another way from a directory and a dtype to the model.

    BackendUnavailable where the device is absent, BadInput for a model that does not exist or cannot be read.
    """

    def __init__(
        self,
        spec: ModelSpec,
        options: Options,
        identity: Mapping[str, Scalar] | None = None,
        load: Callable[[Path, str], PreTrainedModel] | None = None,
    ) -> None:
        choose_device(options.device)
        versions = f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}"
        super().__init__(spec, versions, options.quantization)
        self.options, self._load = options, load
        if identity is not None:
            self.identity = dict(identity)
        _ = self.config, self.tokenizer
        self._engine: Engine | None = None
        self._trained: tuple[Checkpoint, Engine] | None = None

    @property
    def engine(self) -> Engine:
        """The base model, loaded on first use."""
        if self._engine is None:
            self._engine = self.load_engine(self.source.directory, self.spec.dtype)
        return self._engine

    def load_engine(self, directory: Path, dtype: str) -> Engine:
        """A model of its own in memory, with the same options."""
        return Engine(self._load(directory, dtype) if self._load else load_model(directory, dtype, self.options))

    def engine_for(self, checkpoint: Checkpoint | None) -> tuple[Engine, Checkpoint | None]:
        """The model to use and the adapter to put on it; a full fine-tuning is a model of its own."""
        if checkpoint is None or checkpoint.location is None:
            return self.engine, None
        self.check_checkpoint(checkpoint)
        if checkpoint.adapter.kind == "lora":
            return self.engine, checkpoint
        if self._trained is None or self._trained[0] != checkpoint:
            self._trained = None
            self._trained = (checkpoint, self.load_engine(Path(checkpoint.location), self.spec.dtype))
        return self._trained[1], None

    def close(self) -> None:
        """Forget the models in memory."""
        self._engine = self._trained = None
