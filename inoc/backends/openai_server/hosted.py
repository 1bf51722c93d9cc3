"""OpenAIBackend: the hosted OpenAI API (or one like it) as Sampler over chat and as Trainer over
fine-tuning jobs."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, ClassVar

from pydantic import Field, TypeAdapter, ValidationError

from inoc.backends.openai_server.turns import TEMPLATE, TurnTokenizer, to_messages
from inoc.backends.protocols import (
    Capabilities,
    ChatTokenizer,
    Completion,
    ModelSpec,
    SampleRequest,
    TrainingEvent,
    TrainingJob,
)
from inoc.errors import BackendRejected, BadInput
from inoc.services import OPTION_NAMES, ChatClient, Service, ServiceSettings
from inoc.values import Sampling, Scalar

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class HostedOptions:
    """What the backend needs to know beside `ServiceSettings`."""

    learning_rate_multiplier: Positive | None = None
    """The service's own unit of the learning rate; None leaves it to the service."""
    poll_seconds: Positive = 20.0
    """Seconds between two looks at a fine-tuning job."""
    context_length: Annotated[int, Field(ge=1)] = 1_000_000
    """Most bytes of a conversation; the service enforces its own limit in its own tokens."""


class OpenAIBackend:
    """Chat models known by name. It samples and trains, but cannot score a given text: no hosted service
    does.

    Token ids are bytes and turns (`TurnTokenizer`); max_tokens counts the service's tokens.
    """

    name: ClassVar[str] = "openai"
    capabilities: ClassVar[Capabilities] = Capabilities(sample=True, train=True, adapters=True)

    def __init__(self, model: ModelSpec) -> None:
        given = dict(model.options or {})
        known = [field.name for field in fields(HostedOptions)]
        if unknown := sorted(set(given) - set(known) - OPTION_NAMES):
            names = ", ".join([*known, *sorted(OPTION_NAMES)])
            raise BadInput(f"the backend openai has no option '{unknown[0]}'; it knows {names}.")
        try:
            mine = {name: value for name, value in given.items() if name in known}
            self.options = TypeAdapter(HostedOptions).validate_python(mine)
        except ValidationError as error:
            first = error.errors()[0]
            raise BadInput(f"openai option {first['loc'][0]} = {first['input']!r}: {first['msg']}.") from None
        self.spec = model
        self.service = Service(ServiceSettings.from_options(given))
        self._tokenizer = TurnTokenizer()

    @classmethod
    def from_spec(cls, model: ModelSpec) -> "OpenAIBackend":
        """BadInput for a wrong option, BackendUnavailable for a missing key or library."""
        return cls(model)

    @property
    def tokenizer(self) -> ChatTokenizer:
        return self._tokenizer

    @property
    def context_length(self) -> int:
        return self.options.context_length

    def identity(self) -> Mapping[str, Scalar]:
        """A hosted model is known by its name; name a dated snapshot to pin it."""
        return {
            "model": self.spec.id,
            "revision": self.spec.revision,
            "tokenizer": "bytes and turns",
            "template": hashlib.sha256(TEMPLATE.encode()).hexdigest(),
            "dtype": None,
            "engine": "openai chat completions",
        }

    def check(self) -> None:
        """Within seconds: the service answers, takes the key and has the model."""
        self.service.wait(
            self.service.get(f"/models/{self.spec.id}", lambda content: None, self.service.quick)
        )

    def close(self) -> None:
        """Ends the connections; fine-tuning jobs go on at the service."""
        self.service.close()

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        """One chat call each; the answer's text as ids. Only the end of a turn can stop it: other stop ids
        are refused."""
        if set(sampling.stop_ids) - {self._tokenizer.eos_token_id}:
            raise BackendRejected(
                "a chat service stops at the end of its turn only; leave out other stop_ids"
            )
        if len({request.id for request in requests}) != len(requests):
            raise BadInput("two requests have the same id: every request needs its own.")
        conversations = {request.id: to_messages(request.context, request.id) for request in requests}
        return self._sample(requests, sampling, conversations)

    def _sample(
        self,
        requests: Sequence[SampleRequest],
        sampling: Sampling,
        conversations: Mapping[str, tuple[dict[str, str], ...]],
    ) -> Iterator[Completion]:
        drawn = replace(sampling, stop_ids=())
        by_model: dict[str, list[SampleRequest]] = {}
        for request in requests:
            location = request.checkpoint.location if request.checkpoint else None
            by_model.setdefault(location or self.spec.id, []).append(request)
        for model, group in by_model.items():
            asked = [conversations[request.id] for request in group]
            keys = [request.stream_name for request in group]
            for place, (answer,) in ChatClient(self.service, model).stream(asked, 1, drawn, keys):
                ids = tuple(self._tokenizer.encode(answer.text, split_special_tokens=True))
                yield Completion(group[place].id, ids, answer.finish)

    def train(self, job: TrainingJob) -> Iterator[TrainingEvent]:
        """A fine-tuning job of the service; see `inoc.backends.openai_server.fine_tuning`."""
        from inoc.backends.openai_server.fine_tuning import fine_tune

        return fine_tune(self.service, self.spec.id, job, self.options)
