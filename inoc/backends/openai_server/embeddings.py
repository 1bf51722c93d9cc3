"""/v1/embeddings: unit vectors, whether a server sends numbers or base64."""

import base64
from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float32
from pydantic import BaseModel, ConfigDict

from inoc.errors import BadInput
from inoc.services import Service

TEXTS_PER_REQUEST: Final = 64


class _Embedding(BaseModel):
    model_config = ConfigDict(strict=True)

    index: int
    embedding: list[float] | str


class _Reply(BaseModel):
    data: list[_Embedding]


def read_embeddings(content: bytes, count: int) -> Float32[np.ndarray, "text feature"]:
    """The vectors of a reply, by index, scaled to length 1; ValueError for missing, unequal, zero or infinite ones.

    A string is base64 of little-endian float32, which some servers always send.
    """
    rows = {
        row.index: np.frombuffer(base64.b64decode(row.embedding, validate=True), "<f4")
        if isinstance(row.embedding, str)
        else np.array(row.embedding, dtype=np.float32)
        for row in _Reply.model_validate_json(content).data
    }
    if sorted(rows) != list(range(count)):
        raise ValueError(f"{len(rows)} embeddings for {count} texts")
    vectors = np.stack([rows[index] for index in range(count)]).astype(np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and (norms > 0).all()):
        raise ValueError("an embedding is zero or not finite")
    return (vectors / norms).astype(np.float32)


def embed_texts(service: Service, model: str, texts: Sequence[str]) -> Float32[np.ndarray, "text feature"]:
    """Embeddings of `texts` in their order. BadInput for an empty text."""
    for index, text in enumerate(texts):
        if not text.strip():
            raise BadInput(f"text {index} to embed is empty. Fix: remove it.")

    async def ask(start: int) -> tuple[int, Float32[np.ndarray, "text feature"]]:
        part = list(texts[start : start + TEXTS_PER_REQUEST])
        body = {"model": model, "input": part, "encoding_format": "float"}
        return start, await service.post("/embeddings", body, lambda content: read_embeddings(content, len(part)))

    found = dict(service.map(ask, range(0, len(texts), TEXTS_PER_REQUEST)))
    return np.concatenate([found[start] for start in sorted(found)]) if found else np.zeros((0, 0), np.float32)
