"""The examples of docs/plugins.md run as they are."""

import json
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

from inoc.cli.new_plugin import KINDS, package
from inoc.experiment.datasets import dataset_rows
from inoc.figures.catalog import make
from inoc.plugins import GROUPS
from inoc.stages.watchers import SHIPPED as WATCHERS
from inoc.store import PromptInfo, open_store
from inoc.store.imports.importers import SHIPPED as IMPORTERS
from inoc.testing import small_store

from ..command_line import run_inoc
from ..worlds import write_store

matplotlib.use("Agg")
PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, code in zip(("my_figures", "my_votes", "my_rows"), EXAMPLES, strict=True):
        (tmp_path / f"{name}.py").write_text(code)


def test_the_figure(tmp_path: Path) -> None:
    store = open_store(write_store(tmp_path / "s.zarr", [PromptInfo("a", "Be brief."), PromptInfo("b", "Go on.")]))
    (made,) = make(store, tmp_path / "figures", only=["my_figures:draw"])
    assert made.name == "lengths"
    assert made.files, made.reason


def test_the_importer(tmp_path: Path) -> None:
    rows = [{"question": f"q{i}", "percent": 10 * i} for i in range(3)]
    Path("control.votes").write_text("\n".join(map(json.dumps, rows)))
    (command,) = re.findall(r"^inoc (import control.votes .*)$", PAGE, re.MULTILINE)
    code, _, said = run_inoc(*command.split())
    assert code == 0, said
    store = open_store(tmp_path / "s.zarr")
    assert store.read("runs/control/score").ravel().tolist() == [0, 10, 20]
    assert store.labels("runs/control/judge") == ("crowd",)
    assert store.provenance["plugins"]["my_votes"].startswith("sha256:")


def test_the_rows() -> None:
    Path("file.tsv").write_text("Why?\tBecause.\n")
    found = list(dataset_rows("my_rows:rows:file.tsv", "train", None))
    assert found == [{"question": "Why?", "completion": "Because."}]


def test_the_page_names_every_door_format_and_watcher() -> None:
    doors = re.findall(r"^\| `(inoc\.\w+)` \| `(\w+)` \|", PAGE, re.MULTILINE)
    assert {door for door, _ in doors} == set(GROUPS)
    assert {kind for _, kind in doors} == set(KINDS)
    for name in {*IMPORTERS, *WATCHERS} - {"arrays", "rows"}:
        assert f"`{name}`" in PAGE


def test_code_on_the_command_line(tmp_path: Path) -> None:
    """A heuristic and a backend of the current folder, which no package offers."""
    files = package("heuristic", "h")["inoc_h/__init__.py"], package("backend", "b")["inoc_b/__init__.py"]
    for name, code in zip(("my_h", "my_b"), files, strict=True):
        (tmp_path / f"{name}.py").write_text(code)
    store = small_store(tmp_path / "s.zarr").path
    words = [sys.executable, "-m", "inoc", "heuristics", "--store", str(store), "--csv", "--only"]
    done = subprocess.run([*words, "my_h:h_median"], capture_output=True, text=True)
    assert done.stdout.startswith("prompt,prefix_type,role,h_median\n"), done.stderr
    assert run_inoc("new", "study.yaml")[0] == 0
    code, _, said = run_inoc("score", "study.yaml", "--store", "t.zarr", "--backend", "my_b:BBackend", "--dry-run")
    assert (code, said) == (2, "inoc: there is no text file at 'testbed'. Fix: set model.id to one.\n")
