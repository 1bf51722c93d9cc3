"""The completions protocol: request bodies, and replies that are read strictly.

Servers differ in how they return the logprobs of a given text; each way is a `Dialect`, and `DIALECTS` is the
order in which they are tried. Values are matched to tokens by the ids or the texts that come back, for the whole
prompt. Functions that read replies raise ValueError for one that cannot be correct.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Float32
from pydantic import BaseModel, ConfigDict

from inoc.backends.checks import value_fault
from inoc.backends.protocols import Completion, SampleRequest, ScoreRequest, TokenLogprobs
from inoc.values import Sampling, TokenIds

ID_PREFIX: Final = "token_id:"
Spell = Callable[[int], Collection[str]]
"""The texts under which a token id may come back; none where its text alone is not known."""


class Strict(BaseModel):
    """Read as it is written: `false` is not 0.0, and "1" is not 1."""

    model_config = ConfigDict(strict=True)


class Logprobs(Strict):
    """`logprobs` of a completions choice."""

    tokens: list[str] = []
    token_logprobs: list[float | None] = []


class PromptLogprob(Strict):
    """One alternative at one position of vLLM's `prompt_logprobs`."""

    logprob: float


class Choice(Strict):
    """One entry of `choices`."""

    index: int
    text: str = ""
    finish_reason: str | None = None
    logprobs: Logprobs | None = None
    prompt_logprobs: list[dict[str, PromptLogprob] | None] | None = None
    token_ids: list[int] | None = None


class Reply(Strict):
    """A completions reply."""

    choices: list[Choice]


@dataclass(frozen=True)
class Dialect:
    """One way to ask for the logprobs of a given text, and what shows which token a value belongs to."""

    name: str
    body: Mapping[str, object]
    read: Literal["echo", "prompt_logprobs"]
    matched: Literal["ids", "texts", "nothing"]


DIALECTS: Final = (
    Dialect(
        "echo with token ids",
        {"echo": True, "logprobs": 0, "max_tokens": 0, "return_tokens_as_token_ids": True},
        "echo",
        "ids",
    ),
    Dialect("prompt_logprobs", {"prompt_logprobs": 0, "max_tokens": 1}, "prompt_logprobs", "ids"),
    Dialect("echo", {"echo": True, "logprobs": 1, "max_tokens": 0}, "echo", "texts"),
    Dialect("echo with one more token", {"echo": True, "logprobs": 1, "max_tokens": 1}, "echo", "texts"),
    Dialect("echo without texts", {"echo": True, "logprobs": 1, "max_tokens": 0}, "echo", "nothing"),
    Dialect("echo without texts, one more token", {"echo": True, "logprobs": 1, "max_tokens": 1}, "echo", "nothing"),
)


def score_body(model: str, prompts: Sequence[TokenIds], dialect: Dialect) -> dict[str, object]:
    """The request that scores whole prompts."""
    return {"model": model, "prompt": [list(ids) for ids in prompts], "temperature": 0.0, **dialect.body}


def read_scores(
    content: bytes, requests: Sequence[ScoreRequest], dialect: Dialect, spell: Spell, certain: bool = False
) -> list[TokenLogprobs]:
    """The completions' logprobs of a reply to `score_body`, in the order of `requests`.

    ValueError for wrong lengths, tokens other than those sent, and logprobs that `value_fault` refuses. `certain`: also
    where a text does not show which token it is.
    """
    choices = {choice.index: choice for choice in Reply.model_validate_json(content).choices}
    if sorted(choices) != list(range(len(requests))):
        raise ValueError(f"{len(choices)} results for {len(requests)} prompts")
    results: list[TokenLogprobs] = []
    for index, request in enumerate(requests):
        try:
            results.append(_scores(choices[index], request, dialect, spell, certain))
        except ValueError as error:
            raise ValueError(f"{request.id}: {error}") from None
    return results


def _scores(choice: Choice, request: ScoreRequest, dialect: Dialect, spell: Spell, certain: bool) -> TokenLogprobs:
    prompt = request.context + request.completion
    if dialect.read == "prompt_logprobs":
        values = _listed(choice.prompt_logprobs or [], prompt)
    else:
        values = _echoed(choice.logprobs or Logprobs(), prompt, dialect, spell, certain)
    if values[0] not in (None, 0.0):
        raise ValueError("the first token has a logprob although nothing comes before it: values may be shifted")
    if None in values[1:]:
        raise ValueError("a token after the first has no logprob: values may be shifted")
    logprobs = as_array(values[len(request.context) :])
    if fault := value_fault(logprobs):
        raise ValueError(fault)
    return TokenLogprobs(request.id, logprobs, request.completion if dialect.matched == "ids" else None)


def _listed(found: Sequence[dict[str, PromptLogprob] | None], prompt: TokenIds) -> Sequence[float | None]:
    """The values of `prompt_logprobs`, one per token of the prompt."""
    _check_length(len(found), prompt)
    entries = [_entry(entry, token) for entry, token in zip(found, prompt, strict=True)]
    _same_ids([token for token, _ in entries], prompt)
    return [value for _, value in entries]


def _echoed(found: Logprobs, prompt: TokenIds, dialect: Dialect, spell: Spell, certain: bool) -> Sequence[float | None]:
    """The values of an echoed prompt, without that of a token that had to be generated."""
    generated = dialect.body["max_tokens"] == 1
    _check_length(len(found.token_logprobs) - generated, prompt)
    if dialect.matched != "nothing":
        _check_length(len(found.tokens) - generated, prompt, "tokens")
    if dialect.matched == "ids":
        _same_ids([_token_id(token, ID_PREFIX) for token in found.tokens[: len(prompt)]], prompt)
    elif dialect.matched == "texts":
        _same_texts(found.tokens[: len(prompt)], prompt, spell, certain)
    return found.token_logprobs[: len(prompt)]


def _check_length(length: int, prompt: TokenIds, what: str = "logprobs") -> None:
    if length != len(prompt):
        raise ValueError(f"{max(0, length)} {what} for a prompt of {len(prompt)} tokens")


def _same_ids(found: Sequence[int], sent: TokenIds) -> None:
    """ValueError unless these are the ids that were sent, context included."""
    if tuple(found) != sent:
        place = next(i for i, (one, other) in enumerate(zip(found, sent, strict=True)) if one != other)
        raise ValueError(f"the server scored token ids that differ from those sent, the first at {place} of the prompt")


def _same_texts(found: Sequence[str], sent: TokenIds, spell: Spell, certain: bool) -> None:
    """ValueError where a text is that of another token. Parts of a character have no text of their own."""
    for place, (text, token) in enumerate(zip(found, sent, strict=True)):
        known = spell(token)
        if text in known:
            continue
        if certain or (known and text and "\ufffd" not in text and not text.startswith("bytes:")):
            raise ValueError(f"the server returns {text[:20]!r} at {place} of the prompt, where another token was sent")


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
