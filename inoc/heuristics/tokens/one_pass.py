"""Everything heuristics need from token logprobs, streamed from arrays larger than memory.

Two passes. Over token ranges: all that is a sum over tokens, with every row at hand for the Gram matrices
(`token_sums`, additive). Over rows: the top quarter and the position spectrum, which need one row whole
(`row_statistics`, independent). Inputs that fit in MEMORY are read once and serve both.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64, Integer

from inoc.errors import BadInput
from inoc.heuristics.maths.tokenwise import DECAY_RATE, MIN_EXAMPLES, share_of_persistent, top_quarter
from inoc.heuristics.tokens.engine import Engine, EngineName, block_tokens, choose
from inoc.heuristics.tokens.position_spectrum import PositionSpectrum, SpectrumChoice, position_spectrum
from inoc.heuristics.tokens.sums import RaggedLayout, TokenSums, differences, example_means
from inoc.heuristics.tokens.terms import FEATURES

MEMORY = 512 << 20
"""bytes of logprobs held at a time; so are the states of all workers together."""

ROW_COPIES = 6
"""float32 copies of a row that the top quarter and the spectrum hold at a time."""

T = TypeVar("T")
Index = int | slice


@runtime_checkable
class TokenArray(Protocol):
    """What is read from: a NumPy array, a zarr array or a store's handle. Slices are NumPy arrays."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __getitem__(self, key: Index | tuple[Index, ...], /) -> np.ndarray: ...


@dataclass(frozen=True)
class TokenStatistics:
    """Token statistics of prefix types x prompts, in nats unless stated; formulas in `heuristics.tokenwise`.

    `count` and `missing` are finite pairs used and pairs left out. `w` holds example means of the differences
    (NaN for an example without a finite pair). `gram` holds inner products of difference rows over all
    tokens, missing = 0, rows prefix-type-major. `gram_scaled` is the same per prefix type after centring
    every token over prompts and dividing by its std (ddof=0; constant tokens 0; missing pairs stay out of
    mean and std). `recovered*` are shares, `coherence*` energy shares. Spectrum fields that were not asked
    for are NaN.
    """

    prefix_types: tuple[str, ...]
    prompts: tuple[str, ...]
    count: Int64[np.ndarray, "prefix_type prompt"]
    missing: Int64[np.ndarray, "prefix_type prompt"]
    mean_abs: Float64[np.ndarray, "prefix_type prompt"]
    mean_signed: Float64[np.ndarray, "prefix_type prompt"]
    mean_square: Float64[np.ndarray, "prefix_type prompt"]
    filtered: Float64[np.ndarray, "prefix_type prompt"]
    top_quarter: Float64[np.ndarray, "prefix_type prompt"]
    gradient: Float64[np.ndarray, "prefix_type prompt"]
    filtered_gradient: Float64[np.ndarray, "prefix_type prompt"]
    loss_decay: Float64[np.ndarray, "prefix_type prompt"]
    residual: Float64[np.ndarray, "prefix_type prompt"]
    persistent: Float64[np.ndarray, "prefix_type prompt"]
    coherence: Float64[np.ndarray, "prefix_type prompt"]
    coherence_published: Float64[np.ndarray, "prefix_type prompt"]
    effective_rank: Float64[np.ndarray, "prefix_type prompt"]
    effective_rank_published: Float64[np.ndarray, "prefix_type prompt"]
    recovered: Float64[np.ndarray, "prefix_type prompt"]
    recovered_of_all: Float64[np.ndarray, "prefix_type prompt"]
    n_examples: Int64[np.ndarray, "prefix_type prompt"]
    n_positions_usable: Int64[np.ndarray, "prefix_type prompt"]
    w: Float64[np.ndarray, "prefix_type prompt example"]
    gram: Float64[np.ndarray, "row row"]
    gram_scaled: Float64[np.ndarray, "prefix_type prompt prompt"]


@dataclass(frozen=True)
class RowStatistics:
    """What needs a whole row: top quarter and position spectrum, in the order of rows."""

    top_quarter: Float64[np.ndarray, " row"]
    spectrum: Float64[np.ndarray, "row 4"]


