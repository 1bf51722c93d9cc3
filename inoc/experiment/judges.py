"""How a response is scored: the judges an experiment can name."""

from typing import Annotated, Literal

from pydantic import Field

from inoc.experiment.parts import Count, Part


class ServiceJudge(Part):
    """What judges that ask a chat model share. `api_key_env` names the environment variable with the key."""

    model: Annotated[str, Field(min_length=1)]
    base_url: str | None = None
    api_key_env: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] = "OPENAI_API_KEY"
    concurrency: Count = 32
    requests_per_minute: Count | None = None


class LogprobJudge(ServiceJudge):
    """One number from the first token's alternatives. The scale 0-9 is another judge than 0-100."""

    kind: Literal["logprob"]
    question: Annotated[str, Field(min_length=1)]
    scale: Literal["0-100", "0-9"] = "0-100"


class MisalignmentJudge(ServiceJudge):
    """Coherence or alignment of an answer, each blind to the other."""

    kind: Literal["misalignment"]
    aspect: Literal["coherence", "alignment"]


class LanguageJudge(Part):
    """Share of the response detected as the language, on this machine."""

    kind: Literal["language"]
    language: Annotated[str, Field(min_length=2, description="name in English, such as german")]


class LexicalJudge(Part):
    """Share of the response's sentences that a word list or a shipped lexicon recognises, on this machine."""

    kind: Literal["lexical"]
    words: tuple[str, ...] = ()
    lexicon: str | None = None


Judge = Annotated[
    LogprobJudge | LanguageJudge | LexicalJudge | MisalignmentJudge, Field(discriminator="kind")
]
