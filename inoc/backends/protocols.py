"""What a backend is: small protocols, requests that are plain values, results that stream with the request's id.

Templates and tokenization are applied once, in `inoc.chat`; a backend sees token ids only and returns NumPy arrays.
A backend implements the protocols it can and names them in its `Capabilities`. Stages consume scores only through
`inoc.backends.check_scores`, which verifies every result, because some engines return garbage without an error.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from inoc.values import Sampling, Scalar, TokenIds


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do. Data, so that `inoc backends` can print it without loading a model."""

    score: bool = False
    sample: bool = False
    train: bool = False
    embed: bool = False
    probe: bool = False
    """Shows gradients, hidden states and logits of the base model (`inoc.backends.probing`)."""
    adapters: bool = False
    """Can score and sample with a trained adapter."""
    echoes_token_ids: bool = False
    """Returns the token ids it scored, so that a mismatch can be caught."""
    shares_prefix: bool = False
    """Computes a context shared by many completions once."""
    top_logprobs: int = 0
    """How many alternatives it can return for a sampled token."""
    jobs: bool = False
    """Every call starts a remote job: stages pass all the work of a call at once."""
    samples_while_training: bool = False
    """Answers the questions of a training job in the same job."""
    merges: bool = False
    """Trains all weights from a checkpoint with an adapter, which it merges into them."""


@dataclass(frozen=True)
class ModelSpec:
    """A base model as the experiment names it.

    `id` is a local directory, a hub name, or "testbed". `dtype` is the arithmetic of the model's weights.
    `options` are the backend's own settings from the experiment file (device, quantization, url, ...).
    """

    id: str
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    options: Mapping[str, Scalar] | None = None


@dataclass(frozen=True)
class AdapterSettings:
    """How an adapter is parametrized. Backends differ; settings are recorded, never silently converted."""

    kind: Literal["lora", "full"] = "lora"
    rank: int = 32
    alpha: float = 16.0
    rslora: bool = True
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

    @property
    def scale(self) -> float:
        """The factor on the low-rank update: alpha / sqrt(rank) for rsLoRA, alpha / rank otherwise."""
        return self.alpha / (self.rank**0.5 if self.rslora else self.rank)


@dataclass(frozen=True)
class Checkpoint:
    """Trained weights a backend can load again: a directory or a service's own address.

    Step 0 is the base model, without a location. `content` is the hash of the manifest in the directory
    (`inoc.backends.manifest`): what loads the checkpoint verifies every file. None where a service keeps the weights.
    """

    step: int
    location: str | None
    adapter: AdapterSettings
    content: str | None = None


@dataclass(frozen=True)
class ScoreRequest:
    """Ask for log p(completion[i] | context, completion[:i]) for every i."""

    id: str
    context: TokenIds
    completion: TokenIds
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True)
class TokenLogprobs:
    """`logprobs[i]` belongs to `completion[i]`. `token_ids` is filled where the backend echoes what it scored."""

    id: str
    logprobs: Float32[np.ndarray, " token"]
    token_ids: TokenIds | None = None


@dataclass(frozen=True)
class SampleRequest:
    """Ask for one completion of `context`.

    Where the backend can be seeded, the result does not depend on the batch: the random stream is keyed by
    (sampling.seed, stream), or by the id where no stream is named. Requests that are compared in pairs name the
    same stream.
    """

    id: str
    context: TokenIds
    checkpoint: Checkpoint | None = None
    stream: str | None = None

    @property
    def stream_name(self) -> str:
        """What keys the random stream."""
        return self.id if self.stream is None else self.stream


@dataclass(frozen=True)
class Completion:
    """One sampled completion. `finish` is "stop" at an end-of-turn token, "length" when cut at max_tokens."""

    id: str
    token_ids: TokenIds
    finish: Literal["stop", "length"]
    logprobs: Float32[np.ndarray, " token"] | None = None


@dataclass(frozen=True)
class TrainingExample:
    """One training row: context + response ids joined; `weights[i]` = 1 where token i is part of the loss."""

    id: str
    token_ids: TokenIds
    weights: tuple[float, ...]


@dataclass(frozen=True)
class CheckpointQuestions:
    """Requests for the weights after update `step` (0: the base model), answered where they are trained."""

    step: int
    requests: tuple[SampleRequest, ...]
    sampling: Sampling


@dataclass(frozen=True)
class CheckpointAnswers:
    """The answers to the questions of update `step`, in any order."""

    step: int
    completions: tuple[Completion, ...]


