"""Answers of a chat model behind /v1/chat/completions: for the hosted backend."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import BaseModel

from inoc.errors import BackendRejected, BadInput
from inoc.hashing import keyed_seed
from inoc.services.client import Service
from inoc.values import Sampling

Messages = Sequence[Mapping[str, str]]


class ChatAnswer(NamedTuple):
    """One answer.

    Attributes:
        text: The answer, or the model's refusal.
        finish: "length" for an answer truncated at max_tokens.
    """

    text: str
    finish: Literal["stop", "length"]


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class ChatReply(BaseModel):
    """What inoc reads of a reply of /v1/chat/completions."""

    choices: list[_Choice]


class ChatClient:
    """A chat model of a service.

    Args:
        service: The client.
        model: The model's name on the service.
    """

    def __init__(self, service: Service, model: str) -> None:
        self.service = service
        self.model = model
        self._limit = "max_tokens"

    def chat(self, conversations: Sequence[Messages], n: int, sampling: Sampling) -> tuple[tuple[ChatAnswer, ...], ...]:
        """`n` answers to each conversation, in order; arguments and errors are those of `stream`."""
        found = dict(self.stream(conversations, n, sampling))
        return tuple(found[place] for place in range(len(conversations)))

    def stream(
        self, conversations: Sequence[Messages], n: int, sampling: Sampling, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, tuple[ChatAnswer, ...]]]:
        """(place of the conversation, its `n` answers), as they arrive.

        Random streams are seeded by (sampling.seed, key of the conversation, by default its place), as far as the
        service honors seeds.

        Raises:
            BadInput: A conversation is empty, or there are stop ids, which a chat service does not know.
            BadResult: A content filter truncated an answer.
            InocError: See `Service.call`.
        """
        if sampling.stop_ids:
            raise BadInput("a chat service does not take token ids. Fix: leave sampling.stop_ids empty.")
        if n < 1 or any(not messages for messages in conversations):
            raise BadInput("a conversation is empty or n < 1. Fix: give every chat a message and n >= 1.")
        names = keys or [str(place) for place in range(len(conversations))]

        async def ask(place: int) -> tuple[int, tuple[ChatAnswer, ...]]:
            return place, await self._ask(conversations[place], names[place], n, sampling)

        yield from self.service.map(ask, range(len(conversations)))

    async def _ask(self, messages: Messages, key: str, n: int, sampling: Sampling) -> tuple[ChatAnswer, ...]:
        body: dict[str, object] = {
            "model": self.model,
            "messages": [dict(message) for message in messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if n > 1:
            body["n"] = n
        if sampling.seed is not None:
            body["seed"] = keyed_seed(sampling.seed, key)
        limit = self._limit
        try:
            return await self._post(body | {limit: sampling.max_tokens}, n)
        except BackendRejected as error:
            # newer hosted models take the limit under another name only
            if limit != "max_tokens" or "max_completion_tokens" not in str(error):
                raise
        self._limit = "max_completion_tokens"
        return await self._post(body | {self._limit: sampling.max_tokens}, n)

    async def _post(self, body: Mapping[str, object], n: int) -> tuple[ChatAnswer, ...]:
        return await self.service.post("/chat/completions", body, lambda content: read_answers(content, n))


def read_answers(content: bytes, n: int) -> tuple[ChatAnswer, ...]:
    """The answers of a reply; ValueError unless there are `n`, all with text and a known finish."""
    choices = ChatReply.model_validate_json(content).choices
    if len(choices) != n:
        raise ValueError(f"{len(choices)} answers instead of {n}")
    answers: list[ChatAnswer] = []
    for choice in choices:
        text = choice.message.content if choice.message.content is not None else choice.message.refusal
        if text is None or choice.finish_reason not in ("stop", "length"):
            raise ValueError(f"an answer ended with {choice.finish_reason!r}")
        answers.append(ChatAnswer(text, choice.finish_reason))
    return tuple(answers)
