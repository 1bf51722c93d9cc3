"""The chat judge: any chat model, without logprobs; the number or label that it writes is the score."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from inoc.errors import BadInput
from inoc.hashing import content_hash
from inoc.judge.asking import AskingJudge, Reply
from inoc.judge.logprob import DEFAULT_MODEL
from inoc.judge.prompts import PROMPT_VERSION, label_messages, messages
from inoc.judge.protocols import JudgeRequest
from inoc.judge.scale import PERCENT, SCALES, Scale
from inoc.options import read_options
from inoc.services import ChatReply, Service, ServiceSettings, shared_service
from inoc.values import Scalar

Labels = Mapping[str, float | None]
"""Label -> its score, 0-100; None for an answer that says nothing, such as a refusal."""
MAX_TOKENS: Final = 16
NUMBER: Final = re.compile(r"(?<![\w.,-])(\d{1,3})(?![\w]|[.,]\d)", re.ASCII)


def written_number(text: str, scale: Scale = PERCENT) -> float | None:
    """The one whole number in range of a text ("85", "Score: 85", "85/100"), as 0-100; None for none or several."""
    found = NUMBER.findall(re.sub(rf"\s*/\s*{scale.top}\b", " ", text))
    numbers = {int(number) for number in found}
    if len(numbers) != 1 or max(numbers) > scale.top:
        return None
    return 100.0 / scale.top * numbers.pop()


def written_label(text: str, labels: Labels) -> str | None:
    """The one label that a text has as whole words, whatever its case; the longest of labels inside each other."""
    rest, found = text.casefold(), list[str]()
    for label in sorted(labels, key=len, reverse=True):
        pattern = rf"(?<!\w){re.escape(label.casefold())}(?!\w)"
        if re.search(pattern, rest):
            found.append(label)
            rest = re.sub(pattern, " ", rest)
    return found[0] if len(found) == 1 else None


class ChatJudge(AskingJudge):
    """Asks a chat model for one number, or for one of some labels, and takes what it writes.

    A refusal, a content filter, an answer cut off before the number, and one without exactly one number or label are
    NaN with that reason.

    Args:
        service: The client.
        model: Any chat model.
        question: May contain {trait} and {top}; None uses the shipped question of the trait.
        scale: The numbers to answer with.
        labels: The labels to answer with instead.
        max_tokens: The longest answer.
        temperature: Sampling temperature.
        cache: File of the cache; default: `default_cache_path()`.
    """

    def __init__(
        self,
        service: Service,
        model: str = DEFAULT_MODEL,
        question: str | None = None,
        scale: Scale = PERCENT,
        labels: Labels | None = None,
        max_tokens: int = MAX_TOKENS,
        temperature: float = 0.0,
        cache: Path | None = None,
    ) -> None:
        super().__init__(service, model, question, cache)
        self._scale, self._labels = scale, dict(labels or {})
        self._max_tokens, self._temperature = max_tokens, temperature

    @property
    def identity(self) -> str:
        settings = {"max_tokens": (self._max_tokens, MAX_TOKENS), "temperature": (self._temperature, 0.0)}
        return self._identify("chat", self._answers, settings)

    @property
    def version(self) -> str:
        return f"chat:{PROMPT_VERSION}:{self._answers}"

    @property
    def _answers(self) -> str:
        return f"labels-{content_hash(self._labels, digits=8)}" if self._labels else self._scale.name

    def body(self, request: JudgeRequest) -> dict[str, object]:
        about = self._question_of(request), request.instruction, request.response
        chat = label_messages(*about, list(self._labels)) if self._labels else messages(*about, self._scale)
        return {
            "model": self._model,
            "messages": list(chat),
            "max_tokens": self._max_tokens,
            "temperature": self._temperature,
        }

    def read(self, content: bytes) -> Reply:
        choices = ChatReply.model_validate_json(content).choices
        if not choices:
            raise ValueError("it has no answer")
        choice = choices[0]
        text = (choice.message.content or "").strip()
        if choice.finish_reason == "content_filter":
            return Reply(math.nan, 0.0, "a content filter stopped the judge model's answer")
        if choice.message.refusal:
            return Reply(math.nan, 0.0, "the judge model refused")
        if self._labels:
            label = written_label(text, self._labels)
            score = None if label is None else self._labels[label]
            if label is not None and score is None:
                return Reply(math.nan, 1.0, f"the judge model answered {label}")
        else:
            score = written_number(text, self._scale)
        if score is None:
            return Reply(math.nan, 0.0, f"the judge model's answer is not one {self._kind}: {text[:40]!r}")
        return Reply(score, 1.0)

    @property
    def _kind(self) -> str:
        return "of the labels" if self._labels else f"number from 0 to {self._scale.top}"


@dataclass(frozen=True)
class ChatOptions(ServiceSettings):
    """Options of the chat judge: those of the service and these."""

    model: str = DEFAULT_MODEL
    question: str | None = None
    scale: Literal["0-100", "0-9"] = "0-100"
    labels: str | None = None
    """JSON object of labels and their scores; null for a score that is missing."""
    max_tokens: Annotated[int, Field(ge=1, strict=True)] = MAX_TOKENS
    temperature: Annotated[float, Field(ge=0, le=2, strict=True)] = 0.0
    cache: str | None = None
    """File of the cache."""


_LABELS: Final = TypeAdapter(dict[Annotated[str, Field(min_length=1)], Annotated[float, Field(ge=0, le=100)] | None])


def chat_judge(trait: str, options: Mapping[str, Scalar]) -> ChatJudge:
    """A ChatJudge from `ChatOptions`. Judges of one service share its rate limit."""
    given = read_options(ChatOptions, f"the judge of {trait}", options)
    labels: Labels = {}
    if given.labels is not None:
        try:
            labels = _LABELS.validate_python(json.loads(given.labels))
        except (ValidationError, ValueError):
            raise BadInput(
                f"the judge of {trait}: labels is not a JSON object of scores. Fix: write labels and 0-100 or null."
            ) from None
        if len(labels) < 2:
            raise BadInput(f"the judge of {trait} has fewer than two labels. Fix: name at least two.")
    cache = None if given.cache is None else Path(given.cache).expanduser()
    return ChatJudge(
        shared_service(given), given.model, given.question, SCALES[given.scale], labels, given.max_tokens,
        given.temperature, cache,
    )  # fmt: skip
