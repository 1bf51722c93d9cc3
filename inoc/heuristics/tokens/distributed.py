"""The same statistics as a map-reduce over a dask cluster (extra `cluster`), for stores that outgrow one machine.

Tasks over token ranges return additive states that are merged pairwise; tasks over rows return what needs whole rows.
Pass arrays that live in storage every worker can reach (zarr arrays, a store's handles): they travel as handles.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import numpy as np
from jaxtyping import Float64, Int64, Integer

from inoc.errors import BackendUnavailable
from inoc.heuristics.tokens.layout import RowLayout, TokenArray, TokenRows
from inoc.heuristics.tokens.numpy_engine import NumpyEngine
from inoc.heuristics.tokens.one_pass import (
    TokenStatistics,
    check_shapes,
    finalize,
    one_blas_thread,
    row_values,
    token_sums,
)
from inoc.heuristics.tokens.sums import TokenSums
from inoc.heuristics.tokens.terms import PRODUCTS, Product, Term
from inoc.values import Recipe

RowSize = Int64[np.ndarray, " example"]


def map_reduce(
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
    tasks: int = 8,
) -> TokenStatistics:
    """`token_statistics` as `tasks` tasks over tokens and `tasks` over rows, on dask's current scheduler.

    Args:
        default, prefixed, row_size, prefix_types, prompts, terms, row_terms, products, recipe: As of
            `token_statistics`.
        tasks: Tasks of each kind.

    Raises:
        BackendUnavailable: dask is not installed.
        BadInput: Shapes that do not belong together.
    """
    try:
        from dask.base import compute
        from dask.delayed import delayed
    except ImportError as error:
        raise BackendUnavailable("map_reduce needs dask. Fix: pip install -e '.[cluster]' in inoc's clone.") from error
    sizes = check_shapes(default, prefixed, row_size, len(prefix_types), len(prompts))
    terms, row_terms, products = tuple(terms), tuple(row_terms), tuple(products)
    sums = [
        delayed(_sums)(default, prefixed, sizes, a, b, terms, products) for a, b in _ranges(prefixed.shape[2], tasks)
    ]
    while len(sums) > 1:
        pairs = [delayed(_merged)(*sums[i : i + 2]) for i in range(0, len(sums) - 1, 2)]
        sums = pairs + sums[len(sums) - len(sums) % 2 :]
    rows = TokenRows(default, prefixed, RowLayout(sizes), prefix_types=prefix_types, prompts=prompts)
    values = [delayed(_values)(rows, a, b, row_terms, recipe) for a, b in _ranges(len(rows), tasks)]
    total, *parts = cast("tuple[TokenSums, *tuple[np.ndarray, ...]]", compute(*sums, *values))
    joined = np.concatenate([np.zeros((len(row_terms), 0)), *parts], axis=1)
    return finalize(total, joined, sizes, tuple(prefix_types), tuple(prompts), terms, row_terms, products)


def _sums(
    default: TokenArray,
    prefixed: TokenArray,
    row_size: RowSize,
    start: int,
    stop: int,
    terms: tuple[Term, ...],
    products: tuple[Product, ...],
) -> TokenSums:
    with one_blas_thread():
        return token_sums(np.asarray(default[:]), prefixed, row_size, start, stop, NumpyEngine(), terms, products)


def _values(
    rows: TokenRows, start: int, stop: int, row_terms: tuple[Term, ...], recipe: Recipe
) -> Float64[np.ndarray, "term row"]:
    with one_blas_thread():
        return row_values(rows, start, stop, row_terms, recipe)


def _merged(one: TokenSums, other: TokenSums) -> TokenSums:
    """A new state: dask may hand the same one to several tasks."""
    return one.copy().merge(other)


def _ranges(n: int, parts: int) -> list[tuple[int, int]]:
    return list(pairwise(int(edge) for edge in np.linspace(0, n, max(1, min(parts, n)) + 1)))
