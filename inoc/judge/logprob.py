"""The logprob judge: one chat call per response, the score is the expected number of the first token."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field

from inoc.judge.asking import AskingJudge, Reply
from inoc.judge.prompts import PROMPT_VERSION, messages, trait_question
from inoc.judge.protocols import JudgeRequest
from inoc.judge.scale import MIN_COVERAGE, PERCENT, SCALES, Scale, expected_score, token_value
from inoc.options import read_options
from inoc.services import Service, ServiceSettings, shared_service
from inoc.values import Scalar

DEFAULT_MODEL: Final = "gpt-4.1-mini"


class _Alternative(BaseModel):
    token: str
    logprob: float = Field(strict=True)


class _Token(_Alternative):
    top_logprobs: list[_Alternative] = []


class _Logprobs(BaseModel):
    content: list[_Token] | None = None


class _Choice(BaseModel):
    logprobs: _Logprobs | None = None


class _Reply(BaseModel):
    choices: list[_Choice]


def score_reply(content: bytes, coverage: float, scale: Scale) -> tuple[float, float]:
    """(score, coverage) of a chat-completions reply.

    ValueError without usable logprobs, or where the number continues in the second token: the first is not the score.
    """
    choices = _Reply.model_validate_json(content).choices
    tokens = choices[0].logprobs.content if choices and choices[0].logprobs else None
    if not tokens or not tokens[0].top_logprobs:
        raise ValueError("it has no logprobs. Fix: use a model and server that return top_logprobs.")
    alternatives = [(alternative.token, alternative.logprob) for alternative in tokens[0].top_logprobs]
    score = expected_score(alternatives, coverage, scale)
    if token_value(tokens[0].token, scale) is not None and len(tokens) > 1 and tokens[1].token[:1] in _DIGITS:
        raise ValueError("the judge model splits numbers into several tokens. Fix: use scale 0-9.")
    return score


_DIGITS: Final = frozenset("0123456789")


class LogprobJudge(AskingJudge):
    """Asks a chat model for one number and takes the mean over its first token's 20 alternatives.

    A response without an answer, or with less than `coverage` on valid numbers, is NaN with the reason.

    Args:
        service: The client.
        model: A chat model that returns top_logprobs.
        question: May contain {trait} and {top}; None uses the shipped question of the trait.
        scale: The numbers to answer with.
        coverage: Least probability (0-1) on valid numbers.
        temperature: Sampling temperature.
        cache: File of the cache; default: `default_cache_path()`.
    """

    def __init__(
        self,
        service: Service,
        model: str = DEFAULT_MODEL,
        question: str | None = None,
        scale: Scale = PERCENT,
        coverage: float = MIN_COVERAGE,
        temperature: float = 1.0,
        cache: Path | None = None,
    ) -> None:
        super().__init__(service, model, question, cache)
        self._scale, self._coverage, self._temperature = scale, coverage, temperature

    @property
    def version(self) -> str:
        return f"{PROMPT_VERSION}:{self._scale.name}:{self._coverage}"

    @property
    def identity(self) -> str:
        settings = {"coverage": (self._coverage, MIN_COVERAGE), "temperature": (self._temperature, 1.0)}
        return self._identify("logprob", self._scale.name, settings)

    def body(self, request: JudgeRequest) -> dict[str, object]:
        question = self._question_of(request)
        return {
            "model": self._model,
            "messages": list(messages(question, request.instruction, request.response, self._scale)),
            "max_tokens": 3,
            "temperature": self._temperature,
            "logprobs": True,
            "top_logprobs": 20,
        }

    def read(self, content: bytes) -> Reply:
        score, coverage = score_reply(content, self._coverage, self._scale)
        if math.isnan(score):
            return Reply(score, coverage, f"valid numbers have probability {coverage:.3f}, below {self._coverage:g}")
        return Reply(score, coverage)


@dataclass(frozen=True)
class LogprobOptions(ServiceSettings):
    """Options of the logprob judge: those of the service and these."""

    model: str = DEFAULT_MODEL
    question: str | None = None
    scale: Literal["0-100", "0-9"] = "0-100"
    coverage: Annotated[float, Field(ge=0, le=1, strict=True)] = MIN_COVERAGE
    temperature: Annotated[float, Field(ge=0, le=2, strict=True)] = 1.0
    cache: str | None = None
    """File of the cache."""


def logprob_judge(trait: str, options: Mapping[str, Scalar]) -> LogprobJudge:
    """A LogprobJudge from `LogprobOptions`. Judges of one service share its rate limit."""
    given = read_options(LogprobOptions, f"the judge of {trait}", options)
    cache, scale = None if given.cache is None else Path(given.cache).expanduser(), SCALES[given.scale]
    service = shared_service(given)
    return LogprobJudge(service, given.model, given.question, scale, given.coverage, given.temperature, cache)


def coherence_judge(trait: str, options: Mapping[str, Scalar]) -> LogprobJudge:
    """The judge of coherence, which does not see the question on alignment."""
    return logprob_judge("coherence", {"question": trait_question("coherence"), **options})


def alignment_judge(trait: str, options: Mapping[str, Scalar]) -> LogprobJudge:
    """The judge of alignment, which does not see the question on coherence."""
    return logprob_judge("alignment", {"question": trait_question("alignment"), **options})
