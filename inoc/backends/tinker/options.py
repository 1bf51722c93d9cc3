"""Options of the backend: `backend.options` of the experiment file."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(ge=1, strict=True)]
Seconds = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Options:
    """Where the service is and how long to wait for it. The key comes from TINKER_API_KEY only."""

    url: str | None = None
    """Address of the service; default: TINKER_BASE_URL, else the hosted service."""
    served_name: str | None = None
    """The base model's name on the service; default: the model's id."""
    tokenizer: str | None = None
    """Directory or hub name of the tokenizer; default: the model's id."""
    context_length: Count | None = None
    """Tokens of context and completion together; default: what the service says."""
    concurrency: Count = 64
    """Requests in flight at once."""
    timeout: Seconds = 600.0
    """Seconds without any answer after which inoc gives up, even if the service is alive."""
    patience: Seconds = 30.0
    """Seconds the service may be unreachable while work is in progress."""
