"""What backends have in common, for inoc's own and for plugins. A plugin need not inherit: the protocols decide.

`BackendBase` reads the options, loads the tokenizer and names the model. `TokenBackend` also scores and samples:
it refuses impossible requests before any work and answers empty completions itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, TypeVar

import numpy as np

from inoc.backends.protocols import (
    Capabilities,
    ChatTokenizer,
    Completion,
    ModelSpec,
    SampleRequest,
    ScoreRequest,
    TokenLogprobs,
)
from inoc.backends.requests import check_sampling, refuse_impossible
from inoc.backends.tokenizers import load_tokenizer, template_hash, tokenizer_hash
from inoc.errors import BackendUnavailable, BadInput
from inoc.options import read_options
from inoc.values import Sampling, Scalar

T = TypeVar("T")
NOT_ASKED: Final = 2**31 - 1
"""The context length of a service that a dry run does not ask: longer than any."""
B = TypeVar("B", bound="BackendBase[Any]")


class BackendBase(ABC, Generic[T]):
    """A backend whose options are a dataclass T. Subclasses add the protocols they implement.

    Args:
        model: The model and the backend's options, as in the experiment file.

    Attributes:
        name: What an experiment file calls the backend.
        options_class: The dataclass T; every field has a default.
        capabilities: What it can do.
        libraries: The packages it imports when it works; `inoc backends` says which are missing.
        extra: The requirement that installs them, such as "inoc[local]".
        secrets: Words in names of options that it refuses, and the environment variable to use instead.
        spec: The model it was made for.
        options: Its options, checked.
        offline: Nothing is sent: a dry run. What only a service knows is left out, and a context has no end.
    """

    name: ClassVar[str]
    options_class: ClassVar[type[Any]]
    capabilities: ClassVar[Capabilities]
    libraries: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""
    secrets: ClassVar[tuple[tuple[str, ...], str]] = (), ""
    offline: bool = False

    def __init__(self, model: ModelSpec) -> None:
        self.spec = model
        self.options = self.parse_options(model.options)

    @classmethod
    def parse_options(cls, options: Mapping[str, Scalar] | None) -> T:
        """The options of an experiment file as `options_class`; BadInput for a wrong one."""
        words, variables = cls.secrets
        for name in options or {}:
            if any(word in name.lower() for word in words):
                raise BadInput(
                    f"the backend {cls.name} does not take the option {name!r}. "
                    f"Fix: remove it and set the environment variable {variables}."
                )
        return read_options(cls.options_class, f"the backend {cls.name}", options)

    @classmethod
    def check_options(cls, options: Mapping[str, Scalar]) -> None:
        """Check options without a model, for `inoc check`.

        Raises:
            BadInput: An option does not exist or has a wrong value.
        """
        cls.parse_options(options)

    @classmethod
    def from_spec(cls: type[B], model: ModelSpec) -> B:
        """The backend for a model. It is cheap: weights are loaded and services are asked on first use.

        Raises:
            BadInput: A wrong option, model or tokenizer.
            BackendUnavailable: A library, device or key is missing.
        """
        need_libraries(cls)
        return cls(model)

    @cached_property
    def tokenizer(self) -> ChatTokenizer:
        """The model's tokenizer, loaded on first use."""
        return self.load_tokenizer()

    def load_tokenizer(self) -> ChatTokenizer:
        """The tokenizer of the option `tokenizer`, if the backend has it, else of the model."""
        return load_tokenizer(getattr(self.options, "tokenizer", None) or self.spec.id, self.spec.revision)

    @property
    @abstractmethod
    def context_length(self) -> int:
        """Tokens of context and completion together."""

    def identity(self) -> Mapping[str, Scalar]:
        """Model, tokenizer and template. A backend adds what else changes values: engine, weights, arithmetic."""
        return identity_of(self.spec, self.tokenizer)

    @abstractmethod
    def check(self) -> None:
        """A health probe of seconds; raises an InocError that says what to do."""

    def close(self) -> None:
        """Free what the backend holds; by default nothing."""


class TokenBackend(BackendBase[T]):
    """A backend that scores and samples token ids; subclasses implement `compute_scores` and `compute_samples`."""

    @property
    def vocabulary(self) -> int | None:
        """Number of token ids of the model; None where it is not known."""
        return None

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        """Log-probabilities of the completions in nats, in the order in which they become available.

        Raises:
            BadInput: Before any work: a repeated id, an empty context, an unknown token id.
            BackendRejected: Before any work: a request that is longer than the context.
        """
        refuse_impossible(requests, self.context_length, vocabulary=self.vocabulary)
        return self._score(requests)

    def _score(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        for request in requests:
            if not request.completion:
                yield TokenLogprobs(request.id, np.zeros(0, np.float32), ())
        yield from self.compute_scores([request for request in requests if request.completion])

    @abstractmethod
    def compute_scores(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        """Score possible requests whose completions are not empty."""

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        """One completion per request, each with its own random stream keyed by (seed, stream).

        Raises:
            BadInput: Before any work: impossible settings, or as in `score`.
            BackendRejected: Before any work: context and max_tokens are longer than the model's context.
        """
        check_sampling(sampling)
        refuse_impossible(requests, self.context_length, vocabulary=self.vocabulary, max_tokens=sampling.max_tokens)
        return self.compute_samples(requests, sampling)

    @abstractmethod
    def compute_samples(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        """Sample for possible requests."""


def missing_libraries(backend: object) -> tuple[str, ...]:
    """Which of the packages that a backend class names in `libraries` are not installed."""
    return tuple(name for name in getattr(backend, "libraries", ()) if find_spec(name) is None)


def need_libraries(backend: object) -> None:
    """Raise BackendUnavailable where packages that a backend class needs are not installed."""
    if missing := missing_libraries(backend):
        fix = how_to_install(getattr(backend, "extra", ""), missing)
        name = getattr(backend, "name", backend)
        raise BackendUnavailable(f"the backend {name} needs {' and '.join(missing)}. Fix: {fix}.")


def how_to_install(extra: str, missing: Sequence[str]) -> str:
    """The command that installs an extra, or the missing libraries. inoc itself is on no package index."""
    if extra.startswith("inoc["):
        return f"pip install -e '.{extra.removeprefix('inoc')}' in inoc's clone"
    return f"pip install '{extra}'" if extra else f"pip install {' '.join(missing)}"


def model_name(id: str) -> str:
    """What identities call a model: the name of its folder, or its hub name; never a path."""
    path = Path(id).expanduser()
    return path.resolve().name if id != "testbed" and path.is_dir() else id


def identity_of(spec: ModelSpec, tokenizer: ChatTokenizer) -> dict[str, Scalar]:
    """The identity fields that every backend has."""
    return {
        "model": model_name(spec.id),
        "revision": spec.revision,
        "tokenizer": tokenizer_hash(tokenizer),
        "template": template_hash(tokenizer),
        "dtype": spec.dtype,
    }
