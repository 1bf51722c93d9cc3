"""A complete inoc backend in one file: a model that counts which byte follows which in a text file."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from inoc.backends.protocols import Capabilities, Completion, ModelSpec, SampleRequest, ScoreRequest, TokenLogprobs
from inoc.errors import BackendRejected, BadInput
from inoc.values import Sampling, Scalar

END = 256  # end of turn; the other ids are bytes


class ByteTokenizer:
    """One token per byte, one that ends a turn, and the simplest chat template."""

    chat_template: str | None = "system: ...\nuser: ...\nassistant: "
    eos_token_id: int | None = END

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return list(text.encode())

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        return bytes(token for token in token_ids if token != END).decode(errors="replace")

    def apply_chat_template(self, conversation: list[dict[str, str]], **options: object) -> object:
        text = "".join(f"{turn['role']}: {turn['content']}\n" for turn in conversation)
        text += "assistant: " if options.get("add_generation_prompt") else ""
        return self.encode(text) if options.get("tokenize", True) else text

    def __len__(self) -> int:
        return END + 1


class BigramBackend:
    """`model.id` in the experiment file is the text file to count."""

    name: ClassVar[str] = "bigram"
    capabilities: ClassVar[Capabilities] = Capabilities(score=True, sample=True, echoes_token_ids=True)

    def __init__(self, text: bytes, smoothing: float) -> None:
        tokens = np.array([END, *text, END])
        counts = np.full((END + 1, END + 1), smoothing)
        np.add.at(counts, (tokens[:-1], tokens[1:]), 1)
        self.table = counts / counts.sum(1, keepdims=True)
        self.text = text
        self.smoothing = smoothing
        self.tokenizer = ByteTokenizer()
        self.context_length = 4096

    @classmethod
    def from_spec(cls, model: ModelSpec) -> "BigramBackend":
        path = Path(model.id)
        if not path.is_file():
            raise BadInput(f"there is no text file at '{model.id}'. Fix: set model.id to one.")
        return cls(path.read_bytes(), float((model.options or {}).get("smoothing") or 0.1))

    def identity(self) -> Mapping[str, Scalar]:
        digest = hashlib.sha256(self.text).hexdigest()
        return {"model": "bigram", "weights": digest, "smoothing": self.smoothing, "engine": "bigram 1.0"}

    def check(self) -> None:
        """Nothing can have gone away since construction."""

    def close(self) -> None:
        """Nothing to free."""

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        for request in requests:
            tokens = self._refuse(request.id, request.context + request.completion)
            before, after = tokens[len(request.context) - 1 : -1], request.completion
            logprobs = np.log(self.table[list(before), list(after)]).astype(np.float32)
            yield TokenLogprobs(request.id, logprobs, request.completion)

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        for request in requests:
            tokens = list(self._refuse(request.id, request.context))
            # one stream per request, so that the batch changes nothing
            key = f"{sampling.seed} {request.stream_name}".encode()
            stream = int.from_bytes(hashlib.sha256(key).digest()) if sampling.seed is not None else None
            rng = np.random.default_rng(stream)
            logprobs: list[float] = []
            finish = "length"
            for _ in range(sampling.max_tokens):
                token = self._draw(self.table[tokens[-1]], sampling, rng)
                if token in sampling.stop_ids:
                    finish = "stop"
                    break
                logprobs.append(float(np.log(self.table[tokens[-1], token])))
                tokens.append(token)
            ids = tuple(tokens[len(request.context) :])
            yield Completion(request.id, ids, finish, np.array(logprobs, np.float32))

    def _draw(self, p: np.ndarray, sampling: Sampling, rng: np.random.Generator) -> int:
        if sampling.temperature == 0:
            return int(p.argmax())
        p = p ** (1 / sampling.temperature)
        order = np.argsort(-p, kind="stable")
        p = p[order] / p.sum()
        p[np.cumsum(p) - p >= sampling.top_p] = 0
        return int(order[rng.choice(len(p), p=p / p.sum())])

    def _refuse(self, id: str, tokens: tuple[int, ...]) -> tuple[int, ...]:
        if len(tokens) > self.context_length:
            raise BackendRejected(f"'{id}' has {len(tokens)} tokens, more than {self.context_length}.")
        return tokens