@dataclass(frozen=True)
class TrainingJob:
    """One fine-tuning: `batches` lists for every update the indices into `examples`, in order.

    inoc builds the seeded batches, so that every backend and every resumed process sees the same data in the same
    order. `accumulation` splits a batch into that many micro-batches; the loss of an update is the mean over all
    weighted tokens of the batch.
    """

    id: str
    examples: tuple[TrainingExample, ...]
    batches: tuple[tuple[int, ...], ...]
    adapter: AdapterSettings
    learning_rate: float = 1e-4
    warmup: int = 30
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    accumulation: int = 8
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw_8bit"
    gradient_checkpointing: bool = False
    seed: int = 0
    checkpoint_steps: tuple[int, ...] = ()
    """Updates after which a checkpoint is kept; the last update always is."""
    resume_every: int = 50
    """Updates between the states that a killed run resumes from."""
    directory: str = ""
    """Where a local backend keeps checkpoints and resume state."""
    start: Checkpoint | None = None
    """Continue from these weights instead of the base model (durability runs)."""
    questions: tuple[CheckpointQuestions, ...] = ()
    """Asked after training, each of its step; only for a backend that `samples_while_training`."""


@dataclass(frozen=True)
class TrainingStep:
    """One optimizer update: mean loss per weighted token before the update, learning rate used, gradient norm."""

    step: int
    loss: float
    learning_rate: float
    grad_norm: float


TrainingEvent = TrainingStep | Checkpoint | CheckpointAnswers


@runtime_checkable
class ChatTokenizer(Protocol):
    """The part of a Hugging Face tokenizer that `inoc.chat` uses."""

    chat_template: str | None
    if TYPE_CHECKING:  # Hugging Face answers it in `__getattr__`, where isinstance has not looked since Python 3.12
        eos_token_id: int | None

    def apply_chat_template(self, conversation: list[dict[str, str]], **kwargs: object) -> object: ...
    def encode(self, text: str, *, add_special_tokens: bool = ..., split_special_tokens: bool = ...) -> list[int]: ...
    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = ...) -> str: ...


@runtime_checkable
class Backend(Protocol):
    """Common to all backends. Construct with `from_spec`; nothing heavy is imported before that."""

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    @classmethod
    def from_spec(cls, model: ModelSpec) -> "Backend": ...
    @property
    def tokenizer(self) -> ChatTokenizer: ...
    @property
    def context_length(self) -> int: ...
    def identity(self) -> Mapping[str, Scalar]:
        """Fields that change values: model id, revision, weights hash if known, tokenizer and template hash, dtype,
        engine and its version. No host, no path, no secret."""
        ...

    def check(self) -> None:
        """A health probe of seconds; raises BackendUnavailable, which says what to do."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Scorer(Protocol):
    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        """Every request exactly once, in any order. An empty completion gives an empty array."""
        ...


@runtime_checkable
class Provable(Protocol):
    """A scorer that may depend on a service whose replies do not show which token a value belongs to.

    It then scores only after `inoc doctor` has compared it with a reference in the study; the proof is kept in the
    study's work folder.
    """

    def needs_proof(self) -> str | None:
        """A hash of what must be proved; None where nothing must be."""
        ...

    def accept_proofs(self, proofs: Iterable[str]) -> None:
        """Score if what must be proved is among these."""
        ...


@runtime_checkable
class Sampler(Protocol):
    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        """Every request exactly once, in any order."""
        ...


@runtime_checkable
class Trainer(Protocol):
    def train(self, job: TrainingJob) -> Iterator[TrainingEvent]:
        """A TrainingStep per update and a Checkpoint per kept step.

        Called again with the same job after a kill, it resumes from the last state and yields the stored events
        again (consumers overwrite by step). Where the job has questions, their CheckpointAnswers follow the
        Checkpoint of their step.
        """
        ...


@runtime_checkable
class Submitter(Protocol):
    """A trainer that can work on several jobs at once."""

    def submit(self, jobs: Sequence[TrainingJob]) -> None:
        """Start these jobs; `train` then follows one of them. A job that any process submitted before is not started
        again."""
        ...


@runtime_checkable
class Parallel(Protocol):
    """A backend that works on several calls at once: each comes from a thread of its own."""

    @property
    def workers(self) -> int:
        """How many calls it works on now."""
        ...


@runtime_checkable
class Embedder(Protocol):
    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text feature"]:
        """Unit vectors."""
        ...
