"""What work on rented machines will cost, before it is started."""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

Work = Literal["score", "sample", "train"]


@dataclass(frozen=True)
class Price:
    """An estimate. What is not known is None.

    Attributes:
        jobs: how many jobs the work becomes.
        hardware: what they ask for, in words.
        tokens: all that go through the model: contexts and completions together, every update's.
        rate: tokens per second of one machine.
        basis: where the rate and the price come from, in words.
        hours: machine hours, without waiting for a machine and starting it.
        dollars: what those cost.
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
    """A backend that can say what work costs without doing it."""

    def price(self, tokens: int, work: Work = "score", jobs: int | None = None) -> Price:
        """For so many tokens in all, in as many jobs as there are runs, or as the backend makes of them. Starts
        nothing."""
        ...
