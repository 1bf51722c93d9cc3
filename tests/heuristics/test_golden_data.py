"""Every heuristic on 400 examples, one of 600 tokens, against the committed golden.json (made by make_golden.py)."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import inoc
from inoc.heuristics.frame.table import compute

from . import oracle_worlds
from .make_golden import GOLDEN, RECIPES, inputs_crc
from .oracles import ORACLES, differs_from


@pytest.fixture(scope="module")
def golden() -> dict[str, dict[str, xr.DataArray]]:
    data = json.loads(GOLDEN.read_text())
    assert data["inputs"] == inputs_crc(oracle_worlds.many()), "NumPy draws another world: make the golden data again"
    found: dict[str, dict[str, xr.DataArray]] = {}
    for recipe in RECIPES:
        found[recipe] = {}
        for name, entry in data[recipe].items():
            values = np.array([np.nan if x is None else x for x in entry["values"]])
            shape = [len(labels) for labels in entry["labels"].values()]
            found[recipe][name] = xr.DataArray(values.reshape(shape), entry["labels"], list(entry["labels"]))
    return found


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, xr.Dataset]:
    path: Path = oracle_worlds.write(oracle_worlds.many(), tmp_path_factory.mktemp("many") / "many.zarr")
    return {recipe: compute(inoc.open_store(path), recipe=recipe) for recipe in RECIPES}


def test_the_golden_data_hold_every_variable(golden) -> None:
    for recipe in RECIPES:
        assert set(golden[recipe]) == set(ORACLES), "python -m tests.heuristics.make_golden"


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_heuristic_equals_the_golden_data(recipe: str, golden, tables) -> None:
    found = tables[recipe]
    wrong = {name: differs_from(found[name], wanted) for name, wanted in golden[recipe].items() if name in found}
    assert {name: fault for name, fault in wrong.items() if fault} == {}
    assert len(wrong) > 0.9 * len(golden[recipe])
