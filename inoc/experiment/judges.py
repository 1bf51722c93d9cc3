"""How a response is scored: the judges an experiment can name."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from inoc.experiment.parts import Count, Part, PluginName
from inoc.values import Scalar


class ServiceJudge(Part):
    """What judges that ask a chat model share. `api_key_env` names the environment variable with the key; null:
    OPENAI_API_KEY, and only for the hosted API or OPENAI_BASE_URL, so that no other server gets that key unnoticed."""

    model: Annotated[str, Field(min_length=1)]
    base_url: str | None = None
    api_key_env: Annotated[str | None, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] = None
    concurrency: Count = 32
    requests_per_minute: Count | None = None


class LogprobJudge(ServiceJudge):
    """One number from the first token's alternatives. The scales 0-9 and 0-100 are different judges."""

    kind: Literal["logprob"]
    question: Annotated[str, Field(min_length=1)]
    scale: Literal["0-100", "0-9"] = "0-100"


class ChatJudge(ServiceJudge):
    """What any chat model writes: a number, or one of some labels. Needs no logprobs."""

    kind: Literal["chat"]
    question: Annotated[str, Field(min_length=1)]
    scale: Literal["0-100", "0-9"] = "0-100"
    labels: Annotated[
        Mapping[str, Annotated[float, Field(ge=0, le=100)] | None] | None,
        Field(min_length=2, description="label: its score; null for one that says nothing, such as a refusal"),
    ] = None
    max_tokens: Count = 16
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0


class MisalignmentJudge(ServiceJudge):
    """Coherence or alignment of an answer, each blind to the other."""

    kind: Literal["misalignment"]
    aspect: Literal["coherence", "alignment"]


class LanguageJudge(Part):
    """Share of the response detected as the language, on this machine."""

    kind: Literal["language"]
    language: Annotated[str, Field(min_length=2, description="name in English, such as german")]
    languages: Annotated[
        tuple[str, ...], Field(description="the languages to choose among; empty: seven West European ones")
    ] = ()


class LexicalJudge(Part):
    """Share of the response's sentences that a word list or a shipped lexicon recognizes, on this machine."""

    kind: Literal["lexical"]
    words: tuple[str, ...] = ()
    lexicon: str | None = None


class PluginJudge(Part):
    """A judge of a plugin (entry-point group "inoc.judges") or `module:factory`, with that judge's own options."""

    kind: Literal["plugin"]
    name: PluginName
    options: Mapping[str, Scalar] = {}


Judge = Annotated[
    LogprobJudge | ChatJudge | LanguageJudge | LexicalJudge | MisalignmentJudge | PluginJudge,
    Field(discriminator="kind"),
]
