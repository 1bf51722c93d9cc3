"""`inoc demo`, `inoc rephrase` and `inoc describe` as a user calls them."""

import json
from pathlib import Path

import numpy as np
import pytest

import inoc
from inoc.experiment import read_pool

from ..command_line import run_inoc
from .conftest import STUDY, write_study


def test_demo_scores_the_study_of_its_folder_and_resumes(tmp_path: Path) -> None:
    """A smaller study in the demo's place, as for a user who has changed the copied file."""
    write_study(tmp_path, STUDY).rename(tmp_path / "testbed.yaml")
    code, out, err = run_inoc("demo", "--out", str(tmp_path), "--scores-only", "--workers", "1")
    assert code == 0, err
    assert inoc.open_store(tmp_path / "testbed.zarr").pending() == ()
    assert "$ inoc heuristics --store" in out
    assert "$ inoc outcomes" not in out
    assert "say_a" in out
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "testbed.zarr").rglob("c/*")}
    code, _, err = run_inoc("demo", "--out", str(tmp_path), "--scores-only", "--workers", "1")
    assert code == 0, err
    assert times == {path: path.stat().st_mtime_ns for path in times}, "nothing is computed again"


@pytest.mark.slow
@pytest.mark.timeout(1800)  # six minutes of processor time, on a busy machine
def test_demo_as_shipped(tmp_path: Path) -> None:
    """The README's first command; what it says comes out of it."""
    code, out, err = run_inoc("demo", "--out", str(tmp_path / "demo"))
    assert code == 0, err
    store = inoc.open_store(tmp_path / "demo" / "testbed.zarr")
    assert len(store.prompts["prompt"]) == 23, "the demo scores 23 prompts"
    assert len(store.runs) == 9, "a control and four prompts, each fixed and mixed"
    assert store.scores is not None
    assert store.scores.sizes["question"] == 100
    assert len(list((tmp_path / "demo" / "figures").glob("*.png"))) == 36
    assert (tmp_path / "demo" / "report.html").is_file()
    for view in ("heuristics", "outcomes", "figures", "report"):
        assert f"$ inoc {view} --store" in out
    assert "answer_playfully" in out


def test_demo_of_another_study_has_files_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo-misalignment").mkdir()
    write_study(tmp_path / "demo-misalignment", STUDY).rename(tmp_path / "demo-misalignment" / "misalignment.yaml")
    code, out, err = run_inoc("demo", "--study", "misalignment", "--scores-only", "--workers", "1")
    assert code == 0, err
    assert inoc.open_store(tmp_path / "demo-misalignment" / "misalignment.zarr").pending() == ()
    assert "demo-misalignment: done in" in out
    assert not (tmp_path / "demo-out").exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_demo_of_misalignment_as_shipped(tmp_path: Path) -> None:
    """Harm learned in finance spreads, a strong prompt keeps it quiet."""
    from inoc.outcomes import rates

    code, _, err = run_inoc("demo", "--study", "misalignment", "--out", str(tmp_path))
    assert code == 0, err
    table = rates(inoc.open_store(tmp_path / "misalignment.zarr")).sel(score="Misaligned", file="general")["rate"]
    assert table.sizes["run"] == 7
    control, fixed = (float(table.sel(run=f"{run}-s0")) for run in ("no_inoculation", "evil_assistant-fixed"))
    assert control >= 0.4
    assert fixed <= 0.15
    assert (tmp_path / "report.html").is_file()
    assert (tmp_path / "figures" / "rate_cross.png").is_file()


def test_rephrase_makes_the_missing_pools_and_reports_on_all(study_file: Path) -> None:
    folder = study_file.parent / "pools"
    (folder / "say_a.jsonl").unlink()
    before = (folder / "use_digits.jsonl").read_bytes()
    code, out, err = run_inoc("rephrase", str(study_file), "--with", "templates")
    assert code == 0, err
    pool = read_pool(folder / "say_a.jsonl")
    assert len(set(pool)) == 3
    assert "Say a." not in pool
    assert (folder / "use_digits.jsonl").read_bytes() == before, "a whole pool is left alone"
    assert [line.split()[:4] for line in out.splitlines()] == [
        ["say_a", "3", "of", "3"],
        ["use_digits", "3", "of", "3"],
    ]
    code, out, err = run_inoc("rephrase", str(study_file), "--with", "templates", "--json", "--prompts", "use_digits")
    assert code == 0, err
    (entry,) = json.loads(out)
    assert (entry["key"], entry["asked"], entry["distinct"]) == ("use_digits", 3, 3)


def test_rephrase_refuses_what_it_cannot_do(study_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    (study_file.parent / "pools" / "say_a.jsonl").unlink()
    code, _, err = run_inoc("rephrase", str(study_file), "--prompts", "say_b", "--with", "templates")
    assert code == 2
    assert "unknown prompt or group 'say_b'. Fix: did you mean 'say_a'?" in err
    code, _, err = run_inoc("rephrase", str(study_file), "--with", "some-chat-model")
    assert code == 2
    assert "OPENAI_API_KEY is not set" in err
    assert not (study_file.parent / "pools" / "say_a.jsonl").exists()


def test_describe_stores_self_perplexity_and_embeddings(study_file: Path) -> None:
    store = str(study_file.with_name("run.zarr"))
    code, out, err = run_inoc("describe", str(study_file), "--store", store, "--no-embeddings", "--json")
    assert code == 0, err
    assert json.loads(out) == {"store": store, "prompts": 2}
    first = inoc.open_store(store)
    assert first.self_perplexity is not None
    assert first.embeddings is None
    assert np.isfinite(first.self_perplexity["context"]).all()
    code, out, err = run_inoc("describe", str(study_file), "--store", store)
    assert code == 0, err
    assert out == f"{store}: 2 prompts described.\n"
    table = inoc.open_store(store).embeddings
    assert table is not None
    assert np.isfinite(table["rephrase_mean_cos"]).all()
