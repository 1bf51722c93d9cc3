"""The backend's own settings: `options` of the experiment's backend section."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from inoc.errors import BadInput
from inoc.services import OPTION_NAMES, ServiceSettings
from inoc.values import Scalar

Count = Annotated[int, Field(ge=1, strict=True)]


@dataclass(frozen=True)
class Options:
    """What the backend needs to know beside `ServiceSettings`."""

    tokenizer: str | None = None
    """Directory or hub name of the tokenizer; default: the model's id."""
    served_name: str | None = None
    """The model's name on the server; default: found among the models it serves."""
    embedding_model: str | None = None
    """Model for /v1/embeddings; default: the served model."""
    context_length: Count | None = None
    """Tokens of context and completion together, where the server does not say."""
    prompts_per_request: Count = 8
    """Completions scored in one HTTP request."""


def parse_options(options: Mapping[str, Scalar] | None) -> tuple[Options, ServiceSettings]:
    """(own options, service settings); BadInput names the first wrong one and what there is."""
    given = dict(options or {})
    known = [field.name for field in fields(Options)]
    if unknown := sorted(set(given) - set(known) - OPTION_NAMES):
        names = ", ".join([*known, *sorted(OPTION_NAMES)])
        raise BadInput(f"the backend openai_server has no option '{unknown[0]}'; it knows {names}.")
    try:
        own = TypeAdapter(Options).validate_python({k: v for k, v in given.items() if k in known})
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(
            f"openai_server option {first['loc'][0]} = {first['input']!r}: {first['msg']}."
        ) from None
    return own, ServiceSettings.from_options(given)
