"""TinkerBackend: scores, samples and trains LoRA adapters on a Tinker service. Importing this imports no SDK."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from inoc.backends.base import NOT_ASKED, TokenBackend
from inoc.backends.checks import value_fault
from inoc.backends.protocols import (
    Capabilities,
    Checkpoint,
    Completion,
    ModelSpec,
    SampleRequest,
    ScoreRequest,
    TokenLogprobs,
    TrainingEvent,
    TrainingJob,
)
from inoc.backends.streams import stream_seed
from inoc.backends.tinker.adapter import LORA
from inoc.backends.tinker.download import download
from inoc.backends.tinker.options import Options
from inoc.backends.tinker.service import Service
from inoc.backends.tinker.train import train
from inoc.backends.training import check_job
from inoc.errors import BackendRejected, BadInput, BadResult
from inoc.values import Sampling, Scalar

if TYPE_CHECKING:
    from concurrent.futures import Future

    from tinker import SamplingClient
    from tinker.types import SampleResponse, SupportedModel

ADDRESS = "tinker://"


class TinkerBackend(TokenBackend[Options]):
    """A base model of a Tinker service and the adapters trained there. BadInput for a wrong option or tokenizer;
    nothing is sent."""

    name: ClassVar[str] = "tinker"
    options_class: ClassVar[type[Options]] = Options
    capabilities = Capabilities(score=True, sample=True, train=True, adapters=True, shares_prefix=True)
    libraries: ClassVar[tuple[str, ...]] = ("tinker",)
    extra: ClassVar[str] = "inoc[tinker]"
    secrets = ("key",), "TINKER_API_KEY"

    def __init__(self, model: ModelSpec) -> None:
        super().__init__(model)
        self.served_name = self.options.served_name or model.id
        self.service = Service(self.options)
        self.tokenizer  # noqa: B018  # a wrong one is an error here, not after a session has begun
        self._samplers: dict[str | None, SamplingClient] = {}

    @property
    def context_length(self) -> int:
        """The option context_length, else what the service says; BadInput where neither does."""
        if self.options.context_length is None and self.offline:
            return NOT_ASKED
        length = self.options.context_length or self._served.max_context_length
        if length is None:
            raise BadInput(
                f"the Tinker service does not say the context length of {self.served_name}. "
                "Fix: set the option context_length."
            )
        return length

    def identity(self) -> Mapping[str, Scalar]:
        """Weights and dtype are the service's: known by the model's name only. `lora` says how its adapters
        are scaled, which can differ from what an experiment asks for."""
        return {
            **super().identity(),
            "served_name": self.options.served_name,
            "dtype": "chosen by the service",
            "lora": LORA,
            "engine": f"tinker {version('tinker')}",
        }

    def check(self) -> None:
        """Within seconds: the service answers, takes the key and has the model."""
        self._served  # noqa: B018  # asking is the check

    def close(self) -> None:
        """End the session; what was trained and saved stays on the service."""
        self._samplers.clear()
        self.service.close()

    @cached_property
    def _served(self) -> "SupportedModel":
        models = {model.model_name: model for model in self.service.models() if model.model_name}
        if self.served_name not in models:
            more = f" and {len(models) - 20} others" if len(models) > 20 else ""
            raise BackendRejected(
                f"the Tinker service at {self.service.url} does not have the model '{self.served_name}', but "
                f"{', '.join(sorted(models)[:20]) or 'nothing'}{more}. Fix: set model.id or the option served_name."
            )
        return models[self.served_name]

    def sampler(self, checkpoint: Checkpoint | None) -> "SamplingClient":
        """The SDK's client for the base model or a checkpoint saved for sampling."""
        location = None if checkpoint is None else checkpoint.location
        if location is not None and not location.startswith(ADDRESS):
            raise BadInput(
                f"the checkpoint '{location}' is not on a Tinker service ({ADDRESS}…). Fix: use the backend that "
                "trained it."
            )
        if location not in self._samplers:
            client = self.service.client
            self._samplers[location] = self.service.call(
                lambda: client.create_sampling_client(
                    model_path=location, base_model=self.served_name if location is None else None
                ).result()
            )
        return self._samplers[location]

    def _samplers_of(
        self, requests: Sequence[ScoreRequest] | Sequence[SampleRequest]
    ) -> "dict[Checkpoint | None, SamplingClient]":
        checkpoints = dict.fromkeys(request.checkpoint for request in requests)
        return {checkpoint: self.sampler(checkpoint) for checkpoint in checkpoints}

    def compute_scores(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        """Ask for the completions' logprobs only, so that the service can take the context from its cache.
        Requests with one context go out together. A wrong reply is requested once more, then BadResult."""
        asked = sorted(requests, key=lambda request: request.context)
        clients = self._samplers_of(asked)

        def ask(request: ScoreRequest) -> "Future[list[float | None]]":
            from tinker.types import ModelInput

            prompt = ModelInput.from_ints(list(request.context + request.completion))
            client = clients[request.checkpoint]
            return client.compute_logprobs(prompt, prompt_logprobs_last_n=len(request.completion)).future()

        for attempt in range(2):
            wrong: list[ScoreRequest] = []
            for request, reply in self.service.map(ask, asked):
                result = read_logprobs(request, reply)
                if isinstance(result, TokenLogprobs):
                    yield result
                elif attempt:
                    raise result
                else:
                    wrong.append(request)
            asked = wrong

    def compute_samples(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        """One sample each, seeded by (sampling.seed, stream). `logprobs` only at temperature 1 and top_p 1: what
        a service returns otherwise is undocumented."""
        clients = self._samplers_of(requests)

        def ask(request: SampleRequest) -> "Future[SampleResponse]":
            from tinker.types import ModelInput, SamplingParams

            params = SamplingParams(
                max_tokens=sampling.max_tokens,
                seed=stream_seed(sampling.seed, request),
                stop=list(sampling.stop_ids),  # an empty list: not even the end-of-text token stops
                temperature=sampling.temperature,
                top_p=sampling.top_p,
            )
            prompt = ModelInput.from_ints(list(request.context))
            return clients[request.checkpoint].sample(prompt, 1, params).future()

        for request, reply in self.service.map(ask, requests):
            if isinstance(reply, BadResult):
                raise reply
            yield read_sample(request, reply, sampling)

    def train(self, job: TrainingJob) -> Iterator[TrainingEvent]:
        """inoc's own loop of forward_backward and optim_step; see `inoc.backends.tinker.train`."""
        check_job(job, self.context_length)
        return train(self.service, job, self.served_name, self.identity())

    def download(self, checkpoint: Checkpoint, directory: Path) -> Checkpoint:
        """A trained adapter as a PEFT folder; see `inoc.backends.tinker.download`."""
        return download(self.service, checkpoint, directory, self.identity())


def read_logprobs(request: ScoreRequest, reply: list[float | None] | BadResult) -> TokenLogprobs | BadResult:
    """The completion's part of a reply; a BadResult for a reply that cannot be right."""
    if isinstance(reply, BadResult):
        return BadResult(f"{request.id}: {reply}")
    total, wanted = len(request.context) + len(request.completion), len(request.completion)
    if len(reply) != total:
        return BadResult(f"{request.id}: the service sent {len(reply)} log-probabilities for {total} tokens.")
    values = np.array([np.nan if value is None else value for value in reply[-wanted:]], np.float32)
    if fault := value_fault(values):
        return BadResult(f"{request.id}: the service sent the {fault}.")
    return TokenLogprobs(request.id, values)


def read_sample(request: SampleRequest, reply: "SampleResponse", sampling: Sampling) -> Completion:
    """The one sequence of a reply, without the stop token that ends it."""
    if len(reply.sequences) != 1:
        raise BadResult(f"{request.id}: the service sent {len(reply.sequences)} samples instead of one.")
    sequence = reply.sequences[0]
    ids = tuple(int(token) for token in sequence.tokens)
    if sequence.stop_reason == "stop" and ids and ids[-1] in sampling.stop_ids:
        ids = ids[:-1]
    if len(ids) > sampling.max_tokens or set(ids) & set(sampling.stop_ids) or (ids and min(ids) < 0):
        raise BadResult(f"{request.id}: the service's sample continues after its end ({len(ids)} tokens).")
    logprobs = None
    if sequence.logprobs is not None and sampling.temperature == 1 and sampling.top_p == 1:
        logprobs = np.array(sequence.logprobs[: len(ids)], np.float32)
        if logprobs.shape != (len(ids),) or value_fault(logprobs):
            raise BadResult(f"{request.id}: the log-probabilities of the service's sample cannot be right.")
    return Completion(request.id, ids, "stop" if sequence.stop_reason == "stop" else "length", logprobs)
