"""What is measured on every answer: scores by name, given by a judge or derived as a rate."""

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from inoc.errors import BadInput
from inoc.experiment.judges import Judge
from inoc.experiment.parts import Name, Part
from inoc.rates import parse_rate

Better = Literal["high", "low"]


class Score(Part):
    """A number from 0 to 100 on every answer. One with a role is a trait: wanted (positive), or the leak (negative)."""

    judge: Judge | None = None
    rate: Annotated[
        str | None, Field(min_length=1, description="a condition on other scores; 100 where an answer meets it, else 0")
    ] = None
    role: Literal["positive", "negative"] | None = None
    better: Annotated[
        Better | None, Field(description="which end is good; null: high for a positive role, low for a negative one")
    ] = None
    family: Annotated[
        Name | None, Field(description="the family of prompts that ask for it; null: its name in lower case")
    ] = None

    @model_validator(mode="after")
    def _one_source(self) -> "Score":
        if self.judge is not None and self.rate is not None:
            raise ValueError("has both a judge and a rate. Fix: remove one.")
        if self.family is not None and self.role is None:
            raise ValueError("has a family and no role. Fix: add `role: positive` or `role: negative`.")
        if self.rate is not None:
            try:
                parse_rate(self.rate)
            except BadInput as error:
                raise ValueError(str(error)) from None
        return self

    def asked_by(self, name: str) -> str:
        """The family of prompts that ask for this score of the given name; "" for one without a role."""
        if self.role is None:
            return ""
        return self.family or re.sub(r"\W+", "_", name.lower()).strip("_")
