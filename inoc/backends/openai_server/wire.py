"""The completions protocol: request bodies, and replies that are read strictly.

Servers differ in how they return the logprobs of a given text; each way is a `Dialect`, and `DIALECTS` is the
order in which they are tried. Functions that read replies raise ValueError for one that cannot be correct.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Float32
from pydantic import BaseModel

from inoc.backends.checks import value_fault
from inoc.backends.protocols import Completion, SampleRequest, ScoreRequest, TokenLogprobs
from inoc.values import Sampling, TokenIds

ID_PREFIX: Final = "token_id:"


class Logprobs(BaseModel):
    """`logprobs` of a completions choice."""

    tokens: list[str] = []
    token_logprobs: list[float | None] = []


class PromptLogprob(BaseModel):
    """One alternative at one position of vLLM's `prompt_logprobs`."""

    logprob: float


class Choice(BaseModel):
    """One entry of `choices`."""

    index: int
    text: str = ""
    finish_reason: str | None = None
    logprobs: Logprobs | None = None
    prompt_logprobs: list[dict[str, PromptLogprob] | None] | None = None
    token_ids: list[int] | None = None


class Reply(BaseModel):
    """A completions reply."""

    choices: list[Choice]


@dataclass(frozen=True)
class Dialect:
    """One way to ask for the logprobs of a given text."""

    name: str
    body: Mapping[str, object]
    read: Literal["echo", "prompt_logprobs"]
    echoes_ids: bool


DIALECTS: Final = (
    Dialect(
        "echo with token ids",
        {"echo": True, "logprobs": 0, "max_tokens": 0, "return_tokens_as_token_ids": True},
        "echo",
        True,
    ),
    Dialect("prompt_logprobs", {"prompt_logprobs": 0, "max_tokens": 1}, "prompt_logprobs", True),
    Dialect("echo", {"echo": True, "logprobs": 1, "max_tokens": 0}, "echo", False),
    Dialect("echo with one more token", {"echo": True, "logprobs": 1, "max_tokens": 1}, "echo", False),
)


def score_body(model: str, prompts: Sequence[TokenIds], dialect: Dialect) -> dict[str, object]:
    """The request that scores whole prompts."""
    return {"model": model, "prompt": [list(ids) for ids in prompts], "temperature": 0.0, **dialect.body}


def read_scores(content: bytes, requests: Sequence[ScoreRequest], dialect: Dialect) -> list[TokenLogprobs]:
    """The completions' logprobs of a reply to `score_body`, in the order of `requests`.

    ValueError for wrong lengths, token ids other than those sent, and logprobs that `value_fault` refuses.
    """
    choices = {choice.index: choice for choice in Reply.model_validate_json(content).choices}
    if sorted(choices) != list(range(len(requests))):
        raise ValueError(f"{len(choices)} results for {len(requests)} prompts")
    results: list[TokenLogprobs] = []
    for index, request in enumerate(requests):
        try:
            results.append(_scores(choices[index], request, dialect))
        except ValueError as error:
            raise ValueError(f"{request.id}: {error}") from None
    return results


def _scores(choice: Choice, request: ScoreRequest, dialect: Dialect) -> TokenLogprobs:
    found = choice.prompt_logprobs if dialect.read == "prompt_logprobs" else choice.logprobs
    if found is None:
        raise ValueError("no logprobs of the prompt")
    start, length = len(request.context), len(request.context) + len(request.completion)
    values = found.token_logprobs if isinstance(found, Logprobs) else found
    if len(values) - length not in (0, 1):  # one more where a token had to be generated
        raise ValueError(f"{len(values)} logprobs for a prompt of {length} tokens")
    echoed: TokenIds | None = None
    if isinstance(found, Logprobs):
        wanted = found.token_logprobs[start:length]
        if dialect.echoes_ids:
            echoed = tuple(_token_id(token, ID_PREFIX) for token in found.tokens[start:length])
    else:
        entries = [_entry(found[start + i], token) for i, token in enumerate(request.completion)]
        echoed, wanted = tuple(token for token, _ in entries), [value for _, value in entries]
    if echoed is not None and echoed != request.completion:
        raise ValueError("the server scored token ids that differ from those sent")
    logprobs = as_array(wanted)
    if fault := value_fault(logprobs):
        raise ValueError(fault)
    return TokenLogprobs(request.id, logprobs, echoed)


def _entry(entry: dict[str, PromptLogprob] | None, token: int) -> tuple[int, float | None]:
    """(token id, logprob) at a position: of the sent token if it is listed, else of the first."""
    if not entry:
        return token, None
    key = str(token) if str(token) in entry else next(iter(entry))
    return _token_id(key), entry[key].logprob


def _token_id(text: str, prefix: str = "") -> int:
    digits = text.removeprefix(prefix)
    if not (text.startswith(prefix) and digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise ValueError(f"{text[:20]!r} is not a token id")
    return int(digits)


def as_array(values: Sequence[float | None]) -> Float32[np.ndarray, " token"]:
    """float32, NaN where a server has none."""
    with np.errstate(over="ignore"):
        return np.array([math.nan if value is None else value for value in values], dtype=np.float32)


def sample_body(
    model: str, request: SampleRequest, sampling: Sampling, seed: int | None, stop: Sequence[str], extended: bool
) -> dict[str, object]:
    """The request for one completion; sets all that a server otherwise takes from the model's generation_config.

    `extended` uses vLLM's parameters; else the `stop` texts replace the stop ids.
    """
    body: dict[str, object] = {
        "model": model, "prompt": list(request.context), "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature, "top_p": sampling.top_p,
    }  # fmt: skip
    if seed is not None:
        body["seed"] = seed
    if not extended:
        return body | ({"stop": list(stop)} if stop else {})
    return body | {
        "logprobs": 0, "return_token_ids": True, "stop_token_ids": list(sampling.stop_ids), "ignore_eos": True,
        "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "skip_special_tokens": False,
    }  # fmt: skip


def read_sample(
    content: bytes, request: SampleRequest, sampling: Sampling, encode: Callable[[str], TokenIds]
) -> Completion:
    """The completion of a reply to `sample_body`; `encode` makes ids of the text where the server returns none.

    ValueError unless it is one completion that ends where it says.
    """
    choices = Reply.model_validate_json(content).choices
    if len(choices) != 1:
        raise ValueError(f"{request.id}: {len(choices)} completions instead of one")
    (choice,) = choices
    if choice.finish_reason not in ("stop", "length"):
        raise ValueError(f"{request.id}: the completion ended with {choice.finish_reason!r}")
    if choice.token_ids is None:
        return Completion(request.id, encode(choice.text), choice.finish_reason)
    ids, finish = tuple(choice.token_ids), choice.finish_reason
    if ids and ids[-1] in sampling.stop_ids:
        ids, finish = ids[:-1], "stop"
    if len(ids) > sampling.max_tokens or set(ids) & set(sampling.stop_ids):
        raise ValueError(f"{request.id}: the completion continues after its end")
    logprobs = None
    if choice.logprobs is not None and len(choice.logprobs.token_logprobs) >= len(ids):
        logprobs = as_array(choice.logprobs.token_logprobs[: len(ids)])
    return Completion(request.id, ids, finish, logprobs)
