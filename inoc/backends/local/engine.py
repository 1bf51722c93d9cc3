"""A loaded model and what is done with it: hidden states, logits of chosen rows, adapters switched on and off."""

import warnings
from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import peft
import torch
from jaxtyping import Float, Float32, Int64
from transformers import Cache, PreTrainedModel

from inoc.backends.library_errors import first_line
from inoc.backends.local.linear import use_onednn
from inoc.backends.protocols import Checkpoint
from inoc.errors import BadInput
from inoc.hashing import content_hash

KEPT_ADAPTERS = 4


@contextmanager
def without_peft_deprecation() -> Generator[None]:
    """PEFT 0.21 reads a transformers 5 property under its old name, which warns the user."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield


class Engine:
    """One model in memory with at most a few adapters, one of them (or none) active."""

    def __init__(self, model: PreTrainedModel) -> None:
        use_onednn(model)
        self.model = model
        self.decoder: torch.nn.Module = model.base_model
        self.text_config = model.config.get_text_config()  # pyright: ignore[reportUnknownMemberType]
        self.softcap: float | None = getattr(self.text_config, "final_logit_softcapping", None)
        self.full_attention = _only_full_attention(model)
        """Every layer attends to all before it: its cache can be shared, widened and sampled in slots."""
        self.peft: peft.PeftModel | None = None
        self._loaded: OrderedDict[str, str] = OrderedDict()
        self.projects_rows = self._projection_is_exact()

    @property
    def device(self) -> torch.device:
        """Where token ids go."""
        return self._embedding.weight.device

    @property
    def vocabulary(self) -> int:
        """Rows of the input embedding: every valid token id is below."""
        return self._embedding.weight.shape[0]

    @property
    def _embedding(self) -> torch.nn.Embedding:
        return cast(torch.nn.Embedding, self.model.get_input_embeddings())

    def hidden(
        self,
        ids: Int64[torch.Tensor, "row token"],
        positions: Int64[torch.Tensor, "row token"],
        cache: Cache | None = None,
        mask: Float[torch.Tensor, "row 1 token key"] | None = None,
    ) -> Float[torch.Tensor, "row token hidden"]:
        """Last hidden states. Padding is right of the tokens, so causality keeps it out of them."""
        caching = {"past_key_values": cache, "use_cache": cache is not None}
        return self.decoder(input_ids=ids, position_ids=positions, attention_mask=mask, **caching).last_hidden_state

    def logits(self, hidden: Float[torch.Tensor, "row hidden"]) -> Float32[torch.Tensor, "row vocabulary"]:
        """The output layer on chosen rows, in float32."""
        head = cast(torch.nn.Module, self.model.get_output_embeddings())
        logits = head(hidden.to(next(head.parameters()).device))
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        return logits.float()

    def whole_logits(
        self, ids: Int64[torch.Tensor, "row token"], positions: Int64[torch.Tensor, "row token"]
    ) -> Float32[torch.Tensor, "row token vocabulary"]:
        """The model's own forward pass, for models that do more than project after the last layer."""
        return self.model(input_ids=ids, position_ids=positions, use_cache=False).logits.float()

    def activate(self, checkpoint: Checkpoint | None) -> None:
        """Score and sample with this checkpoint's adapter from now on; None or step 0 is the base model."""
        if checkpoint is None or checkpoint.location is None:
            self.activate_named(None)
        else:
            self.activate_named(self._load_adapter(checkpoint))

    def activate_named(self, name: str | None) -> None:
        """Make the adapter of this name the active one; None switches all off: exactly the base model."""
        if self.peft is None:
            return
        tuner = cast(peft.tuners.lora.LoraModel, self.peft.base_model)
        if name is None:
            tuner.disable_adapter_layers()
        else:
            tuner.enable_adapter_layers()
            self.peft.set_adapter(name)

    def _load_adapter(self, checkpoint: Checkpoint) -> str:
        location = str(checkpoint.location)
        directory = Path(location)
        weights, config = directory / "adapter_model.safetensors", directory / "adapter_config.json"
        if not (weights.is_file() and config.is_file()):
            raise BadInput(
                f"the checkpoint '{location}' has no {weights.name} or no {config.name}. "
                "Fix: give a PEFT adapter's folder."
            )
        key = checkpoint.content or f"{directory.resolve()}@{weights.stat().st_mtime_ns}"
        if key in self._loaded:
            self._loaded.move_to_end(key)
            return self._loaded[key]
        name = "checkpoint_" + content_hash(key)
        try:
            if self.peft is None:
                with without_peft_deprecation():
                    self.peft = peft.PeftModel.from_pretrained(self.model, str(directory), adapter_name=name)  # pyright: ignore[reportUnknownMemberType]
            else:
                self.peft.load_adapter(str(directory), adapter_name=name)  # pyright: ignore[reportUnknownMemberType]
        except (ValueError, RuntimeError, KeyError) as error:
            raise BadInput(f"the adapter '{location}' does not fit the model: {first_line(error)}") from None
        self.model.eval()
        self._loaded[key] = name
        while len(self._loaded) > KEPT_ADAPTERS:
            with warnings.catch_warnings(action="ignore"):
                self.peft.delete_adapter(self._loaded.popitem(last=False)[1])
        return name

    @torch.inference_mode()
    def _projection_is_exact(self) -> bool:
        """Whether `logits(hidden(...))` equals the model's forward pass, tried on four tokens."""
        ids = torch.arange(4, device=self.device)[None] % self.vocabulary
        positions = torch.arange(4, device=self.device)[None]
        whole = self.whole_logits(ids, positions)[0]
        ours = self.logits(self.hidden(ids, positions)[0])
        if ours.shape != whole.shape:
            return False
        # half precision may round differently in another shape; a scale or a cap is off by far more
        allowed = (1e-4 if self.model.dtype == torch.float32 else 0.03) * float(whole.abs().max())
        return float((ours - whole.to(ours.device)).abs().max()) <= allowed


def _only_full_attention(model: PreTrainedModel) -> bool:
    config = model.config.get_text_config()  # pyright: ignore[reportUnknownMemberType]
    if getattr(model, "_is_stateful", False):
        return False
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return set(kinds) == {"full_attention"}
    window = getattr(config, "sliding_window", None)
    return window is None or not getattr(config, "use_sliding_window", True)
