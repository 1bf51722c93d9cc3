"""Embeddings and pool statistics of the prompts: what is missing is said, and made up for."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import inoc
from inoc.backends.local import LocalBackend
from inoc.errors import BadInput
from inoc.experiment import load_experiment
from inoc.plan import Study
from inoc.stages.describe import describe

COLUMNS = ("rephrase_mean_cos", "rephrase_std_cos", "rephrase_min_cos", "rephrase_effective_rank")


class Notes:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps: list[str] = []

    def begin(self, what: str, total: int, tokens: int = 0) -> None: ...
    def advance(self, tokens: int) -> None: ...
    def measure(self, name: str, step: int, values: Mapping[str, float]) -> None: ...

    def step(self, name: str, detail: str = "") -> None:
        self.steps.append(name)

    def note(self, text: str) -> None:
        self.notes.append(text)


def run(path: Path) -> tuple[Notes, Study]:
    experiment = load_experiment(path)
    study = Study(experiment, LocalBackend.from_spec(experiment.model_spec()), path.with_name("run.zarr"))
    notes = Notes()
    describe(study, watcher=notes)
    return notes, study


def pool_columns(study: Study) -> dict[str, np.ndarray]:
    """Pool statistics by prompt."""
    table = inoc.open_store(study.store).embeddings
    assert table is not None
    return {str(key): np.array([float(table[c].sel(prompt=key)) for c in COLUMNS]) for key in table["prompt"].values}


def test_complete_pools_need_no_note(study_file: Path) -> None:
    notes, study = run(study_file)
    assert notes.notes == []
    columns = pool_columns(study)
    texts = [json.loads(line)["text"] for line in (study_file.parent / "pools/say_a.jsonl").read_text().splitlines()]
    vectors = study.backend.embed(["Say a.", *texts]).astype(np.float64)  # type: ignore[attr-defined]
    cosines = vectors[1:] @ vectors[0]
    np.testing.assert_allclose(columns["say_a"][:3], [cosines.mean(), cosines.std(), cosines.min()], rtol=1e-5)


@pytest.mark.parametrize(
    ("rows", "reason"), [(None, "has no pool"), (2, "has 2 rephrasings, fewer than rephrasings.size = 3")]
)
def test_an_unusable_pool_is_said_and_its_statistics_are_nan(study_file: Path, rows: int | None, reason: str) -> None:
    pool = study_file.parent / "pools" / "use_digits.jsonl"
    lines = pool.read_text().splitlines(keepends=True)
    pool.unlink() if rows is None else pool.write_text("".join(lines[:rows]))
    notes, study = run(study_file)
    (note,) = notes.notes
    assert "'use_digits'" in note
    assert reason in note
    assert "NaN" in note
    columns = pool_columns(study)
    assert np.isnan(columns["use_digits"]).all()
    assert np.isfinite(columns["say_a"]).all(), "one bad pool costs no other prompt its statistics"

    again, _ = run(study_file)
    assert again.notes == notes.notes
    assert again.steps == [], "nothing is embedded twice"

    pool.write_text("".join(lines))
    mended, study = run(study_file)
    assert mended.notes == []
    assert mended.steps == ["use_digits"]
    assert np.isfinite(pool_columns(study)["use_digits"]).all()


def test_an_experiment_without_pools_says_so_once(study_file: Path) -> None:
    text = study_file.read_text().replace("rephrasings: {path: pools, size: 3}\n", "")
    study_file.write_text(text.replace("prefix_types: [fixed, mix]", "prefix_types: [fixed]"))
    notes, study = run(study_file)
    assert notes.notes == ["the experiment has no `rephrasings`: the pool statistics of all prompts are missing (NaN)."]
    assert all(np.isnan(values).all() for values in pool_columns(study).values())
    assert run(study_file)[0].notes == []


def test_an_unreadable_pool_is_refused(study_file: Path) -> None:
    (study_file.parent / "pools" / "say_a.jsonl").write_text("{no json")
    with pytest.raises(BadInput, match=r"say_a\.jsonl, line 1: not JSON"):
        run(study_file)
