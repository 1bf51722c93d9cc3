"""Where examples lie along the token axis, and token differences as whole rows."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Int64, Integer

Index = int | slice
T = TypeVar("T")


@runtime_checkable
class TokenArray(Protocol):
    """What is read from: a NumPy array, a zarr array or a store's handle. Slices are NumPy arrays."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __getitem__(self, key: Index | tuple[Index, ...], /) -> np.ndarray: ...


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
        return cls(filled, (stop - row_size)[filled], stop[filled], len(row_size), int(row_size.max(initial=0)))


@dataclass(frozen=True)
class RowLayout:
    """What all rows of a completion set share, along the token axis.

    Attributes:
        row_size: Token count of every example, in token order.
        token_ids: Id of every completion token; None where the store does not hold them.
    """

    row_size: Int64[np.ndarray, " example"]
    token_ids: Int64[np.ndarray, " token"] | None = None

    @cached_property
    def position(self) -> Integer[np.ndarray, " token"]:
        """Position of every token within its own example, 0 = first completion token."""
        return token_positions(self.row_size)

    @cached_property
    def example(self) -> Integer[np.ndarray, " token"]:
        """Index of the example every token belongs to."""
        return np.repeat(np.arange(len(self.row_size)), self.row_size)


class TokenRow(NamedTuple):
    """The token differences of one prefix type and prompt.

    Attributes:
        prefix_type: "fixed" or "mix".
        prompt: Key of the prompt.
        delta: Differences of all completion tokens in nats, float32; not finite where a side is missing.
        layout: Where examples lie along the tokens; one object for all rows.
    """

    prefix_type: str
    prompt: str
    delta: Float32[np.ndarray, " token"]
    layout: RowLayout


class TokenRows:
    """A stream of `TokenRow`, prefix-type-major; every iteration reads the logprobs once, a block ahead.

    Args:
        default: Logprobs without a prompt, [token].
        prefixed: Logprobs with a prompt, [prefix_type, prompt, token].
        layout: Where the tokens of each example are.
        prefix_types, prompts: Labels of the first two dims of `prefixed`.
        memory: Bytes of logprobs held at a time.
    """

    def __init__(
        self,
        default: TokenArray,
        prefixed: TokenArray,
        layout: RowLayout,
        *,
        prefix_types: Sequence[str],
        prompts: Sequence[str],
        memory: int = 256 << 20,
    ) -> None:
        self.layout = layout
        self.prefix_types, self.prompts = tuple(prefix_types), tuple(prompts)
        self._default, self._prefixed, self._memory = default, prefixed, memory

    def __len__(self) -> int:
        return len(self.prefix_types) * len(self.prompts)

    def __iter__(self) -> Iterator[TokenRow]:
        return self.between(0, len(self))

    def between(self, start: int, stop: int) -> Iterator[TokenRow]:
        """Rows [start, stop)."""
        baseline, n_prompts = np.asarray(self._default[:]), max(len(self.prompts), 1)
        at_a_time = max(1, self._memory // 2 // max(4 * self._prefixed.shape[2], 1))
        for (a, _), block in prefetched(self._read, spans(start, stop, at_a_time)):
            for r, row in enumerate(block, a):
                kind, prompt = divmod(r, n_prompts)
                yield TokenRow(self.prefix_types[kind], self.prompts[prompt], differences(baseline, row), self.layout)

    def _read(self, a: int, b: int) -> list[np.ndarray]:
        prefixed: TokenArray = self._prefixed
        n_prompts = prefixed.shape[1]
        if isinstance(prefixed, np.ndarray):
            return [np.asarray(prefixed[divmod(r, n_prompts)]) for r in range(a, b)]
        first, last = divmod(a, n_prompts), divmod(b - 1, n_prompts)
        if first[0] != last[0]:
            return [*self._read(a, last[0] * n_prompts), *self._read(last[0] * n_prompts, b)]
        return list(prefixed[first[0], first[1] : last[1] + 1])


def token_positions(row_size: Integer[np.ndarray, " example"]) -> Integer[np.ndarray, " token"]:
    """Position of every token within its own example."""
    starts = np.cumsum(row_size) - row_size
    return np.arange(int(row_size.sum())) - np.repeat(starts, row_size)


def differences(
    default: Float[np.ndarray, " token"], prefixed: Float[np.ndarray, "*row token"]
) -> Float32[np.ndarray, "*row token"]:
    """float32 differences; not finite where a side is not."""
    with np.errstate(invalid="ignore"):
        return np.asarray(prefixed - default, dtype=np.float32)


def spans(start: int, stop: int, step: int) -> list[tuple[int, int]]:
    """[start, stop) cut into pieces of `step`."""
    return list(pairwise([*range(start, stop, step), stop])) if stop > start else []


def prefetched(read: Callable[[int, int], T], pieces: Sequence[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], T]]:
    """What `read` gives for each piece, in order; the next one is read while the current one is used."""
    with ThreadPoolExecutor(1) as reader:
        pending = reader.submit(read, *pieces[0]) if pieces else None
        for i, piece in enumerate(pieces):
            assert pending is not None
            part = pending.result()
            pending = reader.submit(read, *pieces[i + 1]) if i + 1 < len(pieces) else None
            yield piece, part
