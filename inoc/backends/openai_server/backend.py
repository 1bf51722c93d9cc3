"""OpenAIServerBackend: scores, samples and embeds with a model behind /v1/completions, by token ids."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import ClassVar

import numpy as np
from jaxtyping import Float32

from inoc.backends.base import NOT_ASKED, TokenBackend
from inoc.backends.openai_server import wire
from inoc.backends.openai_server.embeddings import embed_texts
from inoc.backends.openai_server.options import ServerOptions
from inoc.backends.openai_server.served import Served
from inoc.backends.protocols import Capabilities, Completion, ModelSpec, SampleRequest, ScoreRequest, TokenLogprobs
from inoc.backends.requests import by_checkpoint
from inoc.backends.streams import stream_seed
from inoc.errors import BackendRejected, BadInput, BadResult
from inoc.hashing import content_hash
from inoc.services import RequestRefused, Service
from inoc.values import Sampling, Scalar, TokenIds

log = logging.getLogger("inoc.backends.openai_server")


class OpenAIServerBackend(TokenBackend[ServerOptions]):
    """A server that scores given token ids (`vllm serve` and others). What it can do is probed on first use. BadInput
    for a wrong option or tokenizer, BackendUnavailable where a library or the key is missing."""

    name: ClassVar[str] = "openai_server"
    options_class: ClassVar[type[ServerOptions]] = ServerOptions
    capabilities = Capabilities(score=True, sample=True, embed=True, adapters=True, echoes_token_ids=True)
    libraries: ClassVar[tuple[str, ...]] = ("openai",)
    extra: ClassVar[str] = "inoc[openai]"

    def __init__(self, model: ModelSpec) -> None:
        super().__init__(model)
        _ = self.tokenizer  # a wrong one is reported at once
        self._service = Service(self.options)
        self._served = Served(self._service, model.id, self.options.served_name)
        self._proofs: set[str] = set()
        self._spelled: dict[int, Collection[str]] = {}

    @property
    def context_length(self) -> int:
        """The option context_length, else what the server says. BadInput where neither does."""
        if self.options.context_length is None and self.offline:
            return NOT_ASKED
        length = self.options.context_length or self._served.base.max_model_len
        if length is None:
            raise BadInput(
                f"{self._service.where} does not report the context length. Fix: set backend.options.context_length."
            )
        return length

    def identity(self) -> Mapping[str, Scalar]:
        """The weights and dtype are the server's: known by the model's name only. The engine is known once asked."""
        about = {**super().identity(), "served_name": self.options.served_name}
        if self.offline:
            return about
        version = self._served.version()
        return {**about, "engine": "openai-compatible server" + (f" {version}" if version else "")}

    def check(self) -> None:
        """Within seconds: the server answers, takes the key and serves the model."""
        self._served.base  # noqa: B018  # asking is the check

    def close(self) -> None:
        """Unload the adapters that this backend loaded and end the connections."""
        self._served.unload()
        self._service.close()

    @cached_property
    def dialect(self) -> wire.Dialect:
        """How this server returns the logprobs of given ids, tried with three tokens; else BackendRejected."""
        ids = tuple(self.tokenizer.encode("a b c d", add_special_tokens=False)[:3])
        probe = (ScoreRequest("probe", ids[:1], ids[1:]),)
        reasons: list[str] = []
        for dialect in wire.DIALECTS:
            try:
                self._service.wait(self._score_batch(self._served.base.id, probe, dialect, certain=True))
                log.info("%s scores by %s", self._service.where, dialect.name)
                return dialect
            except (RequestRefused, BadResult, BackendRejected) as error:
                reasons.append(f"{dialect.name}: {error}")
        raise BackendRejected(
            f"{self._service.where} does not return the logprobs of a given text ({reasons[0]}). "
            "Fix: use a completions server such as vLLM, or another backend to score."
        )

    def _matching_dialect(self) -> wire.Dialect:
        """The dialect; BackendRejected where nothing shows which token a value belongs to and no proof is there."""
        proof = self.needs_proof()
        if proof is not None and proof not in self._proofs:
            raise BackendRejected(
                f"{self._service.where} returns logprobs with neither ids nor known texts of their tokens, so each may "
                "belong to another token. Fix: compare it with a reference once, inoc doctor STUDY --store STORE."
            )
        return self.dialect

    def needs_proof(self) -> str | None:
        """A hash of this server and how it is asked; None where ids or texts show which token a value belongs to."""
        if self.dialect.matched != "nothing":
            return None
        base, about = self._served.base, self.identity()
        return content_hash(self._service.url, self.dialect.name, base.id, base.root, dict(about))

    def accept_proofs(self, proofs: Iterable[str]) -> None:
        """What `inoc doctor` has proved in this study."""
        self._proofs.update(proofs)

    def _spell(self, token: int) -> Collection[str]:
        """The texts under which servers return a token: decoded, or as in the vocabulary with or without its mark."""
        if token not in self._spelled:
            piece = str(getattr(self.tokenizer, "convert_ids_to_tokens")(token))  # noqa: B009
            texts = {self.tokenizer.decode([token], skip_special_tokens=False), piece}
            texts |= {piece.replace(mark, " ") for mark in ("\u0120", "\u2581")}
            self._spelled[token] = frozenset(text for text in texts if text and "\ufffd" not in text)
        return self._spelled[token]

    @cached_property
    def returns_ids(self) -> bool:
        """Whether the server takes vLLM's sampling parameters and returns the token ids it sampled."""
        ids = self.tokenizer.encode("a b", add_special_tokens=False)[:1]
        probe = SampleRequest("probe", tuple(ids))
        try:
            drawn = self._draw(self._served.base.id, probe, Sampling(max_tokens=1), extended=True)
            return self._service.wait(drawn).logprobs is not None
        except (RequestRefused, BadResult):
            log.warning(
                "%s returns text only: completions are tokenized again, which may differ in rare places",
                self._service.where,
            )
            return False

    def compute_scores(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        """Batches of similar length, results as they arrive; a wrong reply is requested once more, then BadResult."""
        size = self.options.prompts_per_request
        for checkpoint, group in by_checkpoint(requests).items():
            model, dialect = self._served.name_for(checkpoint), self._matching_dialect()
            group.sort(key=lambda request: len(request.context) + len(request.completion), reverse=True)
            batches = [group[i : i + size] for i in range(0, len(group), size)]
            score_batch = partial(self._score_batch, model, dialect=dialect)
            for results in self._service.map(score_batch, batches):
                yield from results

    async def _score_batch(
        self, model: str, requests: Sequence[ScoreRequest], dialect: wire.Dialect, certain: bool = False
    ) -> list[TokenLogprobs]:
        prompts = [request.context + request.completion for request in requests]
        return await self._service.post(
            "/completions",
            wire.score_body(model, prompts, dialect),
            lambda content: wire.read_scores(content, requests, dialect, self._spell, certain),
        )

    def compute_samples(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        """One HTTP request each. `logprobs` are the server's, where it returns ids."""
        names = {checkpoint: self._served.name_for(checkpoint) for checkpoint in by_checkpoint(requests)}
        extended = self.returns_ids if requests else True

        async def draw(request: SampleRequest) -> Completion:
            return await self._draw(names[request.checkpoint], request, sampling, extended)

        yield from self._service.map(draw, requests)

    async def _draw(self, model: str, request: SampleRequest, sampling: Sampling, extended: bool) -> Completion:
        stop = [self.tokenizer.decode([token], skip_special_tokens=False) for token in sampling.stop_ids]
        body = wire.sample_body(model, request, sampling, stream_seed(sampling.seed, request), stop, extended)
        return await self._service.post(
            "/completions", body, lambda content: wire.read_sample(content, request, sampling, self._encode)
        )

    def _encode(self, text: str) -> TokenIds:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text feature"]:
        """Unit vectors of /v1/embeddings from the option embedding_model, else the served model."""
        model = self.options.embedding_model or self._served.base.id
        return embed_texts(self._service, model, texts)
