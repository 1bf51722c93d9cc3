"""The part of a store that heuristics read, so that this package imports nothing of the store."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

Attribute = str | int | float | list[int]
"""A value of a variable's attribute."""
Key = int | slice | tuple[int | slice | np.ndarray, ...]


class Absent(Exception):
    """An input that this store does not have; the message is the reason shown to the user."""


@runtime_checkable
class Array(Protocol):
    """A handle on a stored array: slicing reads."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __getitem__(self, key: Key, /) -> np.ndarray: ...


@runtime_checkable
class TraitLike(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def inverted(self) -> bool: ...
    @property
    def rate(self) -> str: ...


class _Labels(Protocol):
    @property
    def prefix_types(self) -> tuple[str, ...]: ...
    @property
    def prompts(self) -> tuple[str, ...]: ...
    @property
    def example_ids(self) -> tuple[str, ...]: ...


@runtime_checkable
class TokenLike(_Labels, Protocol):
    """Token-level logprobs of one completion set, in nats."""

    @property
    def default(self) -> Array: ...
    @property
    def prefixed(self) -> Array: ...
    @property
    def row_size(self) -> np.ndarray: ...


@runtime_checkable
class ExampleLike(_Labels, Protocol):
    """Per-example mean logprobs of one completion set, in nats per token, in memory."""

    @property
    def default(self) -> np.ndarray: ...
    @property
    def prefixed(self) -> np.ndarray: ...


@runtime_checkable
class RunLike(Protocol):
    """One fine-tuning."""

    @property
    def name(self) -> str: ...
    @property
    def prompt(self) -> str: ...
    @property
    def prefix_type(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def settings(self) -> Mapping[str, object]: ...


@runtime_checkable
class StoreLike(Protocol):
    """The part of `inoc.store.Store` that heuristics use."""

    @property
    def traits(self) -> Sequence[TraitLike]: ...
    @property
    def completion_sets(self) -> tuple[str, ...]: ...
    @property
    def runs(self) -> Mapping[str, RunLike]: ...
    def levels(self, completion_set: str = ...) -> Sequence[str]: ...
    def token_logprobs(self, completion_set: str = ...) -> TokenLike: ...
    def example_logprobs(self, completion_set: str = ...) -> ExampleLike: ...
    def has(self, where: str) -> bool: ...
    def read(self, where: str) -> np.ndarray: ...
