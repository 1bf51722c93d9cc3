"""Reading token differences row by row, so that no figure holds more than one prompt in memory."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from inoc.errors import IncompleteStore
from inoc.heuristics.maths.tokenwise import token_positions
from inoc.store.store import Store


class TokenRow(NamedTuple):
    """The token differences of one prompt and prefix type; NaN where missing."""

    prefix_type: int
    prompt: int
    delta: Float64[np.ndarray, " token"]
    prefixed: Float64[np.ndarray, " token"]


class TokenTable(NamedTuple):
    """What all rows share."""

    prompts: tuple[str, ...]
    prefix_types: tuple[str, ...]
    default: Float64[np.ndarray, " token"]
    position: Int64[np.ndarray, " token"]
    examples: int


def token_table(store: Store, completion_set: str = "train") -> TokenTable:
    """Labels, default logprobs and positions. IncompleteStore where the set has no tokens."""
    if "token" not in (store.levels(completion_set) if completion_set in store.completion_sets else ()):
        raise IncompleteStore(
            f"the set '{completion_set}' is not stored token by token; `inoc score` keeps every token"
        )
    stored = store.token_logprobs(completion_set)
    sizes = np.asarray(stored.row_size, dtype=np.int64)
    default = np.asarray(stored.default[:], dtype=np.float64)
    position = np.asarray(token_positions(sizes), dtype=np.int64)
    return TokenTable(stored.prompts, stored.prefix_types, default, position, len(sizes))


def token_rows(store: Store, table: TokenTable, completion_set: str = "train") -> Iterator[TokenRow]:
    """Every row of the set, one in memory at a time."""
    stored = store.token_logprobs(completion_set)
    for f in range(len(table.prefix_types)):
        for p in range(len(table.prompts)):
            prefixed = np.asarray(stored.prefixed[f, p], dtype=np.float64)
            yield TokenRow(f, p, prefixed - table.default, prefixed)
