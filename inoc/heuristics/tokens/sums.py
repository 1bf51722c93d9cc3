"""The additive state behind the token statistics: sums over any range of tokens; merge is addition.

Rows are (prefix type, prompt) pairs, prefix-type-major. Differences are float32, totals float64,
counts exact; how tokens are cut into ranges changes Gram matrices by 1e-12 and sums by 1e-7 at most.
"""

from dataclasses import dataclass, fields
from typing import cast

import numpy as np
from jaxtyping import Float, Float64, Int32, Int64

from inoc.heuristics.tokens.layout import RaggedLayout, differences
from inoc.heuristics.tokens.terms import Engine, Product, ProductSums, Term

Pieces = Int64[np.ndarray, " piece"]
MOVED = 0.1
"""nats; a token moves if its abs(delta) is above this."""
RARE = 0.1
"""a token is rare if its probability without the prompt is below this, recovered if it is above with it."""
RARE_LOGPROB = float(np.log(RARE))


@dataclass
class TokenSums:
    """Sums and counts of some tokens of every row.

    `terms` and `recovered`, `rare`, `missing` are over tokens; `moved` counts tokens that move, by position in
    their example. `example_missing` and `position_missing` count missing pairs.
    """

    terms: Float64[np.ndarray, "term row"]
    missing: Int64[np.ndarray, " row"]
    rare: Int64[np.ndarray, " row"]
    recovered: Int64[np.ndarray, " row"]
    example_sum: Float64[np.ndarray, "row example"]
    example_missing: Int32[np.ndarray, "row example"]
    moved: Int32[np.ndarray, "row position"]
    position_missing: Int32[np.ndarray, "row position"]
    products: ProductSums

    @classmethod
    def zeros(cls, n_terms: int, n_products: int, n_types: int, n_prompts: int, layout: RaggedLayout) -> "TokenSums":
        rows = n_types * n_prompts
        return cls(
            terms=np.zeros((n_terms, rows)),
            missing=np.zeros(rows, np.int64),
            rare=np.zeros(rows, np.int64),
            recovered=np.zeros(rows, np.int64),
            example_sum=np.zeros((rows, layout.n_examples)),
            example_missing=np.zeros((rows, layout.n_examples), np.int32),
            moved=np.zeros((rows, layout.n_positions), np.int32),
            position_missing=np.zeros((rows, layout.n_positions), np.int32),
            products=np.zeros((n_products, n_types, n_prompts, n_prompts)),
        )

    @staticmethod
    def nbytes(n_products: int, n_types: int, n_prompts: int, layout: RaggedLayout) -> int:
        """Size of a state; what counts missing pairs takes memory only once there are any."""
        rows = n_types * n_prompts
        return 8 * rows * (layout.n_examples + layout.n_positions // 2 + n_products * n_prompts)

    def copy(self) -> "TokenSums":
        return TokenSums(*(cast(np.ndarray, getattr(self, field.name)).copy() for field in fields(self)))

    def merge(self, other: "TokenSums") -> "TokenSums":
        """Add `other` into this state. Untouched counts of missing pairs stay unallocated."""
        for field in fields(self):
            if other.missing.any() or field.name not in ("example_missing", "position_missing"):
                mine = cast(np.ndarray, getattr(self, field.name))
                np.add(mine, cast(np.ndarray, getattr(other, field.name)), out=mine)
        return self

    def add_block(
        self,
        default: Float[np.ndarray, " token"],
        prefixed: Float[np.ndarray, "prefix_type prompt token"],
        at: int,
        layout: RaggedLayout,
        engine: Engine,
        terms: tuple[Term, ...],
        products: tuple[Product, ...],
    ) -> None:
        """Add the tokens [at, at + token) of every row."""
        delta = differences(default, prefixed)
        valid = np.isfinite(delta)
        complete = bool(valid.all())
        if not complete:
            delta = np.where(valid, delta, np.float32(0))
        sums = engine.block_sums(delta, None if complete else valid, terms, products)
        self.terms += sums.terms
        self.products += sums.products

        n_tokens: int = prefixed.shape[2]
        rows = delta.reshape(len(self.missing), n_tokens)
        rare = np.flatnonzero(default < RARE_LOGPROB)
        won = prefixed.reshape(rows.shape)[:, rare] > RARE_LOGPROB
        if complete:
            self.rare += len(rare)
        else:
            seen = valid.reshape(rows.shape)[:, rare]
            won &= seen
            self.rare += seen.sum(axis=1)
        self.recovered += won.sum(axis=1)

        first = int(layout.stop.searchsorted(at, side="right"))
        last = int(layout.start.searchsorted(at + n_tokens, side="left"))
        example, position = layout.example[first:last], np.maximum(at - layout.start[first:last], 0)
        start = np.maximum(layout.start[first:last] - at, 0)
        stop = np.minimum(layout.stop[first:last] - at, n_tokens)
        self.example_sum[:, example] += np.add.reduceat(rows, start, axis=1, dtype=np.float64)
        count_positions(self.moved, np.abs(rows) > MOVED, start, stop, position)
        if not complete:
            absent = ~valid.reshape(rows.shape)
            self.missing += absent.sum(axis=1)
            self.example_missing[:, example] += np.add.reduceat(absent, start, axis=1, dtype=np.int32)
            count_positions(self.position_missing, absent, start, stop, position)


def count_positions(
    counts: Int32[np.ndarray, "row position"], mask: np.ndarray, start: Pieces, stop: Pieces, position: Pieces
) -> None:
    """counts[:, position + i] += mask[:, start + i] for every piece [start, stop) of `mask`."""
    bits = mask.view(np.uint8)
    pieces = list(zip(start.tolist(), stop.tolist(), position.tolist(), strict=True))
    for at in range(0, len(pieces), 255):  # bytes add fast and hold 255
        part = np.zeros(counts.shape, np.uint8)
        for a, b, p in pieces[at : at + 255]:
            part[:, p : p + b - a] += bits[:, a:b]
        counts += part


def example_means(sums: TokenSums, row_size: Int64[np.ndarray, " example"]) -> Float64[np.ndarray, "row example"]:
    """w: mean difference of every example, NaN without a finite pair. Overwrites `sums.example_sum`."""
    if sums.missing.any():
        n = np.subtract(row_size, sums.example_missing, dtype=np.int64)
    else:
        n = np.broadcast_to(row_size, sums.example_sum.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.divide(sums.example_sum, n, out=sums.example_sum)
