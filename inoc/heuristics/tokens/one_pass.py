"""Everything heuristics need from token logprobs, streamed from arrays larger than memory.

Two passes. Over token ranges: all that is a sum over tokens, every row at a time for the Gram matrices
(`token_sums`, additive). Over rows: what needs one row whole (`row_values`, independent). Inputs that fit in
MEMORY are read once and serve both.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice

import numpy as np
from jaxtyping import Float64, Int64, Integer

from inoc.errors import BadInput
from inoc.heuristics.tokens.engines import EngineName, choose
from inoc.heuristics.tokens.layout import RaggedLayout, RowLayout, TokenArray, TokenRow, TokenRows, prefetched, spans
from inoc.heuristics.tokens.sums import TokenSums, example_means
from inoc.heuristics.tokens.terms import PRODUCTS, Engine, Product, Term, block_tokens, evaluate
from inoc.values import Recipe

MEMORY = 512 << 20
"""bytes of logprobs held at a time; so are the states of all workers together."""
Grams = Float64[np.ndarray, "prefix_type prompt prompt"]
ROW_COPIES = 6
"""float32 copies of a row that the row terms hold at a time."""


@dataclass(frozen=True)
class TokenStatistics:
    """What the pass gives, by prefix type and prompt.

    Attributes:
        count: Tokens with a finite difference; `missing`: those without.
        rare: Tokens with p < 0.1 without the prompt; `recovered`: those of them with p > 0.1 with it.
        moved: By position in the example, tokens with abs(delta) > 0.1 nats; `reached`: finite tokens.
        means: Mean over the finite tokens of every token term, by name; NaN without one.
        rows: Value of every row term, by name.
        w: Mean difference of every example in nats per token; NaN for an example without a finite pair.
        gram: Inner products of difference rows over all tokens, missing = 0; None where it was not asked for.
        gram_scaled: The same after centering every token over prompts and dividing by its
            std (ddof = 0; constant tokens 0; missing pairs stay out of mean and std).
    """

    prefix_types: tuple[str, ...]
    prompts: tuple[str, ...]
    count: Int64[np.ndarray, "prefix_type prompt"]
    missing: Int64[np.ndarray, "prefix_type prompt"]
    rare: Int64[np.ndarray, "prefix_type prompt"]
    recovered: Int64[np.ndarray, "prefix_type prompt"]
    moved: Integer[np.ndarray, "prefix_type prompt position"]
    reached: Int64[np.ndarray, "prefix_type prompt position"]
    means: Mapping[str, Float64[np.ndarray, "prefix_type prompt"]]
    rows: Mapping[str, Float64[np.ndarray, "prefix_type prompt"]]
    w: Float64[np.ndarray, "prefix_type prompt example"]
    gram: Grams | None
    gram_scaled: Grams | None


def token_statistics(
    default: TokenArray,
    prefixed: TokenArray,
    row_size: Integer[np.ndarray, " example"],
    *,
    prefix_types: Sequence[str],
    prompts: Sequence[str],
    terms: Sequence[Term] = (),
    row_terms: Sequence[Term] = (),
    products: Sequence[Product] = PRODUCTS,
    recipe: Recipe = "corrected",
    engine: EngineName = "auto",
    workers: int | None = None,
    memory: int = MEMORY,
) -> TokenStatistics:
    """All token statistics in one pass over logprobs.

    Peak memory is about twice `memory` plus the results.

    Args:
        default: Logprobs without a prompt in nats, [token].
        prefixed: Logprobs with a prompt, [prefix_type, prompt, token].
        row_size: Token count of every example, in token order.
        prefix_types: Labels of the first axis of `prefixed`.
        prompts: Labels of its second axis.
        terms: Token terms to average.
        row_terms: Functions of one whole row to evaluate.
        products: Inner products of rows to sum.
        recipe: Given to the row terms that ask for it.
        engine: Where the work per token runs.
        workers: Threads; by default one per core, fewer where their states would not fit in `memory`.
        memory: Bytes of logprobs held at a time.

    Raises:
        BadInput: Shapes that do not belong together; an unknown engine.
    """
    sizes = check_shapes(default, prefixed, row_size, len(prefix_types), len(prompts))
    chosen, terms, products = choose(engine), tuple(terms), tuple(products)
    n_types, n_prompts, n_tokens = prefixed.shape
    by_tokens = workers or _workers(memory, TokenSums.nbytes(len(products), n_types, n_prompts, RaggedLayout.of(sizes)))
    by_rows = workers or _workers(memory, ROW_COPIES * 4 * n_tokens)
    if 4 * n_types * n_prompts * n_tokens <= memory:
        prefixed = np.asarray(prefixed[:])
    baseline = np.asarray(default[:])
    rows = TokenRows(baseline, prefixed, RowLayout(sizes), prefix_types=prefix_types, prompts=prompts, memory=memory)
    with one_blas_thread():
        sums = token_sums(baseline, prefixed, sizes, 0, n_tokens, chosen, terms, products, by_tokens, memory)
        values = row_values(rows, 0, len(rows), row_terms, recipe, by_rows)
    return finalize(sums, values, sizes, tuple(prefix_types), tuple(prompts), terms, row_terms, products)


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
        raise BadInput(f"row_size adds up to {int(sizes.sum())} tokens, the logprobs hold {prefixed.shape[2]}.")
    return sizes


def token_sums(
    default: np.ndarray,
    prefixed: TokenArray,
    row_size: Int64[np.ndarray, " example"],
    start: int,
    stop: int,
    engine: Engine,
    terms: tuple[Term, ...],
    products: tuple[Product, ...],
    workers: int = 1,
    memory: int = MEMORY,
) -> TokenSums:
    """The additive state of tokens [start, stop) of all rows. Merged ranges equal the whole."""
    n_types, n_prompts, _ = prefixed.shape
    layout = RaggedLayout.of(row_size)
    states = [TokenSums.zeros(len(terms), len(products), n_types, n_prompts, layout) for _ in range(workers)]
    step = block_tokens(n_types * n_prompts)
    pieces = spans(start, stop, _tokens_at_a_time(prefixed, memory))
    with ThreadPoolExecutor(workers) as pool:
        for (a, b), part in prefetched(lambda a, b: prefixed[:, :, a:b], pieces):
            blocks = spans(a, b, step)

            def work(k: int, a: int = a, part: np.ndarray = part, blocks: list[tuple[int, int]] = blocks) -> None:
                for left, right in blocks[k::workers]:
                    piece = part[:, :, left - a : right - a]
                    states[k].add_block(default[left:right], piece, left, layout, engine, terms, products)

            list(pool.map(work, range(workers)))
    total = states[0]
    for state in states[1:]:
        total.merge(state)
    return total


def row_values(
    rows: TokenRows, start: int, stop: int, row_terms: Sequence[Term], recipe: Recipe, workers: int = 1
) -> Float64[np.ndarray, "term row"]:
    """Every row term of rows [start, stop), counted prefix-type-major."""
    if not row_terms:
        return np.zeros((0, stop - start))

    def one(row: TokenRow) -> list[float]:
        layout = row.layout
        given = {"delta": row.delta, "layout": layout, "row_size": layout.row_size, "recipe": recipe}
        return [float(value) for value in evaluate(row_terms, given)]  # pyright: ignore[reportArgumentType]

    found: list[list[float]] = []
    with ThreadPoolExecutor(workers) as pool:
        stream = rows.between(start, stop)
        while block := list(islice(stream, 8 * workers)):  # a row is as long as all tokens: few at a time
            found += pool.map(one, block)
    return np.array(found, dtype=np.float64).reshape(stop - start, len(row_terms)).T


def finalize(
    sums: TokenSums,
    row_values: Float64[np.ndarray, "term row"],
    row_size: Int64[np.ndarray, " example"],
    prefix_types: tuple[str, ...],
    prompts: tuple[str, ...],
    terms: Sequence[Term],
    row_terms: Sequence[Term],
    products: Sequence[Product],
) -> TokenStatistics:
    """Means from the merged state, whose memory is reused: do not merge into it afterwards."""
    shape = (len(prefix_types), len(prompts))
    count = int(row_size.sum()) - sums.missing
    n_positions = sums.moved.shape[1]
    shorter = np.cumsum(np.bincount(row_size, minlength=n_positions + 1)[:n_positions])
    reached = len(row_size) - shorter - sums.position_missing.astype(np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (sums.terms / count).reshape(len(terms), *shape)
    found = dict(zip(products, sums.products, strict=True))
    return TokenStatistics(
        prefix_types=prefix_types,
        prompts=prompts,
        count=count.reshape(shape),
        missing=sums.missing.reshape(shape),
        rare=sums.rare.reshape(shape),
        recovered=sums.recovered.reshape(shape),
        moved=sums.moved.reshape(*shape, n_positions),
        reached=reached.reshape(*shape, n_positions),
        means={term.name: mean for term, mean in zip(terms, means, strict=True)},
        rows={term.name: row.reshape(shape) for term, row in zip(row_terms, row_values, strict=True)},
        w=example_means(sums, row_size).reshape(*shape, len(row_size)),
        gram=found.get("gram"),
        gram_scaled=found.get("gram_scaled"),
    )


def _tokens_at_a_time(prefixed: TokenArray, memory: int) -> int:
    """Tokens per read: half of `memory` (the other half is read ahead), whole chunks where they fit."""
    n_types, n_prompts, n_tokens = prefixed.shape
    if isinstance(prefixed, np.ndarray):
        return max(n_tokens, 1)
    fit = max(1, memory // 2 // max(4 * n_types * n_prompts, 1))
    chunk = getattr(prefixed, "chunks", (1,))[-1]
    return fit // chunk * chunk if fit >= chunk else fit


def _workers(memory: int, each: int) -> int:
    """A thread per core this process may use, as far as what each of them holds fits in `memory`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, memory // max(each, 1)))


def one_blas_thread() -> AbstractContextManager[object]:
    """Workers are the parallelism; BLAS threads below them were up to 70 times slower on a busy machine."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")
