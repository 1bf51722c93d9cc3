"""A store in which nothing is scored yet."""

from pathlib import Path

from click.testing import CliRunner

import inoc
from inoc.cli.heuristics import heuristics
from inoc.errors import IncompleteStore

from ..worlds import write_store


def test_a_store_without_logprobs_says_what_makes_them(tmp_path: Path) -> None:
    store = write_store(tmp_path / "run.zarr", [{"key": "a", "text": "A"}], traits=())
    table = inoc.heuristics.compute(inoc.open_store(store))
    assert "ph" not in table
    assert any(line.startswith("ph: ") and "`inoc score` adds them" in line for line in table.attrs["absent"])
    result = CliRunner().invoke(heuristics, ["--store", str(store)])
    assert isinstance(result.exception, IncompleteStore)
    assert result.exception.exit_code == 3
