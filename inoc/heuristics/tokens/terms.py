"""What is computed per token or per row, written once: functions that name what they need as parameters.

A term of the kernel is a function of `delta` (float32 differences of a block) and of named parts; `xp` is
NumPy or jax.numpy. A part that several terms need is computed once per block. Padding and missing pairs are
differences of 0, at which every term is 0, so that they add nothing to a sum.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from types import ModuleType
from typing import Literal, NamedTuple, Protocol, TypeVar, cast, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Float64

Block = Float32[np.ndarray, "prefix_type prompt token"]
Valid = Bool[np.ndarray, "prefix_type prompt token"]
A = TypeVar("A")
Function = Callable[..., object]

CONSTANT = 1e-15
"""nats: a smaller std over prompts counts as none. Its square is still a normal float32, in NumPy and in JAX."""
BLOCK = 1 << 21
"""elements of a block: 8 MiB of float32."""


@runtime_checkable
class Tokens(Protocol):
    """Numbers per token: a NumPy or a JAX array. Operators and the functions of `xp` mean the same for both."""

    def __abs__(self) -> "Tokens": ...
    def __neg__(self) -> "Tokens": ...
    def __add__(self, other: "Tokens | float", /) -> "Tokens": ...
    def __radd__(self, other: "Tokens | float", /) -> "Tokens": ...
    def __sub__(self, other: "Tokens | float", /) -> "Tokens": ...
    def __rsub__(self, other: "Tokens | float", /) -> "Tokens": ...
    def __mul__(self, other: "Tokens | float", /) -> "Tokens": ...
    def __rmul__(self, other: "Tokens | float", /) -> "Tokens": ...
    def __gt__(self, other: "Tokens | float", /) -> "Tokens": ...
    def __lt__(self, other: "Tokens | float", /) -> "Tokens": ...


@dataclass(frozen=True)
class Term:
    """A named function with the named parts it builds on, directly or through other parts."""

    name: str
    function: Function
    parts: tuple[tuple[str, Function], ...] = ()


@cache
def parameters(function: Function) -> tuple[str, ...]:
    """Names of the parameters that have no default."""
    return tuple(
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is inspect.Parameter.empty
    )


def with_parts(name: str, function: Function, known: Mapping[str, Function]) -> Term:
    """The term with those of the known parts that it leads to."""
    reached: dict[str, Function] = {}
    waiting = list(parameters(function))
    while waiting:
        part = waiting.pop()
        if part in known and part not in reached:
            reached[part] = known[part]
            waiting += parameters(known[part])
    return Term(name, function, tuple(reached.items()))


@lru_cache(maxsize=64)
def _steps(terms: tuple[Term, ...]) -> tuple[tuple[str, Function, tuple[str, ...], bool], ...]:
    """(name, function, parameters, whether it is a term), each part once and before what needs it."""
    parts = {name: function for term in terms for name, function in term.parts}
    found: dict[str, tuple[str, Function, tuple[str, ...], bool]] = {}

    def add(key: str, name: str, function: Function, is_term: bool) -> None:
        if key not in found:
            for need in parameters(function):
                if need in parts:
                    add(need, need, parts[need], False)
            found[key] = (name, function, parameters(function), is_term)

    for i, term in enumerate(terms):
        add(f"{i} {term.name}", term.name, term.function, True)
    return tuple(found.values())


def evaluate(terms: Sequence[Term], given: Mapping[str, object]) -> Iterator[object]:
    """The value of each term in order; a part is computed once, when the first term needs it."""
    known = dict(given)
    for name, function, needs, is_term in _steps(tuple(terms)):
        value = function(**{need: known[need] for need in needs})
        if is_term:
            yield value
        else:
            known[name] = value


def per_token(terms: Sequence[Term], delta: Tokens, xp: ModuleType) -> Iterator[Tokens]:
    """Each term of a block of differences, of the shape and in the dtype of `delta`."""
    return cast(Iterator[Tokens], evaluate(terms, {"delta": delta, "xp": xp}))


Product = Literal["gram", "gram_scaled"]
"""Inner products of rows within a prefix type; most of the work, so made only where asked for."""
PRODUCTS: tuple[Product, ...] = ("gram", "gram_scaled")
ProductSums = Float64[np.ndarray, "product prefix_type prompt prompt"]


class BlockSums(NamedTuple):
    """Sums over the tokens of one block; rows are (prefix type, prompt), prefix-type-major."""

    terms: Float64[np.ndarray, "term row"]
    products: ProductSums

    @classmethod
    def zeros(cls, n_terms: int, n_products: int, n_types: int, n_prompts: int) -> "BlockSums":
        return cls(np.zeros((n_terms, n_types * n_prompts)), np.zeros((n_products, n_types, n_prompts, n_prompts)))


@runtime_checkable
class Engine(Protocol):
    """Where the work per token runs."""

    name: str

    def block_sums(
        self, delta: Block, valid: Valid | None, terms: tuple[Term, ...], products: tuple[Product, ...]
    ) -> BlockSums:
        """Sums over the tokens of a block. `delta` is 0 where not `valid`; None means that all are valid."""
        ...


def block_tokens(n_rows: int) -> int:
    """Tokens per block: a power of two with about BLOCK elements over all rows, 1024 to 65536."""
    return 1 << min(max((BLOCK // max(n_rows, 1)).bit_length() - 1, 10), 16)


def standardized(x: A, valid: A | None, sqrt: Callable[[A], A]) -> A:
    """Columns of `x[..., prompt, token]` centered over prompts and divided by their std (ddof = 0).

    Constant columns (std below `CONSTANT`) become 0. Where `valid` (1 or 0, same shape) is given, zeros stay out of
    mean and std.
    """
    values, mask = cast(np.ndarray, x), cast(np.ndarray | None, valid)
    n = values.shape[-2] if mask is None else mask.sum(-2, keepdims=True)
    n = n + (n == 0)
    centered = values - values.sum(-2, keepdims=True) / n
    if mask is not None:
        centered = centered * mask
    variance = (centered * centered).sum(-2, keepdims=True) / n
    constant = variance < CONSTANT**2
    return cast(A, centered / cast(np.ndarray, sqrt(cast(A, variance + constant))))
