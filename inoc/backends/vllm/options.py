"""The vllm backend's own settings: `options` of the experiment's backend section, checked first."""

from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from pydantic import Field

from inoc.values import Scalar

Count = Annotated[int, Field(ge=1, strict=True)]
Share = Annotated[float, Field(gt=0, le=1)]
OWN = ("share_prefix",)
"""Not an argument of vLLM's engine."""


@dataclass(frozen=True)
class Options:
    """All but `share_prefix` go to vLLM's engine under the same name; None leaves vLLM's default."""

    share_prefix: bool = True
    """Read the prefix cache when scoring, and verify every result (see `inoc.backends.vllm.score`)."""
    max_num_batched_tokens: Count = 2048
    """Tokens computed in one step. Scoring needs this times the vocabulary in 16- plus 32-bit numbers, which
    vLLM does not reserve."""
    gpu_memory_utilization: Share | None = None
    """Share of the card's memory (on a CPU: of the RAM) that vLLM may use; on a card 0.85 unless given."""
    max_model_len: Count | None = None
    max_num_seqs: Count | None = None
    block_size: Count | None = None
    kv_cache_memory_bytes: Count | None = None
    enforce_eager: bool | None = None
    quantization: str | None = None
    cpu_offload_gb: Annotated[float, Field(ge=0)] | None = None
    max_loras: Count | None = None
    disable_custom_all_reduce: bool | None = None
    tensor_parallel_size: Count | None = None
    pipeline_parallel_size: Count | None = None
    data_parallel_size: Count | None = None
    """More than 1 is refused: it needs vLLM's server."""
    enable_expert_parallel: bool | None = None
    distributed_executor_backend: Literal["mp", "ray", "uni"] | None = None
    nnodes: Count | None = None
    node_rank: Annotated[int, Field(ge=0, strict=True)] | None = None
    master_addr: str | None = None
    master_port: Count | None = None

    def engine_arguments(self) -> dict[str, Scalar]:
        """What was set, for vLLM's engine."""
        return {name: value for name, value in asdict(self).items() if name not in OWN and value is not None}