def token_statistics(
    default: TokenArray,
    prefixed: TokenArray,
    row_size: Integer[np.ndarray, " example"],
    *,
    prefix_types: Sequence[str],
    prompts: Sequence[str],
    engine: EngineName = "auto",
    spectrum: SpectrumChoice = True,
    workers: int | None = None,
    memory: int = MEMORY,
) -> TokenStatistics:
    """All token statistics of `prefixed[prefix_type, prompt, token]` against `default[token]` (logprobs).

    `row_size` holds the token count of every example, in token order. `spectrum` chooses HB1/HB5 (see
    `SpectrumChoice`), the largest single cost. `workers` are threads; by default one per core, fewer where
    their states would not fit in `memory`. Peak memory is about twice `memory` plus the results.

    Raises:
        BadInput: shapes that do not belong together; an unknown engine.
    """
    sizes = check_shapes(default, prefixed, row_size, len(prefix_types), len(prompts))
    chosen = choose(engine)
    layout = RaggedLayout.of(sizes)
    n_types, n_prompts, n_tokens = prefixed.shape
    by_tokens = workers or _workers(memory, TokenSums.nbytes(n_types, n_prompts, layout))
    by_rows = workers or _workers(memory, ROW_COPIES * 4 * n_tokens)
    if 4 * n_types * n_prompts * n_tokens <= memory:
        prefixed = np.asarray(prefixed[:])
    baseline = np.asarray(default[:])
    with one_blas_thread():
        sums = token_sums(baseline, prefixed, sizes, 0, n_tokens, chosen, by_tokens, memory)
        rows = row_statistics(baseline, prefixed, sizes, 0, n_types * n_prompts, spectrum, by_rows, memory)
    return finalise(sums, rows, sizes, tuple(prefix_types), tuple(prompts))


def check_shapes(
    default: TokenArray, prefixed: TokenArray, row_size: np.ndarray, n_types: int, n_prompts: int
) -> Int64[np.ndarray, " example"]:
    """`row_size` as int64; BadInput if the arrays do not describe the same tokens and labels."""
    sizes = np.asarray(row_size, dtype=np.int64)
    if len(prefixed.shape) != 3 or prefixed.shape[:2] != (n_types, n_prompts):
        raise BadInput(
            f"prefixed logprobs have shape {prefixed.shape}; with {n_types} prefix types and {n_prompts} "
            "prompts they must be [prefix_type, prompt, token]."
        )
    if default.shape != prefixed.shape[2:]:
        raise BadInput(
            f"default logprobs have shape {default.shape}, the prefixed ones hold {prefixed.shape[2]} tokens."
        )
    if (sizes < 0).any() or int(sizes.sum()) != prefixed.shape[2]:
        raise BadInput(
            f"row_size adds up to {int(sizes.sum())} tokens, the logprobs hold {prefixed.shape[2]}."
        )
    return sizes


def token_sums(
    default: np.ndarray,
    prefixed: TokenArray,
    row_size: Int64[np.ndarray, " example"],
    start: int,
    stop: int,
    engine: Engine,
    workers: int = 1,
    memory: int = MEMORY,
) -> TokenSums:
    """The additive state of tokens [start, stop) of all rows. Merged ranges equal the whole."""
    n_types, n_prompts, _ = prefixed.shape
    layout = RaggedLayout.of(row_size)
    states = [TokenSums.zeros(n_types, n_prompts, layout) for _ in range(workers)]
    step = block_tokens(n_types * n_prompts)
    spans = _spans(start, stop, _tokens_at_a_time(prefixed, memory))
    with ThreadPoolExecutor(workers) as pool:
        for (a, b), part in _prefetched(lambda a, b: prefixed[:, :, a:b], spans):
            blocks = _spans(a, b, step)

            def work(
                k: int, a: int = a, part: np.ndarray = part, blocks: list[tuple[int, int]] = blocks
            ) -> None:
                for left, right in blocks[k::workers]:
                    piece = part[:, :, left - a : right - a]
                    states[k].add_block(default[left:right], piece, left, layout, engine)

            list(pool.map(work, range(workers)))
    total = states[0]
    for state in states[1:]:
        total.merge(state)
    return total


