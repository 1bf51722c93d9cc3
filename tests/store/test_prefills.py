"""Counts after prefills: what cannot be is refused with its cell, the rest is stored once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inoc.errors import BadInput, OtherSettings
from inoc.store import StoreWriter, open_store
from inoc.store.prefills import PrefillCounts, check_counts

SHAPE = (2, 2, 1, 2)
COUNTS = PrefillCounts(
    checkpoint=(0, 4), prefill=(0, 3), behavior=("a", "b"), question=("Q?",), text=np.array([[[""], ["So"]]] * 2),
    successes=np.full(SHAPE, 2), trials=np.full(SHAPE, 9), surprisal=np.full(SHAPE, 1.5), neg_kl=np.full(SHAPE, np.nan),
    source="file", settings={"samples": 9},
)  # fmt: skip


def with_cell(name: str, value: float) -> dict[str, np.ndarray]:
    """One cell changed: checkpoint 4, prefill 3, behavior b."""
    table = getattr(COUNTS, name).copy()
    table[1, 1, 0, 1] = value
    return {name: table}


def test_what_can_be_passes() -> None:
    check_counts(COUNTS, "here")
    for name, value in (
        ("successes", 9),
        ("successes", 0),
        ("surprisal", 0.0),
        ("surprisal", np.nan),
        ("neg_kl", -2.0),
    ):
        check_counts(replace(COUNTS, **with_cell(name, value)), "here")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"checkpoint": (4, 0)}, "checkpoint 0 comes after 4"),
        ({"checkpoint": (4, 4)}, "checkpoint 4 comes twice"),
        ({"prefill": (-1, 3)}, "prefill -1 is negative"),
        ({"behavior": ("a", "a")}, "a behavior comes twice"),
        ({"source": "air"}, "prefills come from 'air'"),
        ({"question": ("Q?", "R?")}, r"successes has shape \(2, 2, 1, 2\), its labels say \(2, 2, 2, 2\)"),
        (with_cell("successes", 10), r"checkpoint 4, prefill 3, behavior b has more successes than trials \(10 of 9"),
        (with_cell("successes", -1), "behavior b has negative successes"),
        (with_cell("surprisal", -0.1), r"has a negative surprisal \(2 of 9, -0.1 nats\)"),
        (with_cell("surprisal", np.inf), "has an infinite surprisal"),
        (with_cell("neg_kl", -np.inf), "has an infinite surprisal"),
    ],
)
def test_what_cannot_be_is_named(changes: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=f"^here: .*{said}"):
        check_counts(replace(COUNTS, **changes), "here")


def test_counts_are_stored_once(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    based = replace(COUNTS, base_surprisal=np.ones(SHAPE[:3]))
    with StoreWriter.open(path, identity={}, experiment={}, provenance={}) as writer:
        for _ in range(2):
            writer.put_prefill_counts("r", COUNTS)
            writer.put_prefill_counts("based", based)
        for other in (
            replace(COUNTS, **with_cell("successes", 3)),
            replace(COUNTS, settings={}),
            replace(COUNTS, source="self"),
        ):
            with pytest.raises(OtherSettings, match="/emergence/r is stored with other counts"):
                writer.put_prefill_counts("r", other)
    store = open_store(path)
    np.testing.assert_array_equal(store.read("emergence/r/successes"), COUNTS.successes)
    assert not store.has("emergence/r/base_surprisal")
    np.testing.assert_array_equal(store.read("emergence/based/base_surprisal"), np.ones(SHAPE[:3]))
    assert store.attributes("emergence/r") == {"source": "file", "settings": {"samples": 9}}
