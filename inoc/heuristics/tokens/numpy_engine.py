"""The block kernel in NumPy: tiles that stay in a core's cache."""

from typing import cast

import numpy as np

from inoc.heuristics.tokens.terms import BLOCK, Block, BlockSums, Term, Tokens, Valid, per_token, standardized

TILE = 1 << 17
"""elements of a tile: 512 KiB of float32, so that a formula's temporaries stay in a core's cache."""


class NumpyEngine:
    name = "numpy"

    def __init__(self) -> None:
        # glibc keeps freed tiles once a larger block was freed; page faults double the time of a tile otherwise
        np.empty(1 << 24, np.uint8)

    def block_sums(self, delta: Block, valid: Valid | None, terms: tuple[Term, ...]) -> BlockSums:
        n_types, n_prompts, n_tokens = delta.shape
        rows = delta.reshape(n_types * n_prompts, n_tokens)
        sums = BlockSums.zeros(len(terms), n_types, n_prompts)
        step = max(1, TILE // max(n_tokens, 1))
        for at in range(0, len(rows), step):
            tile = cast(Tokens, rows[at : at + step])
            for k, values in enumerate(per_token(terms, tile, np)):
                sums.terms[k, at : at + step] = cast(np.ndarray, values).sum(axis=1)
        step = min(max(BLOCK // 4 // max(len(rows), 1), 1024), 4096)
        for at in range(0, n_tokens, step):
            by_type = delta[..., at : at + step].astype(np.float64)
            wide = by_type.reshape(len(rows), by_type.shape[2])
            sums.gram[...] += wide @ wide.T
            mask = None if valid is None else valid[..., at : at + step].astype(np.float64)
            for f in range(n_types):
                z = standardized(by_type[f], None if mask is None else mask[f], np.sqrt)
                sums.gram_scaled[f] += z @ z.T
        return sums
