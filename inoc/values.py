"""Plain values that every part of inoc uses. This module imports nothing of inoc."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

Scalar = None | bool | int | float | str
"""A setting of a backend, judge or service."""

if TYPE_CHECKING:
    Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
else:
    Json = object  # run-time checkers do not follow the recursion

TokenIds = tuple[int, ...]

Recipe = Literal["corrected", "published"]
"""`corrected` (the default) is what we stand behind; `published` reproduces published numbers."""


@dataclass(frozen=True)
class Sampling:
    """Sampling settings; the defaults are those of data generation, elicitation and evaluation."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 256
    seed: int | None = 0
    stop_ids: TokenIds = ()
    """Token ids that end a completion (the end-of-turn token); the stop token itself is not returned."""
