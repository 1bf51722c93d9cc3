"""The block kernel in NumPy: tiles that stay in a core's cache."""

from itertools import product
from typing import cast

import numpy as np

from inoc.heuristics.tokens.terms import BLOCK, Block, BlockSums, Product, Term, Tokens, Valid, per_token, standardized

TILE = 1 << 17
"""elements of a tile: 512 KiB of float32, so that a formula's temporaries stay in a core's cache."""


class NumpyEngine:
    name = "numpy"

    def __init__(self) -> None:
        # glibc keeps freed tiles once a larger block was freed; page faults double the time of a tile otherwise
        np.empty(1 << 24, np.uint8)

    def block_sums(
        self, delta: Block, valid: Valid | None, terms: tuple[Term, ...], products: tuple[Product, ...]
    ) -> BlockSums:
        n_types, n_prompts, n_tokens = delta.shape
        rows = delta.reshape(n_types * n_prompts, n_tokens)
        sums = BlockSums.zeros(len(terms), len(products), n_types, n_prompts)
        step = max(1, TILE // max(n_tokens, 1))
        for at in range(0, len(rows), step):
            tile = cast(Tokens, rows[at : at + step])
            for k, values in enumerate(per_token(terms, tile, np)):
                sums.terms[k, at : at + step] = cast(np.ndarray, values).sum(axis=1)
        step = min(max(BLOCK // 4 // max(len(rows), 1), 1024), 4096)
        for at, f in product(range(0, n_tokens if products else 0, step), range(n_types)):
            wide = delta[f, :, at : at + step].astype(np.float64)
            for k, name in enumerate(products):
                if name == "gram_scaled":
                    mask = None if valid is None else valid[f, :, at : at + step].astype(np.float64)
                    factor = standardized(wide, mask, np.sqrt)
                else:
                    factor = wide
                sums.products[k, f] += factor @ factor.T
        return sums
