"""The group /probes: what is refused, what is pending, what a flipped byte does."""

from pathlib import Path

import numpy as np
import pytest

from inoc.errors import BadInput, BrokenStore, OtherSettings
from inoc.store import StoreWriter, open_store
from inoc.store.probes import ProbePlan
from inoc.store.validate import validate

from ..worlds import write_store

PROMPTS = [{"key": key, "text": key} for key in ("a", "b")]
UNIT = {"shift": np.arange(6.0).reshape(2, 3), "square_shift": np.array([5.0, 50.0])}


def plan(**changes: object) -> ProbePlan:
    columns = {
        "example": ["e0", "e1"],
        "layer": np.array([1, 2]),
        "completion_set": ["control"],
        "set_activation": np.ones((1, 2, 3)),
    }
    usual = {"name": "activation", "settings": {"layers": [1, 2]}, "columns": columns, "values": list(UNIT)}
    return ProbePlan(**{**usual, "prefix_types": ("fixed",), "prompts": ("a",), **changes})  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """One unit of two is done."""
    write_store(tmp_path / "s.zarr", PROMPTS)
    with writer_of(tmp_path / "s.zarr") as writer:
        writer.plan_probe(plan(prompts=("a", "b")))
        writer.put_probe("activation", "fixed", "b", UNIT)
    return tmp_path / "s.zarr"


def writer_of(path: Path) -> StoreWriter:
    return StoreWriter.open(path, identity={}, experiment={}, provenance={})


def test_what_is_not_done_is_pending_and_reads_as_nan(path: Path) -> None:
    store = open_store(path)
    assert store.pending_probes() == (("activation", "fixed", "a"),)
    assert not store.complete
    shift = store.read("probes/activation/shift")
    assert np.isnan(shift[0, 0]).all()
    np.testing.assert_array_equal(shift[0, 1], UNIT["shift"])
    assert validate(path) == []
    with writer_of(path) as writer:
        writer.put_probe("activation", "fixed", "a", UNIT)
    assert open_store(path).complete


def test_growing_keeps_what_is_there(path: Path) -> None:
    with writer_of(path) as writer:
        writer.plan_probe(plan(prefix_types=("mix",), prompts=("b",)))
    store = open_store(path)
    assert len(store.pending_probes()) == 3
    np.testing.assert_array_equal(store.read("probes/activation/shift")[0, 1], UNIT["shift"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"settings": {"layers": [1]}}, r"probes/activation\.layers: stored \[1, 2\], now \[1\]"),
        ({"columns": {**plan().columns, "example": ["e0", "e2"]}}, "/probes/activation/example is stored with others"),
    ],
)
def test_other_settings_are_refused(path: Path, change: dict, said: str) -> None:
    with writer_of(path) as writer, pytest.raises(OtherSettings, match=said):
        writer.plan_probe(plan(**change))


@pytest.mark.parametrize(
    ("unit", "values", "said"),
    [
        (("activation", "mix", "a"), UNIT, "is not planned"),
        (("gradient", "fixed", "a"), UNIT, "'gradient' is not planned"),
        (("activation", "fixed", "a"), {"shift": UNIT["shift"]}, "shift given for shift, square_shift"),
        (("activation", "fixed", "a"), {**UNIT, "shift": np.ones((3, 2))}, r"shape \(3, 2\), expected \(2, 3\)"),
        (("activation", "fixed", "a"), {**UNIT, "square_shift": np.array([1.0, np.nan])}, "every value finite"),
    ],
)
def test_impossible_units_are_refused_and_change_nothing(path: Path, unit, values, said: str) -> None:
    before = {p: p.read_bytes() for p in (path / "probes").rglob("*") if p.is_file()}
    with writer_of(path) as writer, pytest.raises(BadInput, match=said):
        writer.put_probe(*unit, values)
    assert {p: p.read_bytes() for p in (path / "probes").rglob("*") if p.is_file()} == before


def test_an_unknown_prompt_is_refused(path: Path) -> None:
    with writer_of(path) as writer, pytest.raises(BadInput, match="prompt 'c' is to be probed but not stored"):
        writer.plan_probe(plan(prompts=("c",)))


@pytest.mark.parametrize("name", ["shift", "square_shift", "set_activation"])
def test_a_flipped_byte_is_noticed(path: Path, name: str) -> None:
    chunk = max((p for p in (path / "probes/activation" / name / "c").rglob("*") if p.is_file()), key=str)
    raw = bytearray(chunk.read_bytes())
    raw[3] ^= 1
    chunk.write_bytes(raw)
    with pytest.raises(BrokenStore, match=f"probes/activation/{name}"):
        open_store(path).read(f"probes/activation/{name}")
    assert any(name in problem for problem in validate(path))
