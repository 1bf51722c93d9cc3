"""A synthetic run store of any size, written through inoc's own writer, prompt by prompt."""

from pathlib import Path

import numpy as np

from inoc.store.schema import PromptInfo, ScoreInfo, Unit
from inoc.store.writer import StoreWriter

PREFIX_TYPES = ("fixed", "mix")
ROLES = ("positive", "negative", "neutral")


def sizes(n_tokens: int, seed: int = 0) -> np.ndarray:
    """Token counts of examples, 66 to 900 with mean 352, that add up to `n_tokens`."""
    rng = np.random.default_rng(seed)
    drawn = np.clip(rng.gamma(4, 88, n_tokens // 66 + 1), 66, 900).astype(np.int64)
    last = int(np.searchsorted(np.cumsum(drawn), n_tokens))
    row_size = drawn[: last + 1]
    row_size[-1] -= int(row_size.sum()) - n_tokens
    return row_size


def write(store: Path, n_prompts: int, n_tokens: int, seed: int = 0) -> None:
    """Heavy-tailed differences with four shared directions; surprising tokens move more, the first ones most."""
    rng = np.random.default_rng(seed)
    row_size = sizes(n_tokens, seed)
    position = np.arange(n_tokens) - np.repeat(np.cumsum(row_size) - row_size, row_size)
    default = -(rng.exponential(1, n_tokens).astype(np.float32) ** 3) / 6
    spread = np.sqrt(-np.expm1(default)) * (0.35 + 2.0 * np.exp(-position / 4)).astype(np.float32)
    shared = rng.standard_t(3, (4, n_tokens)).astype(np.float32)
    prompts = [f"prompt_{i:04d}" for i in range(n_prompts)]
    scores = (ScoreInfo("German", "positive", "german"), ScoreInfo("Flattering", "negative", "flattering"))
    families = ("german", "flattering", "neutral")
    with StoreWriter.open(
        store,
        identity={"model": "synthetic", "seed": seed},
        experiment={"name": "benchmark"},
        provenance={"source": "benchmarks.store"},
        traits=scores,
    ) as writer:
        writer.put_prompts(
            [
                PromptInfo(key=p, text=p, group=f"g{i % 8}", family=families[i % 3], role=ROLES[i % 3])
                for i, p in enumerate(prompts)
            ]
        )
        writer.put_completions("train", example_ids=[str(k) for k in range(len(row_size))], row_size=row_size)
        writer.plan("train", prefix_types=PREFIX_TYPES, prompts=prompts)
        writer.put_default("train", default)
        for prefix_type in PREFIX_TYPES:
            for p, prompt in enumerate(prompts):
                mix = np.random.default_rng(p).standard_normal(4).astype(np.float32)
                own = 0.4 * rng.standard_normal(n_tokens, dtype=np.float32)
                delta = spread * (0.5 * (mix @ shared) + own)
                writer.put_unit(Unit("train", prefix_type, prompt), np.minimum(default + delta, 0))
