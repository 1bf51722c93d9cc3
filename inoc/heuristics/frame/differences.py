"""The differences themselves, labeled: what every heuristic is computed from."""

from collections.abc import Hashable, Mapping
from typing import Literal

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from inoc.errors import BadInput, IncompleteStore
from inoc.heuristics.frame.prompt_inputs import strings
from inoc.heuristics.frame.protocols import Array, StoreLike, TokenLike
from inoc.heuristics.tokens.layout import token_positions
from inoc.names import unknown

Level = Literal["token", "example"]


class _Lazy(BackendArray):
    """prefixed[prefix type] - default, read where it is indexed."""

    def __init__(self, default: Array, prefixed: Array, prefix_type: int) -> None:
        self._default, self._prefixed, self._prefix_type = default, prefixed, prefix_type
        self.shape = prefixed.shape[1:]
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[int | slice | np.ndarray, int | slice | np.ndarray]) -> np.ndarray:
        prompts, tokens = key
        return self._prefixed[self._prefix_type, prompts, tokens] - self._default[(tokens,)]


def difference(
    store: StoreLike, prefix_type: str = "fixed", completion_set: str = "train", level: Level | None = None
) -> xr.DataArray:
    """Logprob with the prompt minus logprob without, labeled.

    Args:
        store: What `inoc.open_store` gives.
        prefix_type: fixed or mix.
        completion_set: The set of completions.
        level: token or example; by default token where tokens are stored.

    Returns:
        Token level: dims prompt and token, nats, float32, read only where it is indexed; coords `example` and
        `position` (0 = first completion token) along token. Example level: dims prompt and example, nats per
        token, float64: the mean over the tokens of each completion, in memory. Units not done are NaN.

    Raises:
        BadInput: The store has no such set, prefix type or level.
        IncompleteStore: The store holds no logprobs.

    Example:
        >>> inoc.difference(store, "mix", level="example").dims
        ('prompt', 'example')
    """
    if not store.completion_sets:
        raise IncompleteStore("the store holds no logprobs yet. Fix: run `inoc score` or `inoc import`.")
    if completion_set not in store.completion_sets:
        raise BadInput(unknown("completion set", completion_set, store.completion_sets))
    levels = store.levels(completion_set)
    chosen = level or ("token" if "token" in levels else "example")
    if chosen not in ("token", "example"):
        raise BadInput(unknown("level", chosen, ("token", "example")))
    if chosen == "token":
        if "token" not in levels:
            raise BadInput(f"the set '{completion_set}' is stored without tokens. Fix: level='example'.")
        return _tokens(store, store.token_logprobs(completion_set), prefix_type)
    if "example" in levels:
        stored = store.example_logprobs(completion_set)
        at = _place(prefix_type, stored.prefix_types)
        w, prompts, examples = stored.prefixed[at] - stored.default, stored.prompts, stored.example_ids
    else:
        tokens = store.token_logprobs(completion_set)
        w = example_differences(tokens, _place(prefix_type, tokens.prefix_types))
        prompts, examples = tokens.prompts, tokens.example_ids
    coords: dict[str, object] = {"prompt": list(prompts), "example": list(examples), **_role(store, prompts)}
    return _labeled(np.asarray(w), ("prompt", "example"), coords, "nats per token", prefix_type)


def example_differences(tokens: TokenLike, prefix_type: int) -> np.ndarray:
    """w[prompt, example] of one prefix type, one row in memory at a time; NaN for an example without a finite token."""
    sizes = np.asarray(tokens.row_size, dtype=np.int64)
    filled = np.flatnonzero(sizes > 0)
    starts = (np.cumsum(sizes) - sizes)[filled]
    default = np.asarray(tokens.default[:])
    w = np.full((len(tokens.prompts), len(sizes)), np.nan)
    if len(filled) == 0:
        return w
    for p in range(len(tokens.prompts)):
        delta = tokens.prefixed[prefix_type, p] - default
        finite = np.isfinite(delta)
        total = np.add.reduceat(np.where(finite, delta, 0).astype(np.float64), starts)
        n = np.add.reduceat(finite.astype(np.int64), starts)
        with np.errstate(invalid="ignore", divide="ignore"):
            w[p, filled] = total / n
    return w


def _tokens(store: StoreLike, stored: TokenLike, prefix_type: str) -> xr.DataArray:
    at = _place(prefix_type, stored.prefix_types)
    lazy = indexing.LazilyIndexedArray(_Lazy(stored.default, stored.prefixed, at))
    sizes = np.asarray(stored.row_size, dtype=np.int64)
    example = np.repeat(np.array(stored.example_ids, dtype=object), sizes)
    coords: dict[str, object] = {
        "prompt": list(stored.prompts),
        "example": ("token", example),
        "position": ("token", token_positions(sizes)),
        **_role(store, stored.prompts),
    }
    return _labeled(lazy, ("prompt", "token"), coords, "nats", prefix_type)


def _place(prefix_type: str, stored: tuple[str, ...]) -> int:
    if prefix_type not in stored:
        raise BadInput(unknown("prefix type", prefix_type, stored))
    return stored.index(prefix_type)


def _role(store: StoreLike, prompts: tuple[str, ...]) -> dict[str, object]:
    roles = dict(zip(strings(store, "prompts/prompt"), strings(store, "prompts/role"), strict=True))
    return {"role": ("prompt", [roles.get(p, "") for p in prompts])} if roles else {}


def _labeled(
    data: object, dims: tuple[Hashable, ...], coords: Mapping[str, object], units: str, prefix_type: str
) -> xr.DataArray:
    attrs = {"long_name": "logprob with minus without the prompt", "units": units, "prefix_type": prefix_type}
    variable = xr.Variable(dims, data, attrs, fastpath=True)
    return xr.DataArray(variable, coords=coords, name="difference")
