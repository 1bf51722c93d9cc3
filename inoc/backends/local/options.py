"""The local backend's own settings: `options` of the experiment's backend section, checked first."""

from dataclasses import dataclass
from typing import Literal

from inoc.errors import BadInput

Device = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True)
class Options:
    """Where and how the model runs. Only `quantization` changes values beyond rounding."""

    device: Device = "auto"
    """cuda, else mps, else cpu."""
    device_map: str | None = None
    """"auto" spreads the layers over all GPUs (accelerate)."""
    quantization: Literal["8bit", "4bit"] | None = None
    """Load the weights quantised with bitsandbytes (CUDA)."""
    attention: Literal["sdpa", "eager"] = "sdpa"
    batch_tokens: int | None = None
    """Tokens of one scoring batch, padding included; default 1024 on CPU, 32768 elsewhere."""
    rows: int = 64
    """Completions sampled side by side."""
    share_prefix: bool = True
    """Compute what contexts begin with in common once."""
    processes: int = 1
    """Train data-parallel in so many processes: one GPU each, or the CPU's cores shared among them."""

    def __post_init__(self) -> None:
        for name in ("batch_tokens", "rows", "processes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadInput(f"the local backend's option '{name}' must be at least 1, not {value}.")
        if self.processes > 1 and self.device_map is not None:
            raise BadInput(
                "the local backend's options 'processes' and 'device_map' exclude each other: one puts a whole model "
                "on every GPU, the other spreads one model over all."
            )
