"""Options of the two OpenAI backends: `backend.options` of the experiment file."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from inoc.services import ServiceSettings

Count = Annotated[int, Field(ge=1, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class ServerOptions(ServiceSettings):
    """Options of `openai_server`: those of the service and these."""

    tokenizer: str | None = None
    """Directory or hub name of the tokenizer; default: the model's id."""
    served_name: str | None = None
    """The model's name on the server; default: found among the models it serves."""
    embedding_model: str | None = None
    """Model for /v1/embeddings; default: the served model."""
    context_length: Count | None = None
    """Tokens of context and completion together, where the server does not say."""
    prompts_per_request: Count = 8
    """Completions scored in one HTTP request."""


@dataclass(frozen=True)
class HostedOptions(ServiceSettings):
    """Options of `openai`: those of the service and these."""

    learning_rate_multiplier: Positive | None = None
    """The service's own unit of the learning rate; None leaves it to the service."""
    poll_seconds: Positive = 20.0
    """Seconds between two looks at a fine-tuning job."""
    context_length: Count = 1_000_000
    """Most bytes of a conversation; the service enforces its own limit in its own tokens."""
