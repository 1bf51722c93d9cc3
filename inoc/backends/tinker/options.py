"""The backend's own settings: `options` of the experiment's backend section."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from inoc.errors import BadInput
from inoc.values import Scalar

Count = Annotated[int, Field(ge=1, strict=True)]
Seconds = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Options:
    """Where the service is and how long to wait for it. The key comes from TINKER_API_KEY only."""

    url: str | None = None
    """Address of the service; default: TINKER_BASE_URL, else the hosted service."""
    served_name: str | None = None
    """The base model's name on the service; default: the model's id."""
    tokenizer: str | None = None
    """Directory or hub name of the tokenizer; default: the model's id."""
    context_length: Count | None = None
    """Tokens of context and completion together, where the service does not say."""
    concurrency: Count = 64
    """Requests that wait for an answer at the same time."""
    timeout: Seconds = 600.0
    """Seconds without any answer after which inoc gives up, though the service is alive."""
    patience: Seconds = 30.0
    """Seconds the service may be unreachable in the middle of work."""


def parse_options(options: Mapping[str, Scalar] | None) -> Options:
    """Options from the experiment file; BadInput names the first wrong one and what there is."""
    given = dict(options or {})
    known = list(Options.__dataclass_fields__)
    for name in given:
        if "key" in name.lower():
            raise BadInput(
                f"the backend tinker takes its key from TINKER_API_KEY only: remove option '{name}'."
            )
        if name not in known:
            raise BadInput(f"the backend tinker has no option '{name}'; it knows {', '.join(known)}.")
    try:
        return TypeAdapter(Options).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"tinker option {first['loc'][0]} = {first['input']!r}: {first['msg']}.") from None
