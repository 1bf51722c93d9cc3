"""The block kernel as one XLA program, for accelerators and long-lived processes."""

# JAX ships partial types:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float32

from inoc.heuristics.tokens.engine import NumpyEngine, block_tokens
from inoc.heuristics.tokens.terms import FEATURES, BlockSums, standardised, token_features


class JaxEngine:
    """Blocks are padded to one shape, so that the program is compiled once and kept in a disk cache."""

    name = "jax"

    def __init__(self) -> None:
        if jax.config.values["jax_compilation_cache_dir"] is None:
            cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "inoc" / "jax"
            jax.config.update("jax_compilation_cache_dir", str(cache))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
            jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        self._kernel = jax.jit(_xla_block)

    def block_sums(
        self,
        delta: Float32[np.ndarray, "prefix_type prompt token"],
        valid: Bool[np.ndarray, "prefix_type prompt token"] | None,
    ) -> BlockSums:
        n_types, n_prompts, n_tokens = delta.shape
        if n_types * n_prompts * n_tokens == 0:
            return NumpyEngine().block_sums(delta, valid)
        padding = ((0, 0), (0, 0), (0, block_tokens(n_types * n_prompts) - n_tokens))
        if padding[-1][1] > 0:
            delta = np.pad(delta, padding)
            valid = None if valid is None else np.pad(valid, padding)
        with jax.enable_x64(True):
            features, gram, scaled = self._kernel(delta, valid)
            return BlockSums(np.asarray(features), np.asarray(gram), np.asarray(scaled))


def _xla_block(
    delta: jax.Array, valid: jax.Array | None, lanes: int = 1024
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Feature sums are carried in lanes: XLA on a CPU would otherwise evaluate the formulas once per sum."""
    rows = delta.reshape(-1, delta.shape[-1])
    n_rows, n_tokens = rows.shape

    def add(i: jax.Array, totals: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        chunk = jax.lax.dynamic_slice(rows, (0, i * lanes), (n_rows, lanes))
        return tuple(t + f for t, f in zip(totals, token_features(chunk, jnp.exp), strict=True))

    start = tuple(jnp.zeros((n_rows, lanes), jnp.float32) for _ in FEATURES)
    totals = jax.lax.fori_loop(0, n_tokens // lanes, add, start)
    features = jnp.stack([t.astype(jnp.float64).sum(axis=1) for t in totals])
    wide = rows.astype(jnp.float64)
    z = standardised(
        delta.astype(jnp.float64), None if valid is None else valid.astype(jnp.float64), jnp.sqrt
    )
    return features, wide @ wide.T, z @ jnp.swapaxes(z, -1, -2)
