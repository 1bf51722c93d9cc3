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

TILE = 256
"""tokens of a tile on a CPU; an accelerator takes a block whole."""
Totals = tuple[list[jax.Array], list[jax.Array]]


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
    """One loop over tiles: terms, Gram and scaled Gram of a tile while it is in the cache."""
    traceable = np.array([_traceable(term) for term in terms], bool)
    good = tuple(term for term, fine in zip(terms, traceable, strict=True) if fine)

    def block(delta: jax.Array, valid: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        n_types, n_prompts, n_tokens = delta.shape
        width = TILE if jax.default_backend() == "cpu" else n_tokens

        def tile(of: jax.Array, i: jax.Array) -> jax.Array:
            return jax.lax.dynamic_slice(of, (0, 0, i * width), (n_types, n_prompts, width))

        def add(i: jax.Array, totals: Totals) -> Totals:
            narrow = tile(delta, i)
            values = per_token(good, cast(Tokens, narrow), jnp)
            wide = narrow.astype(jnp.float64)
            mask = None if valid is None else tile(valid, i).astype(jnp.float64)
            factors = [standardized(wide, mask, jnp.sqrt) if name == "gram_scaled" else wide for name in products]
            return (
                [total + cast(jax.Array, value) for total, value in zip(totals[0], values, strict=True)],
                [
                    total + factor @ jnp.swapaxes(factor, -1, -2)
                    for total, factor in zip(totals[1], factors, strict=True)
                ],
            )

        # a sum per place in the tile: XLA on a CPU would otherwise evaluate the formulas once per sum
        start = (
            [jnp.zeros((n_types, n_prompts, width), jnp.float32) for _ in good],
            [jnp.zeros((n_types, n_prompts, n_prompts)) for _ in products],
        )
        by_place, made = jax.lax.fori_loop(0, n_tokens // width, add, start)
        sums = jnp.full((len(terms), n_types * n_prompts), jnp.nan)
        if good:
            rows = jnp.stack(by_place).astype(jnp.float64).sum(axis=-1)
            sums = sums.at[np.flatnonzero(traceable)].set(rows.reshape(len(good), -1))
        return sums, jnp.stack(made) if made else jnp.zeros((0, n_types, n_prompts, n_prompts))

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
