"""Options of the backend: `backend.options` of the experiment file."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field

from inoc.values import Scalar

Count = Annotated[int, Field(ge=1, strict=True)]
Whole = Annotated[int, Field(ge=0, strict=True)]
Positive = Annotated[float, Field(gt=0)]

DEV_IMAGE: Final = "dev"
"""What a worker that was started by hand, without a container, calls itself."""
DEFAULT_INSTALL: Final = (
    "transformers>=5.16.1,<6 peft>=0.21,<0.22 accelerate>=1.10,<2 safetensors>=0.6 jaxtyping>=0.3.7"
)
ON_WORKER: Final = ("device", "device_map", "quantization", "attention", "batch_tokens", "rows")
"""Options of the local backend that computes on the worker."""


@dataclass(frozen=True)
class Options:
    """What the jobs run on, what they cost, and how long to wait. Keys and addresses come from the environment only."""

    base_image: str | None = None
    """Container image; default: the client's own training image. "dev" is a worker started by hand."""
    requires_vram_gb: Whole = 24
    """GPU memory a worker must have; 0 for a worker without a GPU."""
    allowed_hardware: str | None = None
    """Comma-separated list such as "1x A100, 1x H100S"; then `requires_vram_gb` does not count."""
    install: str | None = None
    """What pip installs before a job starts, unless it is there; "" installs nothing."""
    worker_model: str | None = None
    """The model's name on the worker (folder or hub name); then nothing is uploaded."""
    tokenizer: str | None = None
    """Directory or hub name of the tokenizer; default: the model's id."""
    context_length: Count | None = None
    """Tokens of context and completion together; default: what the model's configuration says."""
    tokens_per_job: Count = 10_000_000
    """Context and completion tokens after which scoring and sampling start a new job."""
    upload_mb: Count = 200
    """Largest local model (or full fine-tuning) that is sent to the worker, in megabytes."""
    upload_every: Positive = 60.0
    """Seconds between uploads of finished scores and samples."""
    resume_every: Positive = 600.0
    """Least seconds between uploads of a training's state."""
    resume_mb: Whole = 1000
    """Largest state of a training that is uploaded, in megabytes; with a larger one a killed job starts over."""
    poll: Positive = 5.0
    """Seconds between polls of the jobs."""
    timeout: Positive = 86400.0
    """Seconds without a change of any job after which inoc stops waiting."""
    cancel_on_exit: bool = False
    """Cancel unfinished jobs when inoc is interrupted; by default they continue."""
    attempt: Whole = 0
    """A new number submits everything again instead of finding earlier jobs."""
    price_per_hour: Positive | None = None
    """Dollars per hour and worker, for estimates; default: the client's table for `allowed_hardware`."""
    tokens_per_second: Positive | None = None
    """Tokens per second of one worker, for estimates; default: the speed of earlier jobs."""
    device: Literal["auto", "cpu", "cuda", "mps"] | None = None
    device_map: str | None = None
    quantization: Literal["8bit", "4bit"] | None = None
    attention: Literal["sdpa", "eager"] | None = None
    batch_tokens: Count | None = None
    rows: Count | None = None

    def on_worker(self) -> dict[str, Scalar]:
        """Options of the local backend on the worker."""
        given = {name: getattr(self, name) for name in ON_WORKER}
        return {name: value for name, value in given.items() if value is not None}

    def hardware(self) -> list[str] | None:
        """The allowed hardware as a list."""
        if not self.allowed_hardware:
            return None
        return [part.strip() for part in self.allowed_hardware.split(",") if part.strip()]
