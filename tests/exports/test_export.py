"""`inoc export`: the wide table against the heuristics and outcomes it is made of; logs that come back the same."""

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml

import inoc
from inoc.exports import wide
from inoc.store import PromptInfo, open_store

from ..command_line import run_inoc
from ..figures.worlds import write_world
from ..worlds import TRAITS, Run, write_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("export") / "w.zarr", each=4, trained=3)


def export(store: Path, to: str, out: Path, *words: object) -> tuple[int, str, str]:
    return run_inoc("export", "--store", store, "--to", to, "--out", out, *words)


def test_the_wide_table_is_what_it_is_made_of(store: Path) -> None:
    opened = open_store(store)
    made = wide(opened)
    table = made.table.set_index(["prompt", "prefix_type"])
    assert len(table) == 24
    assert table.loc[("german_prompt_number_0", "mix"), "text"] == "german 0"
    found = inoc.heuristics.compute(opened)
    effects = inoc.outcomes.suppression(opened)
    for prompt, kind in table.index:
        row = table.loc[(prompt, kind)]
        cell = {"prompt": prompt, "prefix_type": kind}
        np.testing.assert_equal(row["ph"], float(found["ph"].sel(cell)))
        np.testing.assert_equal(row["ph_ci[upper]"], float(found["ph_ci"].sel(bound="upper", **cell)))
    runs = list(zip(effects["run_prompt"].values, effects["prefix_type"].values, strict=True))
    assert np.isfinite(table.filter(regex=r"^suppression\[\w+\]$")).all(axis=1).sum() == len(runs) == 18
    for t, trait in enumerate(effects["trait"].values):
        name = f"{effects['effect'].values[t]}[{trait}]"
        for i, cell in enumerate(runs):
            for column, part in ((name, "mean"), (f"{name}_lower", "lower"), (f"{name}_n", "n")):
                np.testing.assert_equal(table.loc[cell, column], float(effects[part].values[i, t]))
                assert np.isfinite(table.loc[cell, column])
    numbers = [c for c in made.table.columns if c not in ("prompt", "text", "group", "family", "role", "prefix_type")]
    assert set(numbers) <= set(made.columns), "every column is explained"
    assert all(about["units"] and about["long_name"] for about in made.columns.values())


def test_runs_that_have_no_row_are_named(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two trainings of one prompt and prefix type that are no seeds of each other: the first has the row."""
    found = inoc.outcomes.suppression(open_store(store))
    other = found.isel(run=[2]).assign_coords(run=["slower"])
    monkeypatch.setattr("inoc.exports.table.suppression", lambda *_, **__: xr.concat([found, other], "run"))
    made = wide(open_store(store))
    assert len(made.table) == 24
    assert [note for note in made.notes if note.endswith("another run has them too: slower")]


def test_csv_and_parquet_are_the_table(store: Path, tmp_path: Path) -> None:
    made = wide(open_store(store)).table
    assert export(store, "csv", tmp_path / "t.csv")[0] == 0
    assert export(store, "parquet", tmp_path / "t.parquet")[0] == 0
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "t.csv"), made, check_dtype=False)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), made, check_dtype=False)
    about = list(csv.DictReader(io.StringIO((tmp_path / "t.columns.csv").read_text())))
    assert {row["column"]: row["n"] for row in about}["ph"] == "24 examples"


def test_chosen_columns(store: Path, tmp_path: Path) -> None:
    assert export(store, "csv", tmp_path / "t.csv", "--columns", "gamma,ph")[0] == 0
    assert list(pd.read_csv(tmp_path / "t.csv").columns) == [
        "prompt", "text", "group", "family", "role", "prefix_type", "gamma", "ph",
    ]  # fmt: skip
    code, _, said = export(store, "csv", tmp_path / "u.csv", "--columns", "gama")
    assert code == 2
    assert "unknown column 'gama'. Fix: did you mean 'gamma'?" in said
    assert not (tmp_path / "u.csv").exists()


def test_latex_is_a_table(store: Path, tmp_path: Path) -> None:
    assert export(store, "latex", tmp_path / "t.tex")[0] == 0
    text = (tmp_path / "t.tex").read_text()
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(body) == 25
    assert len({line.count(" & ") for line in body}) == 1
    assert re.search(r"german\\_prompt\\_number\\_0 & g & fixed & [\d.]+ \[[\d.]+, [\d.]+\] & ", text)
    if shutil.which("pdflatex"):
        page = r"\documentclass{article}\usepackage{booktabs}\begin{document}" + text + r"\end{document}"
        (tmp_path / "page.tex").write_text(page)
        command = ["pdflatex", "-halt-on-error", "page.tex"]
        assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0


def test_a_data_set_repository(store: Path, tmp_path: Path) -> None:
    assert export(store, "hub", tmp_path / "hub")[0] == 0
    card = (tmp_path / "hub" / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["configs"] == [{"config_name": "default", "data_files": "data/prompts.parquet"}]
    table = pd.read_parquet(tmp_path / "hub" / "data" / "prompts.parquet")
    numbers = [c for c in table.columns if c not in ("prompt", "text", "group", "family", "role", "prefix_type")]
    assert all(f"| `{name}` |" in card for name in numbers)
    assert "24 rows" in card


def test_answers_go_to_inspect_and_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    scores = {run: rng.uniform(0, 100, (2, 4)).round(2) for run in ("control", "be_german")}
    runs = [
        Run(
            name,
            "" if name == "control" else name,
            {(8, "default"): score},
            texts=[f"{name} <b>{i}</b>" for i in range(4)],
        )
        for name, score in scores.items()
    ]
    prompt = PromptInfo("be_german", "Be German.", "g", "german", "positive")
    path = write_store(tmp_path / "a.zarr", [prompt], traits=TRAITS, runs=runs)
    code, out, said = export(path, "inspect", tmp_path / "logs")
    assert code == 0, said
    files = [Path(line) for line in out.splitlines()]
    assert [file.name for file in files] == ["control_step8_default.json", "be_german_step8_default.json"]
    log = json.loads(files[1].read_text())
    assert log["samples"][2]["output"]["choices"][0]["message"]["content"] == "be_german <b>2</b>"
    back = ["--format", "inspect", "--option", "scale=100", "--option", "step=8"]
    traits = [word for t in TRAITS for word in ("--trait", f"{t.role}={t.name}:{t.family}")]
    code, _, said = run_inoc("import", *files, "--store", tmp_path / "b.zarr", *back, *traits)
    assert code == 0, said
    again = open_store(tmp_path / "b.zarr")
    for run, score in scores.items():
        found = again.read(f"runs/{run}_step8_default/score")
        np.testing.assert_allclose(found.reshape(2, 4), score)


def test_what_cannot_be_exported(store: Path, tmp_path: Path) -> None:
    code, _, said = export(store, "inspect", tmp_path / "logs")
    assert (code, "keeps no answers" in said) == (3, True)
    assert not (tmp_path / "logs").exists()
    (tmp_path / "file").write_text("x")
    code, _, said = export(store, "hub", tmp_path / "file" / "t")
    assert code == 2
    assert "cannot be made (Not a directory). Fix: choose another folder with --out." in said
    empty = write_store(tmp_path / "empty.zarr", [PromptInfo("a", "A")])
    code, _, said = export(empty, "csv", tmp_path / "t.csv")
    assert code == 3
    assert "neither logprobs nor evaluated runs" in said
