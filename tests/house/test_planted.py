"""The faults with a name in benchmarks/mutants can be planted: each text is there once, its tests exist."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAULTS = tomllib.loads((ROOT / "benchmarks/mutants/planted.toml").read_text())["fault"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["name"])
def test_a_fault_can_be_planted(fault) -> None:
    source = (ROOT / fault["file"]).read_text()
    assert source.count(fault["old"]) == 1, "Fix: write the text of today into benchmarks/mutants/planted.toml."
    assert ast.dump(ast.parse(source.replace(fault["old"], fault["new"]))) != ast.dump(ast.parse(source))
    assert all((ROOT / test).exists() for test in fault["tests"])
