"""Forced beginnings of answers: how a behavior that is too rare to count is looked for."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from inoc.experiment.parts import Count, Part


class Prefills(Part):
    """The first tokens of a donor's answer are forced under each checkpoint, the rest is sampled and judged."""

    source: Annotated[
        Literal["file", "run", "self"],
        Field(description="whose answers: a file's, those of a run's last checkpoint, the checkpoint's own"),
    ] = "run"
    run: Annotated[str | None, Field(description="the donor run; null: the run itself")] = None
    file: Annotated[str | None, Field(description="for source: file, a JSONL file of completions")] = None
    levels: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1, description="forced tokens, ascending")
    ] = (0, 10, 20, 40, 70, 100)
    texts: Annotated[Count, Field(description="donor answers")] = 30
    n: Annotated[Count, Field(description="answers for each checkpoint and level, spread evenly over the texts")] = 90
    threshold: Annotated[float, Field(ge=0, le=100, description="trait score from which an answer counts")] = 50.0

    @model_validator(mode="after")
    def _whole(self) -> "Prefills":
        if list(self.levels) != sorted(set(self.levels)):
            raise ValueError(f"levels are {list(self.levels)}. Fix: write each once, in ascending order.")
        if self.n % self.texts:
            raise ValueError(f"n is {self.n}, not a multiple of texts, {self.texts}. Fix: change one of them.")
        if (self.source == "file") != (self.file is not None):
            raise ValueError("`file` belongs to `source: file`. Fix: give both or neither.")
        return self
