"""OpenAIBackend: the hosted OpenAI API (or one like it), sampling by chat and training by fine-tuning jobs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from inoc.backends.base import BackendBase
from inoc.backends.openai_server.fine_tuning import fine_tune
from inoc.backends.openai_server.options import HostedOptions
from inoc.backends.openai_server.turns import TEMPLATE, TurnTokenizer, to_messages
from inoc.backends.protocols import Capabilities, Completion, ModelSpec, SampleRequest, TrainingEvent, TrainingJob
from inoc.backends.requests import by_checkpoint
from inoc.errors import BackendRejected, BadInput
from inoc.hashing import bytes_hash
from inoc.services import ChatClient, Service
from inoc.values import Sampling, Scalar


class OpenAIBackend(BackendBase[HostedOptions]):
    """Chat models known by name. It samples and trains; no hosted service scores a given text. BackendUnavailable where
    a library or the key is missing.

    Token ids are bytes and turns (`TurnTokenizer`); max_tokens counts the service's tokens.
    """

    name: ClassVar[str] = "openai"
    options_class: ClassVar[type[HostedOptions]] = HostedOptions
    capabilities: ClassVar[Capabilities] = Capabilities(sample=True, train=True, adapters=True)
    libraries: ClassVar[tuple[str, ...]] = ("openai",)
    extra: ClassVar[str] = "inoc[openai]"

    def __init__(self, model: ModelSpec) -> None:
        super().__init__(model)
        self.service = Service(self.options)

    def load_tokenizer(self) -> TurnTokenizer:
        """Bytes and turns; the model's own tokenizer is out of reach."""
        return TurnTokenizer()

    @property
    def context_length(self) -> int:
        return self.options.context_length

    def identity(self) -> Mapping[str, Scalar]:
        """A hosted model is known by its name only; a dated snapshot pins it."""
        return {
            "model": self.spec.id,
            "revision": self.spec.revision,
            "tokenizer": "bytes and turns",
            "template": bytes_hash(TEMPLATE.encode()),
            "dtype": None,
            "engine": "openai chat completions",
        }

    def check(self) -> None:
        """Within seconds: the service answers, takes the key and has the model."""
        self.service.wait(self.service.get(f"/models/{self.spec.id}", lambda content: None, self.service.quick))

    def close(self) -> None:
        """End the connections; fine-tuning jobs continue at the service."""
        self.service.close()

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        """One chat call each; the answer's text as ids. Stop ids other than the end of a turn are refused."""
        if set(sampling.stop_ids) - {self.tokenizer.eos_token_id}:
            raise BackendRejected("a chat service stops at the end of its turn only. Fix: remove the other stop_ids.")
        if len({request.id for request in requests}) != len(requests):
            raise BadInput("two requests have the same id.")
        conversations = {request.id: to_messages(request.context, request.id) for request in requests}
        return self._sample(requests, sampling, conversations)

    def _sample(
        self,
        requests: Sequence[SampleRequest],
        sampling: Sampling,
        conversations: Mapping[str, tuple[dict[str, str], ...]],
    ) -> Iterator[Completion]:
        drawn = replace(sampling, stop_ids=())
        for checkpoint, group in by_checkpoint(requests).items():
            model = (checkpoint.location if checkpoint else None) or self.spec.id
            asked = [conversations[request.id] for request in group]
            keys = [request.stream_name for request in group]
            for place, (answer,) in ChatClient(self.service, model).stream(asked, 1, drawn, keys):
                ids = tuple(self.tokenizer.encode(answer.text, split_special_tokens=True))
                yield Completion(group[place].id, ids, answer.finish)

    def train(self, job: TrainingJob) -> Iterator[TrainingEvent]:
        """A fine-tuning job of the service."""
        return fine_tune(self.service, self.spec.id, job, self.options)
