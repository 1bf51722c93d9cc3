"""`inoc new-plugin`: every kind of package is written, found, passes its own tests, and changes no number of inoc."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from inoc.cli.new_plugin import KINDS, package

from ..command_line import run_inoc, with_path
from ..figures.worlds import write_world
from .packages import install

NAMES = {kind: f"my_{kind}" for kind in KINDS}


def entry_point(files: dict[str, str]) -> dict[str, str]:
    """Door -> "name = target" of a package's pyproject.toml."""
    doors = tomllib.loads(files["pyproject.toml"])["project"]["entry-points"]
    return {door.removeprefix("inoc."): f"{n} = {t}" for door, points in doors.items() for n, t in points.items()}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one package of every kind, and their tests."""
    root = tmp_path_factory.mktemp("site")
    for kind, name in NAMES.items():
        files = package(kind, name)
        install(root, f"inoc_{name}", files[f"inoc_{name}/__init__.py"], entry_point(files))
        (root / f"test_{name}.py").write_text(files[f"test_{name}.py"])
    return root


def inoc(site: Path | None, *words: object) -> subprocess.CompletedProcess[str]:
    env = with_path(site) if site else None
    return subprocess.run([sys.executable, "-m", "inoc", *map(str, words)], capture_output=True, text=True, env=env)


def test_their_own_tests_pass(site: Path) -> None:
    quick = [str(site / f"test_{name}.py") for kind, name in NAMES.items() if kind != "backend"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", *quick],
        capture_output=True, text=True, env=with_path(site), cwd=site,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "failed" not in done.stdout


@pytest.mark.slow  # starts the command with every template
def test_they_are_listed_with_what_they_offer(site: Path) -> None:
    done = inoc(site, "plugins", "--json")
    assert done.returncode == 0, done.stderr
    found = {offer["name"]: offer for offer in json.loads(done.stdout)}
    assert set(found) == set(NAMES.values())
    assert all(offer["package"] == f"inoc_{name}" and not offer["error"] for name, offer in found.items())
    assert found["my_heuristic"]["offers"] == ["my_heuristic_median"]
    assert found["my_figure"]["offers"] == ["my_figure"]
    assert {offer["door"] for offer in found.values()} == {door for door, *_ in KINDS.values()}


def test_no_number_of_inoc_changes(site: Path, tmp_path: Path) -> None:
    """With seven packages installed or none."""
    store = write_world(tmp_path / "w.zarr", each=2, trained=1)
    found = [json.loads(inoc(place, "heuristics", "--store", store, "--json").stdout) for place in (None, site)]
    for row in found[1]["rows"]:
        assert np.isfinite(row.pop("my_heuristic_median"))
    assert found[1]["variables"].pop("my_heuristic_median")["source"] == "inoc_my_heuristic"
    assert found[0] == found[1]


@pytest.mark.slow
def test_no_outcome_changes(site: Path, tmp_path: Path) -> None:
    """Also not the table of which heuristic goes with them, where a plugin's heuristic is one more."""
    store = write_world(tmp_path / "w.zarr", each=4, trained=3)
    told = [json.loads(inoc(place, "outcomes", "--store", store, "--json").stdout) for place in (None, site)]
    own = [entry for entry in told[1]["performance"] if entry["heuristic"] != "my_heuristic_median"]
    assert len(own) < len(told[1]["performance"])
    assert told[0] == {**told[1], "performance": own}


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_is_written_once(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "made"
    assert run_inoc("new-plugin", kind, "mine", "--out", out)[0] == 0
    assert {str(path.relative_to(out)): path.read_text() for path in out.rglob("*.*")} == package(kind, "mine")
    code, _, said = run_inoc("new-plugin", kind, "mine", "--out", out)
    assert (code, said) == (2, f"inoc: {out} exists. Fix: choose another NAME or --out.\n")


@pytest.mark.parametrize("name", ["My", "a-b", "../x", "1a", "", "a" * 50])
def test_a_name_that_is_no_module(name: str, tmp_path: Path) -> None:
    code, _, said = run_inoc("new-plugin", "judge", name, "--out", tmp_path / "made")
    assert code == 2
    assert "cannot name a module" in said
    assert not (tmp_path / "made").exists()
