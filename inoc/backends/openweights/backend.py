"""OpenWeightsBackend: inoc's own jobs on an OpenWeights server's workers. Importing this imports no client."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from typing import ClassVar

import numpy as np
from jaxtyping import Float32

from inoc.backends.openweights.command import image_of
from inoc.backends.openweights.desk import Desk
from inoc.backends.openweights.model import context_and_vocabulary, find
from inoc.backends.openweights.options import parse_options
from inoc.backends.openweights.service import Service
from inoc.backends.pricing import Price, Work
from inoc.backends.protocols import (
    Capabilities,
    ChatTokenizer,
    Completion,
    ModelSpec,
    SampleRequest,
    ScoreRequest,
    TokenLogprobs,
    TrainingEvent,
    TrainingJob,
)
from inoc.backends.requests import check_sampling, refuse_impossible
from inoc.backends.tokenizers import load_tokenizer, template_hash, tokenizer_hash
from inoc.errors import BackendUnavailable, BadInput
from inoc.values import Sampling, Scalar


class OpenWeightsBackend:
    """Scores, samples, trains and embeds with the local backend on a worker that the server rents."""

    name: ClassVar[str] = "openweights"
    capabilities: ClassVar[Capabilities] = Capabilities(
        score=True,
        sample=True,
        train=True,
        embed=True,
        adapters=True,
        echoes_token_ids=True,
        shares_prefix=True,
        jobs=True,
        samples_while_training=True,
    )
    libraries: ClassVar[tuple[str, ...]] = ("openweights", "transformers")
    extra: ClassVar[str] = "inoc[openweights]"

    def __init__(self, model: ModelSpec) -> None:
        missing = [name for name in ("openweights", "transformers") if find_spec(name) is None]
        if missing:
            raise BackendUnavailable(
                f"the backend openweights needs {' and '.join(missing)}: pip install 'inoc[openweights]'."
            )
        self.spec = model
        self.options = parse_options(model.options)
        self.model = find(model, self.options)
        self._tokenizer = load_tokenizer(self.model.place, model.revision)
        self.service = Service()
        self.desk = Desk(model, self.options, self.model, self.service)

    @classmethod
    def check_options(cls, options: Mapping[str, Scalar]) -> None:
        """BadInput for an option it does not have or a value it cannot take."""
        parse_options(options)

    @classmethod
    def from_spec(cls, model: ModelSpec) -> "OpenWeightsBackend":
        """BadInput for a wrong option or model, BackendUnavailable for a missing library. Nothing is sent."""
        return cls(model)

    @property
    def tokenizer(self) -> ChatTokenizer:
        return self._tokenizer

    @cached_property
    def _config(self) -> tuple[int | None, int | None]:
        return context_and_vocabulary(self.model, self.spec)

    @property
    def context_length(self) -> int:
        """The option context_length, else what the model's configuration says. BadInput where neither does."""
        length = self.options.context_length or self._config[0]
        if length is None:
            raise BadInput(
                f"no configuration of '{self.spec.id}' can be read here: set the option context_length."
            )
        return length

    @property
    def image(self) -> str:
        """The container image of the jobs."""
        return image_of(self.options)

    def identity(self) -> Mapping[str, Scalar]:
        """Weights are known where they are here; the libraries are those of the image."""
        return {
            "model": self.model.name,
            "revision": self.spec.revision,
            "worker_model": self.options.worker_model,
            "weights": self.model.weights,
            "tokenizer": tokenizer_hash(self._tokenizer),
            "template": template_hash(self._tokenizer),
            "dtype": self.spec.dtype,
            "quantization": self.options.quantization,
            "engine": f"openweights {version('openweights')}",
            "image": self.image,
        }

    def check(self) -> None:
        """Within seconds: the server answers and takes the key."""
        self.service.close()
        self.service.ow  # noqa: B018  # opening is the check

    def close(self) -> None:
        """Forget the client. Jobs go on."""
        self.service.close()

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        """All requests in as few jobs as `tokens_per_job` allows; results come while the jobs run."""
        refuse_impossible(requests, self.context_length, vocabulary=self._config[1])
        asked = [request for request in requests if request.completion]
        return self._score(requests, asked)

    def _score(
        self, requests: Sequence[ScoreRequest], asked: Sequence[ScoreRequest]
    ) -> Iterator[TokenLogprobs]:
        from inoc.backends.openweights.requests import run

        for request in requests:
            if not request.completion:
                yield TokenLogprobs(request.id, np.zeros(0, np.float32), ())
        for result in run(self.desk, "score", asked, None):
            assert isinstance(result, TokenLogprobs)
            yield result

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        """The local backend's samples: the same random streams. The same request gives the sample it gave before."""
        check_sampling(sampling)
        refuse_impossible(
            requests, self.context_length, vocabulary=self._config[1], max_tokens=sampling.max_tokens
        )
        return self._sample(requests, sampling)

    def _sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        from inoc.backends.openweights.requests import run

        for result in run(self.desk, "sample", requests, sampling):
            assert isinstance(result, Completion)
            yield result

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text feature"]:
        """Unit vectors from the base model, as the local backend makes them."""
        from inoc.backends.openweights.requests import embed

        return embed(self.desk, texts)

    def train(self, job: TrainingJob) -> Iterator[TrainingEvent]:
        """One job: training, then sampling from the checkpoints; see `inoc.backends.openweights.train`."""
        from inoc.backends.openweights.train import train

        return train(self.desk, job, self.context_length)

    def submit(self, jobs: Sequence[TrainingJob]) -> None:
        """Start all these trainings; `train` then follows one of them."""
        from inoc.backends.openweights.train import submit

        for job in jobs:
            submit(self.desk, job, self.context_length)

    def price(self, tokens: int, work: Work = "score", jobs: int | None = None) -> Price:
        """What so many tokens take and cost, as far as that is known."""
        from inoc.backends.openweights.cost import price

        return price(self.desk, tokens, work, jobs)
