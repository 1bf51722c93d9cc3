"""The price of work on rented machines, estimated before it starts."""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

Work = Literal["score", "sample", "train"]


@dataclass(frozen=True)
class Price:
    """An estimate; None where a quantity is unknown.

    Attributes:
        jobs: Number of jobs.
        hardware: The hardware they request, in words.
        tokens: Tokens that go through the model: contexts and completions together, of every update.
        rate: Tokens per second of one machine.
        basis: Where rate and price come from, in words.
        hours: Machine hours, without waiting for and starting machines.
        dollars: Their price.
    """

    jobs: int
    hardware: str
    tokens: int
    rate: float | None
    basis: str
    hours: float | None
    dollars: float | None


@runtime_checkable
class Priced(Protocol):
    """A backend that estimates the price of work."""

    def price(self, tokens: int, work: Work = "score", jobs: int | None = None) -> Price:
        """Estimate without starting anything: for all `tokens` that go through the model; None leaves `jobs` open."""
        ...
