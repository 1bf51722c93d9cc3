# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""The weights that are trained: an adapter on the backend's own model, or a float32 copy of the whole model."""

import json
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import cast

import peft
import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from inoc.backends.library_errors import first_line
from inoc.backends.local.engine import Engine, without_peft_deprecation
from inoc.backends.local.load import DTYPES, quiet
from inoc.backends.local.model import LocalModel
from inoc.backends.protocols import AdapterSettings, TrainingJob
from inoc.backends.streams import update_seed
from inoc.errors import BackendRejected, BadInput
from inoc.hashing import content_hash

log = logging.getLogger("inoc.backends.local")


class Trainable(ABC):
    """What the update loop needs: the model, the trained weights by name, how to save and release them."""

    engine: Engine
    weights: Mapping[str, torch.nn.Parameter]
    half: torch.dtype | None
    """Arithmetic of the forward pass where it is not the weights' own (bfloat16 with float32 weights)."""

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        return list(self.weights.values())

    @contextmanager
    def training(self, seed: int, number: int, rank: int) -> Generator[None]:
        """Training mode and the random stream of one update in one process; the model is left ready to score."""
        devices = [self.engine.device] if self.engine.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(update_seed(seed, number, rank))
            self.activate()
            self.engine.model.train()
            try:
                yield
            finally:
                self.engine.model.eval()

    @abstractmethod
    def activate(self) -> None:
        """Make the trained weights the active ones: scoring may have activated an adapter since the last update."""

    @abstractmethod
    def save(self, folder: Path) -> None: ...

    @abstractmethod
    def release(self) -> None: ...


class Adapter(Trainable):
    """A low-rank adapter on the base model that also scores and samples; the base stays frozen and shared."""

    def __init__(self, engine: Engine, job: TrainingJob, model_id: str, half: torch.dtype | None) -> None:
        self.engine, self.half = engine, half
        self.name = "training_" + content_hash(job.id, job.directory)
        self.config = adapter_config(job.adapter, model_id)
        devices = [engine.device] if engine.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(job.seed)
            try:
                self._attach(None if job.start is None else job.start.location)
            except ValueError as error:
                raise BadInput(
                    f"the adapter settings of training '{job.id}' do not fit the model: {first_line(error)}"
                ) from None
        marker = f".{self.name}."
        named = engine.model.named_parameters()
        self.weights = {name.replace(marker, "."): weight for name, weight in named if marker in f"{name}."}
        engine.model.requires_grad_(False)
        if job.gradient_checkpointing:
            recompute_activations(engine.model, True)
        self.checkpointing = job.gradient_checkpointing

    def _attach(self, start: str | None) -> None:
        engine = self.engine
        if engine.peft is None:
            # without a model name: PEFT would write its own there and warn about it
            nameless = replace(self.config, base_model_name_or_path=None)
            with without_peft_deprecation():
                wrapped = peft.get_peft_model(engine.model, nameless, adapter_name=self.name)
            engine.peft = cast(peft.PeftModel, wrapped)
        else:
            engine.peft.add_adapter(self.name, replace(self.config))
        if start is not None:
            from peft.utils.save_and_load import load_peft_weights, set_peft_model_state_dict

            weights = load_peft_weights(start, device="cpu")
            missing = set_peft_model_state_dict(engine.peft, weights, adapter_name=self.name)
            if missing.unexpected_keys:
                raise ValueError(
                    f"the starting adapter has weights that this one does not have: {missing.unexpected_keys[0]}"
                )

    def activate(self) -> None:
        self.engine.activate_named(self.name)

    def save(self, folder: Path) -> None:
        assert self.engine.peft is not None
        # inoc never resizes a vocabulary; PEFT's "auto" would ask the model hub about it
        state = peft.get_peft_model_state_dict(self.engine.peft, adapter_name=self.name, save_embedding_layers=False)
        tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
        save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
        config = copy(self.config)
        if not isinstance(names := config.target_modules, str):  # PEFT has a set, whose order differs between processes
            config.target_modules = sorted(names or ())
        config.save_pretrained(str(folder))

    def release(self) -> None:
        assert self.engine.peft is not None
        if self.checkpointing:
            recompute_activations(self.engine.model, False)
        with warnings.catch_warnings(action="ignore"):
            self.engine.peft.delete_adapter(self.name)
        self.engine.activate_named(None)


