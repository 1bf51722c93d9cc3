# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""TinkerBackend: scores, samples and trains LoRA adapters on a Tinker service. Importing this imports no SDK."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from inoc.backends.checks import ROUNDING
from inoc.backends.protocols import (
    Capabilities,
    ChatTokenizer,
    Checkpoint,
    Completion,
    ModelSpec,
    SampleRequest,
    ScoreRequest,
    TokenLogprobs,
    TrainingEvent,
    TrainingJob,
)
from inoc.backends.requests import check_sampling, refuse_impossible, stream_seed
from inoc.backends.tinker.options import parse_options
from inoc.backends.tinker.service import Service
from inoc.backends.tokenizers import load_tokenizer, template_hash, tokenizer_hash
from inoc.errors import BackendRejected, BackendUnavailable, BadInput, BadResult
from inoc.values import Sampling, Scalar

if TYPE_CHECKING:
    from concurrent.futures import Future

    from tinker import SamplingClient
    from tinker.types import SampleResponse, SupportedModel

ADDRESS = "tinker://"


class TinkerBackend:
    """A base model of a Tinker service and the adapters trained there."""

    name: ClassVar[str] = "tinker"
    capabilities: ClassVar[Capabilities] = Capabilities(
        score=True, sample=True, train=True, adapters=True, shares_prefix=True
    )
    libraries: ClassVar[tuple[str, ...]] = ("tinker",)
    extra: ClassVar[str] = "inoc[tinker]"

    def __init__(self, model: ModelSpec) -> None:
        if find_spec("tinker") is None:
            raise BackendUnavailable("the backend tinker needs its library: pip install 'inoc[tinker]'.")
        self.spec = model
        self.options = parse_options(model.options)
        self.served_name = self.options.served_name or model.id
        self.service = Service(self.options)
        self._tokenizer = load_tokenizer(self.options.tokenizer or model.id, model.revision)
        self._samplers: dict[str | None, SamplingClient] = {}

    @classmethod
    def check_options(cls, options: Mapping[str, Scalar]) -> None:
        """BadInput for an option it does not have or a value it cannot take."""
        parse_options(options)

    @classmethod
    def from_spec(cls, model: ModelSpec) -> "TinkerBackend":
        """BadInput for a wrong option or tokenizer, BackendUnavailable for a missing library. Nothing is sent."""
        return cls(model)

    @property
    def tokenizer(self) -> ChatTokenizer:
        return self._tokenizer

    @cached_property
    def context_length(self) -> int:
        """The option context_length, else what the service says. BadInput where neither does."""
        length = self.options.context_length or self._served.max_context_length
        if length is None:
            raise BadInput(
                f"the Tinker service does not say how long a context of {self.served_name} may be: "
                "set the option context_length."
            )
        return length

    def identity(self) -> Mapping[str, Scalar]:
        """Weights and dtype are the service's: known by the model's name only. `lora` says how its adapters
        are scaled, which can differ from what an experiment asks for."""
        from importlib.metadata import version

        from inoc.backends.tinker.adapter import LORA

        local = Path(self.spec.id).is_dir()
        return {
            "model": Path(self.spec.id).resolve().name if local else self.spec.id,
            "revision": self.spec.revision,
            "served_name": self.options.served_name,
            "tokenizer": tokenizer_hash(self._tokenizer),
            "template": template_hash(self._tokenizer),
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
        models = self.service.models()
        for model in models:
            if model.model_name == self.served_name:
                return model
        names = sorted(model.model_name for model in models if model.model_name)
        more = f" and {len(names) - 20} others" if len(names) > 20 else ""
        raise BackendRejected(
            f"the Tinker service at {self.service.url} does not have the model '{self.served_name}'; it has "
            f"{', '.join(names[:20]) or 'none'}{more}: set the model's id or the option served_name."
        )

    def sampler(self, checkpoint: Checkpoint | None) -> "SamplingClient":
        """The SDK's client for the base model or a checkpoint saved for sampling."""
        location = None if checkpoint is None else checkpoint.location
        if location is not None and not location.startswith(ADDRESS):
            raise BadInput(
                f"the checkpoint '{location}' is not on a Tinker service ({ADDRESS}…): use the backend that "
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

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        """Asks for the completions' logprobs only, so that the service may take the context from its cache.
        Requests with the same context go out together. A wrong reply is asked for once more, then BadResult."""
        refuse_impossible(requests, self.context_length)
        return self._score(requests)

    def _score(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        asked = [request for request in requests if request.completion]
        asked.sort(key=lambda request: request.context)
        samplers = {request.checkpoint: None for request in asked}
        clients = {checkpoint: self.sampler(checkpoint) for checkpoint in samplers}
        for request in requests:
            if not request.completion:
                yield TokenLogprobs(request.id, np.zeros(0, np.float32), ())

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

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        """One sample each, seeded by (sampling.seed, stream). `logprobs` only at temperature 1 and top_p 1: what a
        service returns elsewhere is not said."""
        check_sampling(sampling)
        refuse_impossible(requests, self.context_length, max_tokens=sampling.max_tokens)
        return self._sample(requests, sampling)

    def _sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        checkpoints = {request.checkpoint: None for request in requests}
        clients = {checkpoint: self.sampler(checkpoint) for checkpoint in checkpoints}

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
        """Own loop of forward_backward and optim_step; see `inoc.backends.tinker.train`."""
        from inoc.backends.tinker.train import train

        return train(self, job)

    def download(self, checkpoint: Checkpoint, directory: Path) -> Checkpoint:
        """A trained adapter as a PEFT folder; see `inoc.backends.tinker.download`."""
        from inoc.backends.tinker.download import download

        return download(self, checkpoint, directory)


def read_logprobs(request: ScoreRequest, reply: list[float | None] | BadResult) -> TokenLogprobs | BadResult:
    """The completion's part of a reply; a BadResult where it cannot be right."""
    if isinstance(reply, BadResult):
        return BadResult(f"{request.id}: {reply}")
    total, wanted = len(request.context) + len(request.completion), len(request.completion)
    if len(reply) != total:
        return BadResult(f"{request.id}: the service sent {len(reply)} log-probabilities for {total} tokens.")
    values = np.array([np.nan if value is None else value for value in reply[-wanted:]], np.float32)
    wrong = np.flatnonzero(~np.isfinite(values) | (values > ROUNDING))
    if wrong.size:
        return BadResult(
            f"{request.id}: the service sent the log-probability {values[wrong[0]]} at position {wrong[0]} "
            f"({wrong.size} of {wanted} are missing, not finite or above 0)."
        )
    return TokenLogprobs(request.id, values)


def read_sample(request: SampleRequest, reply: "SampleResponse", sampling: Sampling) -> Completion:
    """The one sequence of a reply, without the stop token that ends it."""
    if len(reply.sequences) != 1:
        raise BadResult(f"{request.id}: the service sent {len(reply.sequences)} samples, asked for one.")
    sequence = reply.sequences[0]
    ids = tuple(int(token) for token in sequence.tokens)
    if sequence.stop_reason == "stop" and ids and ids[-1] in sampling.stop_ids:
        ids = ids[:-1]
    if len(ids) > sampling.max_tokens or set(ids) & set(sampling.stop_ids) or (ids and min(ids) < 0):
        raise BadResult(f"{request.id}: the service's sample goes on after its end ({len(ids)} tokens).")
    logprobs = None
    if sequence.logprobs is not None and sampling.temperature == 1 and sampling.top_p == 1:
        logprobs = np.array(sequence.logprobs[: len(ids)], np.float32)
        if logprobs.shape != (len(ids),) or not (np.isfinite(logprobs) & (logprobs <= ROUNDING)).all():
            raise BadResult(f"{request.id}: the log-probabilities of the service's sample cannot be right.")
    return Completion(request.id, ids, "stop" if sequence.stop_reason == "stop" else "length", logprobs)
