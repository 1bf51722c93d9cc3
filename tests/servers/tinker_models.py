"""What the Tinker service for tests computes: a base model, its adapters, scoring and drawing."""

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers
from safetensors.torch import load_file

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
        self.cache: dict[tuple[str, tuple[int, ...]], torch.Tensor] = {}

    def add(self, name: str, lora: Json, seed: int | None) -> None:
        targets = (
            ATTENTION * lora["train_attn"] + MLP * lora["train_mlp"] + ["lm_head"] * lora["train_unembed"]
        )
        config = peft.LoraConfig(
            r=lora["rank"], lora_alpha=32, target_modules=targets, lora_dropout=0.0, bias="none"
        )
        torch.manual_seed(uuid.uuid4().int % 2**31 if seed is None else seed)
        if self.peft is None:
            self.peft = peft.get_peft_model(self.model, config, adapter_name=name)
        else:
            self.peft.add_adapter(name, config)

    def load(self, name: str, folder: Path) -> None:
        assert self.peft is not None
        peft.set_peft_model_state_dict(
            self.peft, load_file(folder / "adapter_model.safetensors"), adapter_name=name
        )

    def parameters(self, name: str) -> list[torch.nn.Parameter]:
        return [weight for key, weight in self.model.named_parameters() if f".{name}." in key]

    def logits(self, name: str | None, ids: list[int]) -> torch.Tensor:
        if self.peft is None:
            return self.model(torch.tensor([ids])).logits[0]
        if name is None:
            with self.peft.disable_adapter():
                return self.peft(torch.tensor([ids])).logits[0]
        self.peft.set_adapter(name)
        return self.peft(torch.tensor([ids])).logits[0]

    def logprobs(self, name: str | None, ids: list[int]) -> torch.Tensor:
        """log p(next | ids[: i + 1]) of adapters that do not change any more; the last few are kept."""
        key = (name or "", tuple(ids))
        if key not in self.cache:
            while len(self.cache) >= 8:
                self.cache.pop(next(iter(self.cache)))
            with torch.no_grad():
                self.cache[key] = torch.log_softmax(self.logits(name, ids), -1)
        return self.cache[key]


def prompt_logprobs(base: Base, adapter: str | None, prompt: list[int], body: Json) -> np.ndarray:
    values = np.full(len(prompt), np.nan, np.float32)
    rows = base.logprobs(adapter, prompt[:-1])
    values[1:] = rows[torch.arange(len(prompt) - 1), torch.tensor(prompt[1:])].numpy()
    last = body.get("prompt_logprobs_last_n")
    if last is not None:
        values[: len(prompt) - last] = np.nan
    return values


def draw(
    base: Base, adapter: str | None, prompt: list[int], settings: Json
) -> tuple[list[int], list[float], bool]:
    """One sample. The stop token is part of it, as clients of the hosted service expect."""
    stops = [base.eos] if settings.get("stop") is None else settings["stop"]
    seed = settings.get("seed")
    random = torch.Generator().manual_seed(uuid.uuid4().int % 2**31 if seed is None else seed)
    temperature, tokens, logprobs = settings.get("temperature", 1), [], []
    while len(tokens) < settings["max_tokens"]:
        row = base.logprobs(adapter, prompt + tokens)[-1]
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
