"""The additive state behind the token statistics: sums over any range of tokens; merge is addition.

Rows are (prefix type, prompt) pairs, prefix-type-major. Differences are float32, totals float64,
counts exact; how tokens are cut into ranges changes Gram matrices by 1e-12 and sums by 1e-7 at most.
"""

from dataclasses import dataclass, fields
from typing import NamedTuple, cast

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, Int64

from inoc.heuristics.maths.tokenwise import PERSISTENT, RARE
from inoc.heuristics.tokens.engine import Engine
from inoc.heuristics.tokens.terms import FEATURES

RARE_LOGPROB = float(np.log(RARE))


class RaggedLayout(NamedTuple):
    """Where examples lie along the token axis. Examples without tokens are left out of the first three."""

    example: Int64[np.ndarray, " filled"]
    start: Int64[np.ndarray, " filled"]
    stop: Int64[np.ndarray, " filled"]
    n_examples: int
    n_positions: int

    @classmethod
    def of(cls, row_size: Int64[np.ndarray, " example"]) -> "RaggedLayout":
        stop = np.cumsum(row_size)
        filled = np.flatnonzero(row_size > 0)
        return cls(
            filled, (stop - row_size)[filled], stop[filled], len(row_size), int(row_size.max(initial=0))
        )


@dataclass
class TokenSums:
    features: Float64[np.ndarray, "feature row"]
    missing: Int64[np.ndarray, " row"]
    rare: Int64[np.ndarray, " row"]
    recovered: Int64[np.ndarray, " row"]
    example_sum: Float64[np.ndarray, "row example"]
    example_missing: Int32[np.ndarray, "row example"]
    moved: Int32[np.ndarray, "row position"]
    position_missing: Int32[np.ndarray, "row position"]
    gram: Float64[np.ndarray, "row row"]
    gram_scaled: Float64[np.ndarray, "prefix_type prompt prompt"]

    @classmethod
    def zeros(cls, n_types: int, n_prompts: int, layout: RaggedLayout) -> "TokenSums":
        rows = n_types * n_prompts
        return cls(
            features=np.zeros((len(FEATURES), rows)),
            missing=np.zeros(rows, np.int64),
            rare=np.zeros(rows, np.int64),
            recovered=np.zeros(rows, np.int64),
            example_sum=np.zeros((rows, layout.n_examples)),
            example_missing=np.zeros((rows, layout.n_examples), np.int32),
            moved=np.zeros((rows, layout.n_positions), np.int32),
            position_missing=np.zeros((rows, layout.n_positions), np.int32),
            gram=np.zeros((rows, rows)),
            gram_scaled=np.zeros((n_types, n_prompts, n_prompts)),
        )

    @staticmethod
    def nbytes(n_types: int, n_prompts: int, layout: RaggedLayout) -> int:
        """Size of a state; what counts missing pairs takes memory only once there are any."""
        rows = n_types * n_prompts
        return 8 * rows * (layout.n_examples + layout.n_positions // 2 + rows + n_prompts)

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
    ) -> None:
        """Add the tokens [at, at + token) of every row."""
        with np.errstate(invalid="ignore"):
            delta = np.asarray(prefixed - default, dtype=np.float32)
        valid = np.isfinite(delta)
        complete = bool(valid.all())
        if not complete:
            delta = np.where(valid, delta, np.float32(0))
        sums = engine.block_sums(delta, None if complete else valid)
        self.features += sums.features
        self.gram += sums.gram
        self.gram_scaled += sums.gram_scaled

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
        count_positions(self.moved, np.abs(rows) > PERSISTENT, start, stop, position)
        if not complete:
            absent = ~valid.reshape(rows.shape)
            self.missing += absent.sum(axis=1)
            self.example_missing[:, example] += np.add.reduceat(absent, start, axis=1, dtype=np.int32)
            count_positions(self.position_missing, absent, start, stop, position)


def count_positions(
    counts: Int32[np.ndarray, "row position"],
    mask: np.ndarray,
    start: Int64[np.ndarray, " piece"],
    stop: Int64[np.ndarray, " piece"],
    position: Int64[np.ndarray, " piece"],
) -> None:
    """counts[:, position + i] += mask[:, start + i] for every piece [start, stop) of `mask`."""
    bits = mask.view(np.uint8)
    pieces = list(zip(start.tolist(), stop.tolist(), position.tolist(), strict=True))
    for at in range(0, len(pieces), 255):  # bytes add fast and hold 255
        part = np.zeros(counts.shape, np.uint8)
        for a, b, p in pieces[at : at + 255]:
            part[:, p : p + b - a] += bits[:, a:b]
        counts += part


def example_means(
    sums: TokenSums, row_size: Int64[np.ndarray, " example"]
) -> tuple[Float64[np.ndarray, "row example"], Int64[np.ndarray, " row"]]:
    """(w, number of examples with any finite pair); w is NaN without one. Overwrites `sums.example_sum`."""
    if sums.missing.any():
        n = np.subtract(row_size, sums.example_missing, dtype=np.int64)
    else:
        n = np.broadcast_to(row_size, sums.example_sum.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        w = np.divide(sums.example_sum, n, out=sums.example_sum)
    return w, np.count_nonzero(n > 0, axis=1)


def differences(
    default: Float[np.ndarray, " token"], prefixed: Float[np.ndarray, " token"]
) -> Float32[np.ndarray, " token"]:
    """float32 differences of one row; not finite where a side is not."""
    with np.errstate(invalid="ignore"):
        return np.asarray(prefixed - default, dtype=np.float32)
