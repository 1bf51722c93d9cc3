"""The same statistics as a map-reduce over a dask cluster (extra `dask`), for stores that outgrow one machine.

Tasks over token ranges return additive states that are merged pairwise; tasks over rows return what needs whole rows.
Pass arrays that live in storage every worker can reach (zarr arrays, a store's handles): they travel as handles.
"""

# dask ships partial types:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import numpy as np
from jaxtyping import Int64, Integer

from inoc.errors import BackendUnavailable
from inoc.heuristics.tokens.engine import NumpyEngine
from inoc.heuristics.tokens.one_pass import (
    RowStatistics,
    TokenArray,
    TokenStatistics,
    check_shapes,
    finalise,
    one_blas_thread,
    row_statistics,
    token_sums,
)
from inoc.heuristics.tokens.position_spectrum import SpectrumChoice
from inoc.heuristics.tokens.sums import TokenSums


def map_reduce(
    default: TokenArray,
    prefixed: TokenArray,
    row_size: Integer[np.ndarray, " example"],
    *,
    prefix_types: Sequence[str],
    prompts: Sequence[str],
    spectrum: SpectrumChoice = True,
    tasks: int = 8,
) -> TokenStatistics:
    """`token_statistics` as `tasks` tasks over tokens and `tasks` over rows, on dask's current scheduler.

    Raises:
        BackendUnavailable: dask is not installed.
        BadInput: shapes that do not belong together.
    """
    try:
        from dask.base import compute
        from dask.delayed import delayed
    except ImportError as error:
        raise BackendUnavailable("map_reduce needs dask: pip install 'inoc[dask]'.") from error
    sizes = check_shapes(default, prefixed, row_size, len(prefix_types), len(prompts))
    sums = [delayed(_sums)(default, prefixed, sizes, a, b) for a, b in _ranges(prefixed.shape[2], tasks)]
    while len(sums) > 1:
        pairs = [delayed(_merged)(*sums[i : i + 2]) for i in range(0, len(sums) - 1, 2)]
        sums = pairs + sums[len(sums) - len(sums) % 2 :]
    rows = [
        delayed(_rows)(default, prefixed, sizes, a, b, spectrum)
        for a, b in _ranges(len(prefix_types) * len(prompts), tasks)
    ]
    total, *parts = cast("tuple[TokenSums, *tuple[RowStatistics, ...]]", compute(*sums, *rows))
    joined = RowStatistics(
        np.concatenate([part.top_quarter for part in parts]),
        np.concatenate([part.spectrum for part in parts]),
    )
    return finalise(total, joined, sizes, tuple(prefix_types), tuple(prompts))


def _sums(
    default: TokenArray, prefixed: TokenArray, row_size: Int64[np.ndarray, " example"], start: int, stop: int
) -> TokenSums:
    with one_blas_thread():
        return token_sums(np.asarray(default[:]), prefixed, row_size, start, stop, NumpyEngine())


def _rows(
    default: TokenArray,
    prefixed: TokenArray,
    row_size: Int64[np.ndarray, " example"],
    start: int,
    stop: int,
    spectrum: SpectrumChoice,
) -> RowStatistics:
    with one_blas_thread():
        return row_statistics(np.asarray(default[:]), prefixed, row_size, start, stop, spectrum)


def _merged(one: TokenSums, other: TokenSums) -> TokenSums:
    """A new state: dask may hand the same one to several tasks."""
    return one.copy().merge(other)


def _ranges(n: int, parts: int) -> list[tuple[int, int]]:
    return list(pairwise(int(edge) for edge in np.linspace(0, n, max(1, min(parts, n)) + 1)))