class WholeModel(Trainable):
    """All weights, as a float32 copy of its own; a bfloat16 model is run in bfloat16 and saved as bfloat16."""

    def __init__(self, model: LocalModel, job: TrainingJob, half: torch.dtype | None) -> None:
        start = None if job.start is None or job.start.location is None else Path(job.start.location)
        model.close()
        self.dtype, self.half = model.spec.dtype, half
        adapter = start if job.start is not None and job.start.adapter.kind == "lora" else None
        base = model.source.directory if adapter or not start else start
        self.engine = model.load_engine(base, "float32")
        if adapter is not None:
            with without_peft_deprecation():
                wrapped = peft.PeftModel.from_pretrained(self.engine.model, str(adapter))
                self.engine.model = cast(PreTrainedModel, wrapped.merge_and_unload())
            self.engine.model.requires_grad_(True)
        self.weights = dict(self.engine.model.named_parameters())
        if job.gradient_checkpointing:
            recompute_activations(self.engine.model, True)

    def activate(self) -> None:
        return

    def save(self, folder: Path) -> None:
        model = self.engine.model
        dtype = DTYPES[self.dtype]
        # tied weights stay one tensor, so that they are written once
        shared = {value.data_ptr(): value.to(dtype) for value in model.state_dict().values()}
        state = {key: shared[value.data_ptr()] for key, value in model.state_dict().items()}
        with quiet():
            model.save_pretrained(folder, state_dict=state)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "dtype": self.dtype}, indent=2))

    def release(self) -> None:
        self.weights = {}


def make_trainable(model: LocalModel, job: TrainingJob) -> Trainable:
    """The weights of the job at their starting values."""
    if model.spec.dtype == "float16":
        raise BackendRejected(
            "the local backend does not train in float16. Fix: set model.dtype to bfloat16 or float32."
        )
    half = torch.bfloat16 if model.spec.dtype == "bfloat16" else None
    start = job.start
    merging = start is not None and start.adapter.kind == "lora" and job.adapter.kind == "full"
    if start is not None and start.location is not None:
        for field, value in asdict(start.adapter).items():
            wanted = asdict(job.adapter)[field]
            if value != wanted and field != "dropout" and not merging:
                raise BadInput(
                    f"training '{job.id}' has {field} {wanted!r} but continues from a checkpoint with {value!r}. "
                    "Fix: keep the adapter settings of the start."
                )
        model.check_checkpoint(start)
    if job.adapter.kind == "full":
        return WholeModel(model, job, half)
    return Adapter(model.engine, job, model.spec.id, half)


def adapter_config(adapter: AdapterSettings, model_id: str) -> peft.LoraConfig:
    """PEFT's configuration of an adapter."""
    return peft.LoraConfig(
        task_type=peft.TaskType.CAUSAL_LM, base_model_name_or_path=model_id, r=adapter.rank, bias="none",
        lora_alpha=cast(int, adapter.alpha), use_rslora=adapter.rslora, lora_dropout=adapter.dropout,
        target_modules=list(adapter.targets),
    )  # fmt: skip


def recompute_activations(model: PreTrainedModel, on: bool) -> None:
    """Gradient checkpointing, under the name this version of transformers has for it."""
    name = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    if on:
        getattr(model, f"{name}_checkpointing_enable")({"use_reentrant": False})
    else:
        getattr(model, f"{name}_checkpointing_disable")()


def make_optimizer(job: TrainingJob, parameters: list[torch.nn.Parameter]) -> tuple[torch.optim.Optimizer, str]:
    """The optimizer and its name: 8-bit AdamW where asked for and installed, else torch's, with a warning.

    Weight decay is on matrices only, not on biases and norms.
    """
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": job.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if job.optimizer == "adamw_8bit" and (eight_bit := eight_bit_adamw()) is not None:
        return eight_bit(groups, lr=job.learning_rate), "adamw_8bit"
    return torch.optim.AdamW(groups, lr=job.learning_rate), "adamw"


@cache
def eight_bit_adamw() -> "type[torch.optim.AdamW] | None":
    """8-bit AdamW; None where it is not installed, which is told once."""
    try:
        from bitsandbytes.optim import AdamW8bit
    except (ImportError, RuntimeError, AttributeError) as error:
        log.warning(
            "8-bit AdamW is not available here (%s): trainings use torch's AdamW. "
            "Fix: pip install -e '.[bnb]' in inoc's clone.",
            type(error).__name__,
        )
        return None
    return cast("type[torch.optim.AdamW]", AdamW8bit)
