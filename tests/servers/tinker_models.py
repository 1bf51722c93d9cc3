"""What the Tinker service for tests computes: a base model, its adapters, scoring and drawing."""

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers
from safetensors.torch import load_file
from tinker.proto import tinker_public_pb2 as proto

ATTENTION, MLP = ["q_proj", "k_proj", "v_proj", "o_proj"], ["gate_proj", "up_proj", "down_proj"]
Json = dict[str, Any]


class Base:
    """A base model with all adapters on it; one at a time is active."""

    def __init__(self, directory: str) -> None:
        self.model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
        self.limit = self.model.config.max_position_embeddings
        self.vocabulary = self.model.config.vocab_size
        self.eos = self.model.config.eos_token_id
        self.peft: peft.PeftModel | None = None
        self.active: str | None = None
        self.cache: dict[tuple[str, tuple[int, ...]], torch.Tensor] = {}

    def add(self, name: str, lora: Json, seed: int | None) -> None:
        targets = ATTENTION * lora["train_attn"] + MLP * lora["train_mlp"] + ["lm_head"] * lora["train_unembed"]
        config = peft.LoraConfig(r=lora["rank"], lora_alpha=32, target_modules=targets, lora_dropout=0.0, bias="none")
        torch.manual_seed(uuid.uuid4().int % 2**31 if seed is None else seed)
        if self.peft is None:
            self.peft = peft.get_peft_model(self.model, config, adapter_name=name)
        else:
            self.peft.add_adapter(name, config)
        self.peft.base_model.enable_adapter_layers()
        self.peft.set_adapter(name)
        self.active = name

    def load(self, name: str, folder: Path) -> None:
        assert self.peft is not None
        peft.set_peft_model_state_dict(self.peft, load_file(folder / "adapter_model.safetensors"), adapter_name=name)

    def parameters(self, name: str) -> list[torch.nn.Parameter]:
        return [weight for key, weight in self.model.named_parameters() if f".{name}." in key]

    def activate(self, name: str | None) -> None:
        """Switch this adapter on, or all off. Switching costs more than a token, so it is done once."""
        if self.peft is None or name == self.active:
            return
        if name is None:
            self.peft.base_model.disable_adapter_layers()
        else:
            self.peft.base_model.enable_adapter_layers()
            self.peft.set_adapter(name)
        self.active = name

    def logits(
        self, name: str | None, rows: list[list[int]], cache: transformers.DynamicCache | None = None
    ) -> torch.Tensor:
        """Of rows padded on the right, which causality keeps out; a row may go on from what the cache holds."""
        self.activate(name)
        width = max(map(len, rows))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        return (self.peft or self.model)(ids, past_key_values=cache, use_cache=cache is not None).logits

    def logprobs(self, name: str | None, ids: list[int]) -> torch.Tensor:
        """log p(next | ids[: i + 1]) of adapters that do not change any more; the last few are kept."""
        key = (name or "", tuple(ids))
        if key not in self.cache:
            while len(self.cache) >= 8:
                self.cache.pop(next(iter(self.cache)))
            with torch.no_grad():
                self.cache[key] = torch.log_softmax(self.logits(name, [ids])[0], -1)
        return self.cache[key]


def read_datum(datum: proto.Datum) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Token ids, targets and weights."""
    ids = [int(t) for c in datum.model_input for t in np.frombuffer(c.encoded_text.tokens, np.int32)]
    targets = np.frombuffer(datum.loss_fn_inputs["target_tokens"].dense, np.int64)
    weights = np.frombuffer(datum.loss_fn_inputs["weights"].dense, np.float32)
    return ids, targets.copy(), weights.copy()


def prompt_logprobs(base: Base, adapter: str | None, prompt: list[int], body: Json) -> np.ndarray:
    values = np.full(len(prompt), np.nan, np.float32)
    rows = base.logprobs(adapter, prompt[:-1])
    values[1:] = rows[torch.arange(len(prompt) - 1), torch.tensor(prompt[1:])].numpy()
    last = body.get("prompt_logprobs_last_n")
    if last is not None:
        values[: len(prompt) - last] = np.nan
    return values


def draw(base: Base, adapter: str | None, prompt: list[int], settings: Json) -> tuple[list[int], list[float], bool]:
    """One sample. The stop token is part of it, as clients of the hosted service expect."""
    stops = [base.eos] if settings.get("stop") is None else settings["stop"]
    seed = settings.get("seed")
    random = torch.Generator().manual_seed(uuid.uuid4().int % 2**31 if seed is None else seed)
    temperature, tokens, logprobs = settings.get("temperature", 1), [], []
    cache = transformers.DynamicCache()
    while len(tokens) < settings["max_tokens"]:
        with torch.no_grad():
            row = torch.log_softmax(base.logits(adapter, [tokens[-1:] or prompt], cache)[0, -1], -1)
        if temperature == 0:
            token = int(row.argmax())
        else:
            p = torch.softmax(row.double() / temperature, -1)
            ordered, order = p.sort(descending=True)
            ordered[ordered.cumsum(0) - ordered >= settings.get("top_p", 1)] = 0
            token = int(order[torch.multinomial(ordered, 1, generator=random)])
        tokens.append(token)
        logprobs.append(float(row[token]))
        if token in stops:
            return tokens, logprobs, True
    return tokens, logprobs, False