def row_statistics(
    default: np.ndarray,
    prefixed: TokenArray,
    row_size: Int64[np.ndarray, " example"],
    start: int,
    stop: int,
    spectrum: SpectrumChoice = True,
    workers: int = 1,
    memory: int = MEMORY,
) -> RowStatistics:
    """Top quarter and position spectrum of rows [start, stop), counted prefix-type-major."""
    n_prompts = prefixed.shape[1]

    def one(row: np.ndarray) -> tuple[float, PositionSpectrum]:
        delta = differences(default, row)
        finite = np.isfinite(delta)
        filled = delta if finite.all() else np.where(finite, delta, np.float32(0))
        return float(top_quarter(delta)), position_spectrum(filled, row_size, spectrum)

    def read(a: int, b: int) -> list[np.ndarray]:
        if isinstance(prefixed, np.ndarray):
            return [prefixed[divmod(r, n_prompts)] for r in range(a, b)]
        first, last = divmod(a, n_prompts), divmod(b - 1, n_prompts)
        if first[0] != last[0]:
            return [*read(a, last[0] * n_prompts), *read(last[0] * n_prompts, b)]
        return list(prefixed[first[0], first[1] : last[1] + 1])

    at_a_time = max(1, memory // 2 // max(4 * prefixed.shape[2], 1))
    results: list[tuple[float, PositionSpectrum]] = []
    with ThreadPoolExecutor(workers) as pool:
        for _, rows in _prefetched(read, _spans(start, stop, at_a_time)):
            results += pool.map(one, rows)
    return RowStatistics(
        np.array([top for top, _ in results], dtype=np.float64),
        np.array([shares for _, shares in results], dtype=np.float64).reshape(-1, 4),
    )


def finalise(
    sums: TokenSums,
    rows: RowStatistics,
    row_size: Int64[np.ndarray, " example"],
    prefix_types: tuple[str, ...],
    prompts: tuple[str, ...],
) -> TokenStatistics:
    """Means and shares from the merged state, whose memory is reused: do not merge into it afterwards."""
    shape = (len(prefix_types), len(prompts))
    count = int(row_size.sum()) - sums.missing
    w, n_examples = example_means(sums, row_size)
    n_positions = sums.moved.shape[1]
    shorter = np.cumsum(np.bincount(row_size, minlength=n_positions + 1)[:n_positions])
    reach = len(row_size) - shorter - sums.position_missing.astype(np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = dict(zip(FEATURES, (sums.features / count).reshape(len(FEATURES), *shape), strict=True))
        recovered, of_all = sums.recovered / sums.rare, sums.recovered / count
    spectrum = rows.spectrum.T.reshape(4, *shape)
    return TokenStatistics(
        prefix_types=prefix_types,
        prompts=prompts,
        count=count.reshape(shape),
        missing=sums.missing.reshape(shape),
        **means,
        residual=means["mean_abs"] - DECAY_RATE * means["loss_decay"],
        top_quarter=rows.top_quarter.reshape(shape),
        persistent=share_of_persistent(sums.moved, reach).reshape(shape),
        coherence=spectrum[0],
        effective_rank=spectrum[1],
        coherence_published=spectrum[2],
        effective_rank_published=spectrum[3],
        recovered=recovered.reshape(shape),
        recovered_of_all=of_all.reshape(shape),
        n_examples=n_examples.reshape(shape),
        n_positions_usable=np.count_nonzero(reach >= MIN_EXAMPLES, axis=1).reshape(shape),
        w=w.reshape(*shape, len(row_size)),
        gram=sums.gram,
        gram_scaled=sums.gram_scaled,
    )


def _spans(start: int, stop: int, step: int) -> list[tuple[int, int]]:
    return list(pairwise([*range(start, stop, step), stop])) if stop > start else []


def _tokens_at_a_time(prefixed: TokenArray, memory: int) -> int:
    """Tokens per read: half of `memory` (the other half is read ahead), whole chunks where they fit."""
    n_types, n_prompts, n_tokens = prefixed.shape
    if isinstance(prefixed, np.ndarray):
        return max(n_tokens, 1)
    fit = max(1, memory // 2 // max(4 * n_types * n_prompts, 1))
    chunk = getattr(prefixed, "chunks", (1,))[-1]
    return fit // chunk * chunk if fit >= chunk else fit


def _prefetched(
    read: Callable[[int, int], T], spans: list[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], T]]:
    """Parts in order, the next one being read while the current one is worked on."""
    with ThreadPoolExecutor(1) as reader:
        pending = reader.submit(read, *spans[0]) if spans else None
        for i, span in enumerate(spans):
            assert pending is not None
            part = pending.result()
            pending = reader.submit(read, *spans[i + 1]) if i + 1 < len(spans) else None
            yield span, part


def _workers(memory: int, each: int) -> int:
    """A thread per core this process may use, as far as what each of them holds fits in `memory`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, memory // max(each, 1)))


def one_blas_thread() -> AbstractContextManager[object]:
    """Workers are the parallelism; BLAS threads below them were up to 70 times slower on a busy machine."""
    from threadpoolctl import threadpool_limits  # pyright: ignore[reportMissingTypeStubs]

    return threadpool_limits(1, user_api="blas")
