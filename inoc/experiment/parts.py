"""What all parts of an experiment share: the base class and the small types."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

PrefixType = Literal["none", "fixed", "mix"]
Placement = Literal["user", "system"]
Role = Literal["positive", "negative", "neutral"]
Condition = Literal["default", "training"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
PluginName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*(:[A-Za-z_][A-Za-z0-9_.]*)?$", max_length=200)]
"""A name, or `module:object` for code that no package offers."""
Count = Annotated[int, Field(ge=1)]
NEUTRAL = "neutral"


class Part(BaseModel):
    """Base of every part: no unknown fields, no changes after construction, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())
