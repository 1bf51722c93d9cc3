"""A small real completions server: a transformers model behind /v1/completions, in the wire format of vLLM.

    with CompletionsServer(model_directory) as server: ...  # server.url, server.stub

Every prompt is computed alone, straight with transformers and PEFT, so it is an independent reference too. `style`
plays other servers: "vllm" (all extensions), "prompt_logprobs" (no echo), "echo" (standard fields only; text
instead of ids), "generate" (does not score). `spoil` may change a reply before it is sent.

Real here: the model and its numbers. Style "vllm" was compared with a real `vllm serve` by `make test-vllm`. Assumed of
other servers, and never checked against one: "prompt_logprobs" is vLLM without `echo`; "echo" is the completions API as
OpenAI documented it, with `logprobs.tokens` as text and null for the first token; "generate" ignores `echo`.
"""

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import transformers
from servers.openai_stub import Call, Reply, StubServer, error_reply, json_reply

Style = Literal["vllm", "prompt_logprobs", "echo", "generate"]
EXTENSIONS = {
    "return_tokens_as_token_ids", "prompt_logprobs", "return_token_ids", "stop_token_ids", "ignore_eos", "top_k",
    "min_p", "repetition_penalty", "skip_special_tokens",
}  # fmt: skip


Spoil = Callable[[Call, dict], Reply | None]


