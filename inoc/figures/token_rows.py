"""Reading token differences row by row, so that no figure holds more than one prompt in memory."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from inoc.errors import IncompleteStore
from inoc.figures.sources import roles_of
from inoc.heuristics.maths.tokenwise import token_positions
from inoc.store.store import Store

CELL = ("prefix_type", "prompt")


class TokenRow(NamedTuple):
    """The token differences of one prompt and prefix type; NaN where missing."""

    cell: tuple[int, int]
    """Places of the prefix type and of the prompt."""
    delta: Float64[np.ndarray, " token"]
    prefixed: Float64[np.ndarray, " token"]


class TokenTable(NamedTuple):
    """What all rows share."""

    prompts: tuple[str, ...]
    prefix_types: tuple[str, ...]
    default: Float64[np.ndarray, " token"]
    position: Int64[np.ndarray, " token"]
    examples: int

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of prefix types and of prompts."""
        return len(self.prefix_types), len(self.prompts)

    def coords(self, store: Store) -> dict[str, object]:
        """The coordinates of data by prefix type and prompt."""
        role = ("prompt", roles_of(store, self.prompts))
        return {"prefix_type": list(self.prefix_types), "prompt": list(self.prompts), "role": role}


def token_table(store: Store, completion_set: str = "train") -> TokenTable:
    """Labels, default logprobs and positions. IncompleteStore where the set has no tokens."""
    if "token" not in (store.levels(completion_set) if completion_set in store.completion_sets else ()):
        raise IncompleteStore(
            f"the set '{completion_set}' is not stored token by token. Fix: score it with `inoc score`."
        )
    stored = store.token_logprobs(completion_set)
    sizes = np.asarray(stored.row_size, dtype=np.int64)
    default = np.asarray(stored.default[:], dtype=np.float64)
    position = np.asarray(token_positions(sizes), dtype=np.int64)
    return TokenTable(stored.prompts, stored.prefix_types, default, position, len(sizes))


def token_rows(store: Store, table: TokenTable, completion_set: str = "train") -> Iterator[TokenRow]:
    """Every row of the set, one in memory at a time."""
    stored = store.token_logprobs(completion_set)
    for cell in np.ndindex(table.shape):
        prefixed = np.asarray(stored.prefixed[cell], dtype=np.float64)
        yield TokenRow(cell, prefixed - table.default, prefixed)
