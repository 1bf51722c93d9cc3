"""A backend without a model for tests of the stages: bytes are tokens, log-probabilities are a hash of the
context.

Environment: TOY_DELAY seconds per request; TOY_WRONG="KIND:TEXT" answers wrongly where the context holds
TEXT.
"""

import os
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np

from inoc.backends.protocols import Capabilities, ModelSpec, ScoreRequest, TokenLogprobs
from inoc.errors import BackendUnavailable
from inoc.values import Scalar

SPECIAL = ("<start>", "<end>")


class ToyTokenizer:
    chat_template: str | None = "toy"
    eos_token_id: int | None = 257

    def apply_chat_template(self, conversation: list[dict[str, str]], **kwargs: object) -> object:
        text = "".join(f"<start>{turn['role']}\n{turn['content']}<end>\n" for turn in conversation)
        return text + ("<start>assistant\n" if kwargs.get("add_generation_prompt") else "")

    def encode(self, text: str, *, add_special_tokens: bool = True, split_special_tokens: bool = False) -> list[int]:
        ids: list[int] = []
        while text:
            for code, special in enumerate(SPECIAL, start=256):
                if text.startswith(special) and not split_special_tokens:
                    ids.append(code)
                    text = text[len(special) :]
                    break
            else:
                ids += text[0].encode()
                text = text[1:]
        return ids

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        parts = [
            ("" if skip_special_tokens else SPECIAL[i - 256]).encode() if i >= 256 else bytes([i]) for i in token_ids
        ]
        return b"".join(parts).decode(errors="replace")


def toy_logprobs(context: Sequence[int], completion: Sequence[int]) -> np.ndarray:
    ids = np.array([*context, *completion], np.uint16)
    return np.array(
        [-(zlib.crc32(ids[: len(context) + i + 1].tobytes()) % 10_000 + 1) / 1000 for i in range(len(completion))],
        np.float32,
    )


class ToyBackend:
    name: ClassVar[str] = "toy"
    capabilities: ClassVar[Capabilities] = Capabilities(score=True, echoes_token_ids=True)

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.tokenizer = ToyTokenizer()
        self.context_length = 400

    @classmethod
    def from_spec(cls, model: ModelSpec) -> "ToyBackend":
        return cls(model)

    def identity(self) -> Mapping[str, Scalar]:
        return {"model": self.spec.id, "dtype": self.spec.dtype, "engine": "toy 1"}

    def check(self) -> None:
        if os.environ.get("TOY_WRONG") == "gone":
            raise BackendUnavailable("the toy server is gone; start it again.")

    def close(self) -> None: ...

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        delay = float(os.environ.get("TOY_DELAY", "0"))
        kind, _, text = os.environ.get("TOY_WRONG", "").partition(":")
        for request in requests:
            time.sleep(delay)
            values, ids = toy_logprobs(request.context, request.completion), request.completion
            if kind and text in self.tokenizer.decode(request.context):
                match kind:
                    case "nan":
                        values[0] = np.nan
                    case "positive":
                        values[0] = 0.5
                    case "rounding":
                        values[0] = 1e-6
                    case "shift":
                        values = np.roll(values, 1)
                    case "short":
                        values = values[:-1]
                    case "ids":
                        ids = (*ids[:-1], 0)
                    case "missing":
                        continue
                    case "twice":
                        yield TokenLogprobs(request.id, values, ids)
                    case "raise":
                        raise RuntimeError("the engine is out of ideas")
                    case "unavailable":
                        raise BackendUnavailable("the toy server is gone; start it again.")
            yield TokenLogprobs(request.id, values, ids)
