"""Slots of the sampler: rows that end at different times, refilled, give what one row at a time gives."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from inoc.backends.local.slots import Slots
from inoc.backends.protocols import Completion, SampleRequest
from inoc.values import Sampling

COUNT = 60
STOPS = tuple(range(0, 240, 12))
"""One token in twelve ends a completion."""


def ragged_requests() -> list[SampleRequest]:
    """Contexts of 1 to 40 tokens; more than three times as many as the widest sampler has rows."""
    rng = np.random.default_rng(4)
    lengths = rng.integers(1, 41, COUNT).tolist()
    return [SampleRequest(f"r{i}", tuple(rng.integers(0, 256, n).tolist())) for i, n in enumerate(lengths)]


def completions(local, model: Path, rows: int) -> dict[str, Completion]:
    sampling = Sampling(max_tokens=20, seed=2, stop_ids=STOPS)
    return {result.id: result for result in local(model, rows=rows).sample(ragged_requests(), sampling)}


def differing(found: dict[str, Completion], wanted: dict[str, Completion]) -> Sequence[str]:
    """Requests with other tokens, another end or other logprobs."""
    assert found.keys() == wanted.keys()
    return [
        id
        for id, one in wanted.items()
        if (found[id].token_ids, found[id].finish) != (one.token_ids, one.finish)
        or not np.allclose(found[id].logprobs, one.logprobs, atol=1e-5, rtol=0)
    ]


def test_any_number_of_rows_gives_what_one_row_gives(local, models: dict[str, Path], style: str) -> None:
    alone = completions(local, models[style], 1)
    lengths = [len(one.token_ids) for one in alone.values()]
    assert len(set(lengths)) > 10
    assert {one.finish for one in alone.values()} == {"stop", "length"}
    for rows in (2, 8, 19):
        assert differing(completions(local, models[style], rows), alone) == []


@pytest.mark.parametrize("broken", ["move", "fill", "mask"])
def test_a_broken_slot_is_seen(local, models, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """Planted faults: a row that is not moved, a prompt put in cut short, stale keys that are seen."""
    alone = completions(local, models["llama"], 1)
    fill, mask = Slots.fill, Slots.mask
    faults = {
        "move": lambda self, source, target, length: None,
        "fill": lambda self, row, prefilled, source, length: fill(self, row, prefilled, source, max(1, length - 2)),
        "mask": lambda self, dtype: mask(self, dtype) * 0,
    }
    monkeypatch.setattr(Slots, broken, faults[broken])
    assert len(differing(completions(local, models["llama"], 8), alone)) > COUNT // 4
