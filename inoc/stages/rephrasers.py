"""Where rewordings come from: templates (offline), the study's own model, or a chat model behind an API."""

from collections.abc import Sequence

from inoc.backends.protocols import Sampler
from inoc.plan import Question, Study
from inoc.plan.texts import make_texts, sample_requests
from inoc.services import Service
from inoc.stages.capable import capable
from inoc.stages.sampling import collect_answers
from inoc.values import Sampling

ANSWER_TOKENS = 2048


class TemplateRephraser:
    """Synonyms and framing phrases, no model: deterministic, works offline, English only."""

    identity = "templates:1"
    per_round = 10_000

    def rewordings(self, text: str, request: str, n: int, seed: int) -> Sequence[str]:
        from inoc.testbed.rephraser import rephrase

        return rephrase(text, n, seed=seed)


class SamplerRephraser:
    """The study's own base model, through its backend."""

    per_round = 50

    def __init__(self, study: Study) -> None:
        self._study = study
        self.identity = f"sampler:{study.backend.identity().get('model')}"

    def rewordings(self, text: str, request: str, n: int, seed: int) -> Sequence[str]:
        chat = self._study.chat
        room = self._study.backend.context_length - len(chat.context(request)) - 1
        sampling = Sampling(max_tokens=min(ANSWER_TOKENS, room), seed=seed, stop_ids=(chat.end_of_turn,))
        groups = [make_texts(self._study, [Question(f"rephrase/{seed}", request)], sampling, "rephrase")]
        requests = sample_requests(chat, self._study.backend.context_length, groups)
        completions = capable(self._study.backend, Sampler, "sample").sample(requests, sampling)
        ((answer,),) = collect_answers(self._study, groups, completions)
        return answer.text.splitlines()


class ChatRephraser:
    """A chat model behind an OpenAI-compatible API."""

    per_round = 50

    def __init__(self, service: Service, model: str) -> None:
        self._service, self._model = service, model
        self.identity = f"chat:{model}"

    def rewordings(self, text: str, request: str, n: int, seed: int) -> Sequence[str]:
        import json

        def parse(content: bytes) -> list[str]:
            reply = json.loads(content)
            answer = reply["choices"][0]["message"]["content"]
            if not isinstance(answer, str):
                raise ValueError("it has no text")
            return answer.splitlines()

        body: dict[str, object] = {
            "model": self._model,
            "messages": [{"role": "user", "content": request}],
            "temperature": 1.0,
            "max_tokens": ANSWER_TOKENS,
            "seed": seed,
        }
        return self._service.wait(self._service.post("/chat/completions", body, parse))
