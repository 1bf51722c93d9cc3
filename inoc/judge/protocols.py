"""What a judge is: a request is a plain value, a judgement streams back with the request's id."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from inoc.values import Scalar


@dataclass(frozen=True)
class JudgeRequest:
    """Ask how strongly `response` shows `trait`. `instruction` is what was answered, where the judge may
    see it."""

    id: str
    trait: str
    instruction: str | None
    response: str


@dataclass(frozen=True)
class Judgement:
    """`score` is 0-100, NaN when there is none, and then `error` says why. `coverage` is the share (0-1) of
    the judge's answer the score rests on: probability mass of valid tokens, or share of the text
    recognised."""

    id: str
    score: float
    coverage: float
    error: str | None = None


@runtime_checkable
class Judge(Protocol):
    """Scores responses. `identity` names everything that changes scores (model, prompt version, scale);
    scores of different identities are never subtracted or pooled."""

    @property
    def identity(self) -> str: ...

    def judge(self, requests: Sequence[JudgeRequest]) -> Iterator[Judgement]:
        """Every request exactly once, in any order. One response that cannot be judged is NaN with an error;
        a judge that cannot work at all raises an InocError."""
        ...


@runtime_checkable
class JudgeFactory(Protocol):
    """What the entry-point group "inoc.judges" holds: makes the judge of one trait from an experiment's
    options."""

    def __call__(self, trait: str, options: Mapping[str, Scalar]) -> Judge: ...
