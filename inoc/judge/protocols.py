"""What a judge is: it takes requests, which are plain values, and yields judgments with the requests' ids."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from inoc.values import Scalar


@dataclass(frozen=True)
class JudgeRequest:
    """Ask how strongly a response shows a trait.

    Attributes:
        id: Identifies the judgment.
        trait: What to score.
        instruction: What the response answers; None where the judge must not see it.
        response: The text to score.
    """

    id: str
    trait: str
    instruction: str | None
    response: str


@dataclass(frozen=True)
class Judgment:
    """The score of one response.

    Attributes:
        id: That of the request.
        score: 0-100; NaN where there is none, and `error` says why.
        coverage: Share (0-1) of the judge's answer that the score is based on: probability of valid tokens, or
            share of the text that was recognized.
        error: Why there is no score.
    """

    id: str
    score: float
    coverage: float
    error: str | None = None


@runtime_checkable
class Judge(Protocol):
    """Scores responses."""

    @property
    def identity(self) -> str:
        """Names everything that changes scores (model, prompt version, scale); scores of judges with different
        identities are never subtracted or pooled."""
        ...

    def judge(self, requests: Sequence[JudgeRequest]) -> Iterator[Judgment]:
        """Judge responses.

        Args:
            requests: What to judge.

        Yields:
            One judgment per request, in any order; NaN with an error for a response that cannot be judged.

        Raises:
            InocError: The judge does not work at all.
        """
        ...


@runtime_checkable
class JudgeFactory(Protocol):
    """Makes the judge of a trait from an experiment's options; an entry point of the group "inoc.judges"."""

    def __call__(self, trait: str, options: Mapping[str, Scalar]) -> Judge: ...
