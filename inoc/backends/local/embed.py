"""Text embeddings from the language model itself: mean of the last hidden state over tokens, unit length."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32

from inoc.backends.local.engine import Engine
from inoc.values import TokenIds

BATCH_TOKENS = 4096


def embed(engine: Engine, ids: Sequence[TokenIds]) -> Float32[np.ndarray, "text feature"]:
    """One unit vector per text, in the order given; float32 mean over the text's own tokens."""
    vectors = np.zeros((len(ids), engine.text_config.hidden_size), np.float32)
    order = sorted(range(len(ids)), key=lambda place: -len(ids[place]))
    while order:
        width = len(ids[order[0]])
        places, order = order[: max(1, BATCH_TOKENS // width)], order[max(1, BATCH_TOKENS // width) :]
        vectors[places] = _embed_batch(engine, [ids[place] for place in places], width)
    return vectors


@torch.inference_mode()
def _embed_batch(engine: Engine, rows: list[TokenIds], width: int) -> Float32[np.ndarray, "row feature"]:
    engine.activate(None)
    padded = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=engine.device)
    hidden = engine.hidden(padded, torch.arange(width, device=engine.device)[None].expand(len(rows), -1)).float()
    lengths = torch.tensor([len(row) for row in rows], device=hidden.device)
    own = torch.arange(width, device=hidden.device)[None] < lengths[:, None]
    mean = (hidden * own[..., None]).sum(1) / lengths[:, None]
    return (mean / mean.norm(dim=1, keepdim=True)).cpu().numpy()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
