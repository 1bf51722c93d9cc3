"""What judges that ask a chat model share: the cache, one call for equal requests, errors as NaN with their reason."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from inoc.errors import BadResult
from inoc.judge.cache import JudgmentCache, cache_key, default_cache_path
from inoc.judge.prompts import PROMPT_VERSION, question_digest, trait_question
from inoc.judge.protocols import JudgeRequest, Judgment
from inoc.services import RequestFailed, RequestRefused, Service


class Reply(NamedTuple):
    """What a reply says: a score from 0 to 100, or NaN with the reason in `error`."""

    score: float
    coverage: float
    error: str | None = None


class AskingJudge(ABC):
    """Asks a chat model about every response; `question` may contain {trait} and {top}, None is the shipped one. A
    response without an answer is NaN with the reason and never cached."""

    def __init__(self, service: Service, model: str, question: str | None, cache: Path | None) -> None:
        self._service, self._model, self._question = service, model, question
        self._cache = JudgmentCache(cache or default_cache_path())

    @property
    @abstractmethod
    def identity(self) -> str:
        """Model, prompt version, question and every setting that is not the default."""

    @property
    @abstractmethod
    def version(self) -> str:
        """What decides the score of a request besides the request itself; part of its key in the cache."""

    def _identify(self, kind: str, answers: str, settings: Mapping[str, tuple[float | int, float | int]]) -> str:
        """An identity of these answers; `settings` by name, each with its default."""
        parts = [kind, self._model, f"prompt-{PROMPT_VERSION}", answers]
        if self._question is not None:
            parts.append(f"question-{question_digest(self._question)}")
        parts += [f"{name}-{value:g}" for name, (value, usual) in settings.items() if value != usual]
        return ":".join(parts)

    def _question_of(self, request: JudgeRequest) -> str:
        return trait_question(request.trait, self._question)

    @abstractmethod
    def body(self, request: JudgeRequest) -> dict[str, object]:
        """The request that is sent."""

    @abstractmethod
    def read(self, content: bytes) -> Reply:
        """What a reply says; ValueError for one that is asked again."""

    def judge(self, requests: Sequence[JudgeRequest]) -> Iterator[Judgment]:
        """Cached scores first, then the others as they arrive; equal requests are sent once.

        Raises:
            BackendUnavailable, BackendRejected: Wrong key, unknown model or dead server. Nothing is lost: the
                same call resumes from the cache.
        """
        waiting: dict[str, list[JudgeRequest]] = {}
        for request in requests:
            waiting.setdefault(self._key(self.body(request)), []).append(request)
        for key, (score, coverage) in self._cache.get(list(waiting)).items():
            for request in waiting.pop(key):
                yield Judgment(request.id, score, coverage)
        first = [(key, same[0]) for key, same in waiting.items()]
        for key, reply in self._service.map(self._ask, first):
            for request in waiting[key]:
                yield Judgment(request.id, *reply)

    async def _ask(self, item: tuple[str, JudgeRequest]) -> tuple[str, Reply]:
        key, request = item
        try:
            reply = await self._service.post("/chat/completions", self.body(request), self.read)
        except (RequestFailed, RequestRefused, BadResult) as error:
            return key, Reply(math.nan, math.nan, str(error))
        if not math.isnan(reply.score):
            self._cache.put(key, reply.score, reply.coverage)
        return key, reply

    def _key(self, body: Mapping[str, object]) -> str:
        return cache_key(self._model, self.version, body)
