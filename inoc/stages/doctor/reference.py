"""What else can score the same model on this machine, to compare a backend with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inoc.backends import load_backend
from inoc.backends.model_files import present
from inoc.backends.protocols import Backend, ModelSpec, Scorer, ScoreRequest, TokenLogprobs
from inoc.errors import InocError
from inoc.stages.capable import capable

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LARGEST = 4 << 30
"""Bytes of weights up to which a second copy of the model is loaded."""


@dataclass(frozen=True)
class Reference:
    """Something that scores, and the local backend of the same model (for its tokenizer and for other dtypes)."""

    scorer: Scorer
    backend: Backend
    model: ModelSpec


class FoundReference(NamedTuple):
    """A reference and what it is called, or None and why there is none."""

    reference: Reference | None
    about: str


def find_reference(backend: Backend, model: ModelSpec) -> FoundReference:
    """The local backend; a naive loop where the backend is the local one. Nothing is downloaded."""
    try:
        folder = present(model)
    except ImportError as error:
        return FoundReference(None, f"the local backend needs {error.name}: pip install -e '.[local]' in inoc's clone")
    if folder is None:
        return FoundReference(None, f"the weights of {model.id!r} are not on this machine")
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if size > LARGEST:
        return FoundReference(None, f"{model.id!r} has {size / 2**30:.0f} GiB of weights, too many for a second copy")
    spec = ModelSpec(str(folder), dtype=model.dtype)
    try:
        local = load_backend("local", spec)
        if backend.name == "local":
            return FoundReference(
                Reference(NaiveLoop(folder, model.dtype), local, spec), "a naive loop over transformers"
            )
        return FoundReference(Reference(capable(local, Scorer, "score"), local, spec), "the local backend")
    except InocError as error:
        return FoundReference(None, str(error).rstrip("."))


def with_dtype(reference: Reference, dtype: str) -> Scorer:
    """The local backend with its weights in another dtype."""
    assert dtype in ("float32", "bfloat16", "float16")
    return capable(load_backend("local", replace(reference.model, dtype=dtype)), Scorer, "score")


class NaiveLoop:
    """transformers one text at a time: nothing shared, nothing batched, float32 log-softmax."""

    def __init__(self, folder: Path, dtype: str) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        from inoc.backends.local.load import quiet

        load = AutoModelForCausalLM.from_pretrained  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        with quiet():
            self.model: PreTrainedModel = load(folder, dtype=getattr(torch, dtype)).eval()

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        import torch

        for request in requests:
            with torch.inference_mode():
                ids = torch.tensor([[*request.context, *request.completion]])
                logits = self.model(ids, use_cache=False).logits[0].float()
            rows = torch.log_softmax(logits[len(request.context) - 1 : -1], dim=-1)
            picked = rows[torch.arange(len(request.completion)), torch.tensor(request.completion)]
            yield TokenLogprobs(request.id, picked.numpy().astype(np.float32), request.completion)
