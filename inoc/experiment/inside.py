"""What `inoc probe` looks at inside the base model."""

from typing import Annotated, Literal

from pydantic import Field

from inoc.experiment.parts import Count, Part


class Inside(Part):
    """Gradients, hidden states and first tokens of the base model, with and without each prompt."""

    examples: Annotated[Count, Field(description="training examples, a random subset of those scored")] = 64
    seed: Annotated[int, Field(description="of the subset, of LoRA's first factors and of the projection")] = 0
    weights: Annotated[
        Literal["lora", "all"],
        Field(description="gradients of LoRA's second factors, which fit any memory, or of all matrices"),
    ] = "lora"
    rank: Annotated[Count, Field(description="of LoRA")] = 32
    dimension: Annotated[Count, Field(description="of the random projection of a gradient that is stored")] = 4096
    layers: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...],
        Field(description="hidden states to look at, 0 is the embedding; [] for four spread over the depth"),
    ] = ()