class CompletionsServer:
    def __init__(
        self,
        directory: Path,
        style: Style = "vllm",
        name: str = "tiny",
        spoil: Callable[[Call, dict], Reply | None] | None = None,
    ) -> None:
        self.model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
        self.style, self.name, self.root, self.spoil = style, name, str(directory), spoil
        self.limit = self.model.config.max_position_embeddings
        self.adapters: dict[str, str] = {}
        self.loaded: list[str] = []
        self._lock = threading.Lock()
        self.stub = StubServer(self._handle)
        self.url = self.stub.url

    def __enter__(self) -> "CompletionsServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.stub.__exit__()

    async def _handle(self, call: Call) -> Reply:
        return await asyncio.to_thread(self._answer, call)

    def _answer(self, call: Call) -> Reply:
        path = call.path.removeprefix("/v1")
        if path == "/models":
            base = {"id": self.name, "root": self.root, "parent": None, "max_model_len": self.limit}
            extra = [{"id": n, "root": p, "parent": self.name} for n, p in self.adapters.items()]
            return json_reply({"object": "list", "data": [base, *extra]})
        if path == "/version" and self.style == "vllm":
            return json_reply({"version": "0.0-test"})
        if path == "/load_lora_adapter" and self.style == "vllm":
            return self._load(call.json)
        if path == "/unload_lora_adapter" and self.style == "vllm":
            return Reply(b"Success") if self.adapters.pop(call.json["lora_name"], None) else error_reply(404)
        if path == "/embeddings":
            return self._embed(call.json)
        if path != "/completions":
            return error_reply(404, "Not Found")
        body = call.json
        if body["model"] not in (self.name, *self.adapters):
            return error_reply(404, f"The model `{body['model']}` does not exist.")
        if self.style == "echo" and EXTENSIONS & set(body):
            return error_reply(400, f"unknown fields {sorted(EXTENSIONS & set(body))}")
        with self._lock:
            answer = self._complete(body)
        if isinstance(answer, Reply):
            return answer
        spoiled = self.spoil(call, answer) if self.spoil else None
        return spoiled or Reply(json.dumps(answer).encode())

    def _load(self, body: dict) -> Reply:
        import peft

        name, path = body["lora_name"], body["lora_path"]
        if name in self.adapters:
            return error_reply(400, f"The lora adapter '{name}' has already been loaded.")
        if not Path(path).is_dir():
            return error_reply(404, f"No adapter found for '{name}' at {path}")
        if isinstance(self.model, peft.PeftModel):
            self.model.load_adapter(path, name)
        else:
            self.model = peft.PeftModel.from_pretrained(self.model, path, name)
        self.adapters[name] = path
        self.loaded.append(name)
        self.model.eval()
        return Reply(b"Success: LoRA adapter added", headers={"content-type": "text/plain"})

    def _logits(self, model: str, ids: list[int]) -> torch.Tensor:
        import peft

        with torch.inference_mode():
            if not isinstance(self.model, peft.PeftModel):
                return self.model(torch.tensor([ids])).logits[0]
            if model == self.name:
                with self.model.disable_adapter():
                    return self.model(torch.tensor([ids])).logits[0]
            self.model.set_adapter(model)
            return self.model(torch.tensor([ids])).logits[0]

    def _complete(self, body: dict) -> dict | Reply:
        prompts = body["prompt"]
        prompts = [prompts] if isinstance(prompts[0], int) else prompts
        most = body.get("max_tokens", 16)
        choices = []
        for index, ids in enumerate(prompts):
            if len(ids) + most > self.limit:
                return error_reply(400, f"This model's maximum context length is {self.limit} tokens.")
            if min(ids) < 0 or max(ids) >= self.model.config.vocab_size:
                return error_reply(400, "Token id is out of vocabulary")
            choices.append(self._choice(index, ids, most, body))
        return {"id": "c", "object": "text_completion", "model": body["model"], "choices": choices}

    def _choice(self, index: int, ids: list[int], most: int, body: dict) -> dict:
        prompt = torch.log_softmax(self._logits(body["model"], ids), -1)
        new, values, finish = self._generate(ids, most, body) if most else ([], [], "length")
        echo = body.get("echo") and self.style in ("vllm", "echo")
        shown = (ids if echo else []) + new
        logprobs = None
        if body.get("logprobs") is not None:
            given = [None, *(float(prompt[i - 1, ids[i]]) for i in range(1, len(ids)))] if echo else []
            as_ids = body.get("return_tokens_as_token_ids")
            tokens = [f"token_id:{i}" if as_ids else self.tokenizer.decode([i]) for i in shown]
            logprobs = {"tokens": tokens, "token_logprobs": given + values, "top_logprobs": None, "text_offset": []}
        visible = shown[:-1] if finish == "stop" else shown
        choice = {"index": index, "text": self.tokenizer.decode(visible), "finish_reason": finish, "logprobs": logprobs}
        if body.get("prompt_logprobs") is not None and self.style in ("vllm", "prompt_logprobs"):
            choice["prompt_logprobs"] = [
                None,
                *({str(ids[i]): {"logprob": float(prompt[i - 1, ids[i]]), "rank": 1, "decoded_token": "x"}}
                  for i in range(1, len(ids))),
            ]  # fmt: skip
        if body.get("return_token_ids"):
            choice["token_ids"] = new
        return choice

    def _generate(self, ids: list[int], most: int, body: dict) -> tuple[list[int], list[float], str]:
        """Straight sampling, one token at a time. The stop token is in the ids, as vLLM has it."""
        seed = body.get("seed")
        rng = np.random.default_rng(seed)
        stops = set(body.get("stop_token_ids") or ())
        if not body.get("ignore_eos"):
            stops.add(self.tokenizer.eos_token_id)
        texts = body.get("stop") or []
        new: list[int] = []
        values: list[float] = []
        for _ in range(most):
            logits = self._logits(body["model"], ids + new)[-1].double()
            raw = torch.log_softmax(logits, -1)
            temperature = body.get("temperature", 1.0)
            if temperature == 0:
                token = int(logits.argmax())
            else:
                p = torch.softmax(logits / temperature, -1).numpy()
                order = np.argsort(-p)
                keep = order[: int(np.searchsorted(np.cumsum(p[order]), body.get("top_p", 1.0) - 1e-12)) + 1]
                token = int(rng.choice(keep, p=p[keep] / p[keep].sum()))
            new.append(token)
            values.append(float(raw[token]))
            if token in stops or self.tokenizer.decode([token]) in texts:
                return new, values, "stop"
        return new, values, "length"

    def _embed(self, body: dict) -> Reply:
        import base64

        rows = []
        for index, text in enumerate(body["input"]):
            ids = self.tokenizer.encode(text, add_special_tokens=False)
            vector = self._logits(self.name, ids).mean(0).numpy().astype("<f4")
            unasked = self.style == "prompt_logprobs"
            as_text = unasked or body.get("encoding_format") == "base64"
            value = base64.b64encode(vector.tobytes()).decode() if as_text else vector.tolist()
            rows.insert(0, {"object": "embedding", "index": index, "embedding": value})
        return json_reply({"object": "list", "data": rows, "model": body["model"]})
