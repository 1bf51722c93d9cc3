"""Where the per-token work runs: NumPy blocks, or one jitted JAX kernel. Chosen in one place, here.

Both execute the formulas of `inoc.heuristics.tokens.terms` on a block of differences and return `BlockSums`.
"""

import os
from importlib.util import find_spec
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32

from inoc.errors import BadInput
from inoc.heuristics.tokens.terms import FEATURES, BlockSums, standardised, token_features

EngineName = Literal["auto", "numpy", "jax"]

TILE = 1 << 17
"""elements of a feature tile: 512 KiB of float32, so that a formula's temporaries stay in a core's cache."""
BLOCK = 1 << 21
"""elements of a block: 8 MiB of float32."""


@runtime_checkable
class Engine(Protocol):
    name: str

    def block_sums(
        self,
        delta: Float32[np.ndarray, "prefix_type prompt token"],
        valid: Bool[np.ndarray, "prefix_type prompt token"] | None,
    ) -> BlockSums:
        """Sums over the tokens of a block. `delta` is 0 where not `valid`; None means that all are valid."""
        ...


def choose(engine: str = "auto") -> Engine:
    """`auto` is JAX where an accelerator is present and NumPy otherwise.

    On a CPU the JAX kernel saves less than it costs to import and start; see benchmarks/RESULTS.md.

    Raises:
        BadInput: a name that is none of `EngineName`.
    """
    if engine == "auto":
        engine = "jax" if accelerator_present() else "numpy"
    if engine == "numpy":
        return NumpyEngine()
    if engine == "jax":
        from inoc.heuristics.tokens.jax_engine import JaxEngine

        return JaxEngine()
    raise BadInput(f"no engine '{engine}'; use auto, numpy or jax.")


def accelerator_present() -> bool:
    """Whether JAX would not run on a CPU; imports JAX only if one of its device plugins is installed."""
    if os.environ.get("JAX_PLATFORMS") == "cpu" or not (find_spec("jax_plugins") or find_spec("libtpu")):
        return False
    import jax

    return jax.default_backend() != "cpu"


def block_tokens(n_rows: int) -> int:
    """Tokens per block: a power of two with about BLOCK elements over all rows, 1024 to 65536."""
    return 1 << min(max((BLOCK // max(n_rows, 1)).bit_length() - 1, 10), 16)


class NumpyEngine:
    name = "numpy"

    def block_sums(
        self,
        delta: Float32[np.ndarray, "prefix_type prompt token"],
        valid: Bool[np.ndarray, "prefix_type prompt token"] | None,
    ) -> BlockSums:
        n_types, n_prompts, n_tokens = delta.shape
        rows = delta.reshape(n_types * n_prompts, n_tokens)
        sums = np.zeros((len(FEATURES), len(rows)))
        step = max(1, TILE // max(n_tokens, 1))
        for at in range(0, len(rows), step):
            for k, feature in enumerate(token_features(rows[at : at + step], np.exp)):
                sums[k, at : at + step] = feature.sum(axis=1)
        gram = np.zeros((len(rows), len(rows)))
        scaled = np.zeros((n_types, n_prompts, n_prompts))
        step = min(max(BLOCK // 4 // max(len(rows), 1), 1024), 4096)
        for at in range(0, n_tokens, step):
            by_type = delta[..., at : at + step].astype(np.float64)
            tile = by_type.reshape(len(rows), by_type.shape[2])
            gram += tile @ tile.T
            mask = None if valid is None else valid[..., at : at + step].astype(np.float64)
            for f in range(n_types):
                z = standardised(by_type[f], None if mask is None else mask[f], np.sqrt)
                scaled[f] += z @ z.T
        return BlockSums(sums, gram, scaled)
