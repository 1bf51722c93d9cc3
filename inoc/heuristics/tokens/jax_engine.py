"""The block kernel as one XLA program, for accelerators and long-lived processes."""

# JAX ships partial types:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import os
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from inoc.heuristics.tokens.terms import (
    Block,
    BlockSums,
    Product,
    Term,
    Tokens,
    Valid,
    block_tokens,
    per_token,
    standardized,
)

LANES = 1024


class JaxEngine:
    """Blocks are padded to one shape, so that the program is compiled once and kept in a disk cache."""

    name = "jax"

    def __init__(self) -> None:
        if jax.config.values["jax_compilation_cache_dir"] is None:
            cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "inoc" / "jax"
            jax.config.update("jax_compilation_cache_dir", str(cache))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
            jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

    def block_sums(
        self, delta: Block, valid: Valid | None, terms: tuple[Term, ...], products: tuple[Product, ...]
    ) -> BlockSums:
        n_types, n_prompts, n_tokens = delta.shape
        if n_types * n_prompts * n_tokens == 0:
            return BlockSums.zeros(len(terms), len(products), n_types, n_prompts)
        padding = ((0, 0), (0, 0), (0, block_tokens(n_types * n_prompts) - n_tokens))
        if padding[-1][1] > 0:
            delta = np.pad(delta, padding)
            valid = None if valid is None else np.pad(valid, padding)
        with jax.enable_x64(True):
            sums, found = _kernel(terms, products)(delta, valid)
            return BlockSums(np.asarray(sums), np.asarray(found))


@lru_cache(maxsize=8)
def _kernel(terms: tuple[Term, ...], products: tuple[Product, ...]) -> Callable[..., tuple[jax.Array, jax.Array]]:
    traceable = [_traceable(term) for term in terms]
    good = tuple(term for term, fine in zip(terms, traceable, strict=True) if fine)
    place = np.cumsum(traceable) - 1

    def block(delta: jax.Array, valid: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """Sums are carried in lanes: XLA on a CPU would otherwise evaluate the formulas once per sum."""
        rows = delta.reshape(-1, delta.shape[-1])
        n_rows, n_tokens = rows.shape

        def add(i: jax.Array, totals: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            chunk = jax.lax.dynamic_slice(rows, (0, i * LANES), (n_rows, LANES))
            values = per_token(good, cast(Tokens, chunk), jnp)
            return tuple(t + cast(jax.Array, v) for t, v in zip(totals, values, strict=True))

        start = tuple(jnp.zeros((n_rows, LANES), jnp.float32) for _ in good)
        totals = jax.lax.fori_loop(0, n_tokens // LANES, add, start)
        missing = jnp.full(n_rows, jnp.nan)
        sums = [
            totals[k].astype(jnp.float64).sum(axis=1) if fine else missing
            for k, fine in zip(place, traceable, strict=True)
        ]
        wide = delta.astype(jnp.float64)
        mask = None if valid is None else valid.astype(jnp.float64)
        factors = [standardized(wide, mask, jnp.sqrt) if name == "gram_scaled" else wide for name in products]
        made = [factor @ jnp.swapaxes(factor, -1, -2) for factor in factors]
        n_types, n_prompts, _ = delta.shape
        return (
            jnp.stack(sums) if sums else jnp.zeros((0, n_rows)),
            jnp.stack(made) if made else jnp.zeros((0, n_types, n_prompts, n_prompts)),
        )

    return jax.jit(block)


def _traceable(term: Term) -> bool:
    """Whether JAX can run the term; a warning names one that it cannot, and its values are NaN."""

    def alone(delta: jax.Array) -> object:
        return next(per_token((term,), cast(Tokens, delta), jnp))

    try:
        jax.eval_shape(alone, jax.ShapeDtypeStruct((1, 8), jnp.float32))
    except Exception as error:
        warnings.warn(
            f"token term '{term.name}' is NaN: JAX cannot run it: {type(error).__name__}: {error}. "
            "Fix: use operators and `xp` only, or --engine numpy.",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return True
