"""Options of the local backend: `backend.options` of the experiment file."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from inoc.errors import BadInput

Device = Literal["auto", "cpu", "cuda", "mps"]
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Options:
    """Where and how the model runs. Only `quantization` changes values beyond rounding."""

    device: Device = "auto"
    """cuda, else mps, else cpu."""
    device_map: str | None = None
    """"auto" spreads the layers over all GPUs (accelerate)."""
    quantization: Literal["8bit", "4bit"] | None = None
    """Load the weights quantized with bitsandbytes (CUDA)."""
    attention: Literal["sdpa", "eager"] = "sdpa"
    """The implementation of attention in transformers."""
    batch_tokens: Count | None = None
    """Tokens of one scoring batch, padding included; default 1024 on CPU, 32768 elsewhere."""
    rows: Count = 64
    """Completions sampled at the same time. Another number changes rounding, and with it some samples."""
    share_prefix: bool = True
    """Compute the prefix that contexts share once."""
    processes: Count = 1
    """Processes of a data-parallel training: one GPU each, or the CPU's cores shared among them."""

    def __post_init__(self) -> None:
        if self.processes > 1 and self.device_map is not None:
            raise BadInput(
                "backend.options has both processes and device_map: the first puts a whole model on every GPU, the "
                "second spreads one model over all. Fix: remove one of them."
            )
