"""OpenWeightsBackend: inoc's own jobs on an OpenWeights server's workers. Importing this imports no client."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import ClassVar, cast

import numpy as np
from jaxtyping import Float32

from inoc.backends.base import TokenBackend
from inoc.backends.openweights import requests as jobs
from inoc.backends.openweights import train as training
from inoc.backends.openweights.command import image_of
from inoc.backends.openweights.cost import price
from inoc.backends.openweights.desk import Desk
from inoc.backends.openweights.model import context_and_vocabulary, find
from inoc.backends.openweights.options import Options
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
from inoc.backends.tokenizers import load_tokenizer
from inoc.errors import BadInput
from inoc.values import Sampling, Scalar


class OpenWeightsBackend(TokenBackend[Options]):
    """Scores, samples, trains and embeds with the local backend on a worker that the server rents. BadInput for a wrong
    option, model or tokenizer; nothing is sent."""

    name: ClassVar[str] = "openweights"
    options_class: ClassVar[type[Options]] = Options
    capabilities: ClassVar[Capabilities] = Capabilities(
        score=True, sample=True, train=True, embed=True, adapters=True, echoes_token_ids=True, shares_prefix=True,
        jobs=True, samples_while_training=True,
    )  # fmt: skip
    libraries: ClassVar[tuple[str, ...]] = ("openweights", "transformers")
    extra: ClassVar[str] = "inoc[openweights]"
    secrets = ("key", "url"), "OPENWEIGHTS_API_KEY, SUPABASE_URL or SUPABASE_ANON_KEY"

    def __init__(self, model: ModelSpec) -> None:
        super().__init__(model)
        self.model = find(model, self.options)
        self.service = Service()
        self.desk = Desk(model, self.options, self.model, self.service)
        self.tokenizer  # noqa: B018  # a wrong one is an error here, not after jobs were submitted

    def load_tokenizer(self) -> ChatTokenizer:
        """The tokenizer on this machine or of the hub; the worker has its own copy."""
        return load_tokenizer(self.model.place, self.spec.revision)

    @cached_property
    def _config(self) -> tuple[int | None, int | None]:
        return context_and_vocabulary(self.model, self.spec)

    @property
    def context_length(self) -> int:
        """The option context_length, else what the model's configuration says; BadInput where neither does."""
        length = self.options.context_length or self._config[0]
        if length is None:
            raise BadInput(
                f"the configuration of '{self.spec.id}' cannot be read on this machine. "
                "Fix: set the option context_length."
            )
        return length

    @property
    def vocabulary(self) -> int | None:
        """Number of token ids, where the configuration can be read on this machine."""
        return self._config[1]

    def identity(self) -> Mapping[str, Scalar]:
        """The weights of a local model are known; the libraries are those of the image."""
        return {
            **super().identity(),
            "worker_model": self.options.worker_model,
            "weights": self.model.weights,
            "quantization": self.options.quantization,
            "engine": f"openweights {version('openweights')}",
            "image": image_of(self.options),
        }

    def check(self) -> None:
        """Within seconds: the server answers and takes the key."""
        self.service.close()
        self.service.ow  # noqa: B018  # opening is the check

    def close(self) -> None:
        """Forget the client. Jobs continue."""
        self.service.close()

    def compute_scores(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        """All requests in as few jobs as `tokens_per_job` allows; results arrive while the jobs run."""
        return cast(Iterator[TokenLogprobs], jobs.run(self.desk, "score", requests, None))

    def compute_samples(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        """The local backend's samples, with the same random streams. A repeated request gives the same sample."""
        return cast(Iterator[Completion], jobs.run(self.desk, "sample", requests, sampling))

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text feature"]:
        """Unit vectors from the base model, as the local backend makes them."""
        return jobs.embed(self.desk, texts)

    def train(self, job: TrainingJob) -> Iterator[TrainingEvent]:
        """One job: training, then sampling from the checkpoints; see `inoc.backends.openweights.train`."""
        return training.train(self.desk, job, self.context_length)

    def submit(self, jobs: Sequence[TrainingJob]) -> None:
        """Start all these trainings; `train` then follows one of them."""
        for job in jobs:
            training.submit(self.desk, job, self.context_length)

    def price(self, tokens: int, work: Work = "score", jobs: int | None = None) -> Price:
        """What this number of tokens takes and costs, as far as it is known."""
        return price(self.desk, tokens, work, jobs)
