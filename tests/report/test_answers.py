"""Which answers travel in the page: whole questions side by side, bounded in number and length; what is left out."""

from pathlib import Path

import numpy as np
import pytest

from inoc.report import answers as section
from inoc.report.answers import answer_view
from inoc.store import PromptInfo, open_store

from ..worlds import Run, write_store

QUESTIONS, SAMPLES = 30, 7


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    labels = [f"q{i} #{k}" for i in range(QUESTIONS) for k in range(SAMPLES)]
    plan = {"instructions": labels, "questions": [label.split(" ")[0] for label in labels]}
    texts = [f"{label} " + "x" * (5000 if label == "q3 #0" else 10) for label in labels]
    scores = {(step, c): rng.uniform(0, 100, (2, len(labels))) for step in (0, 4) for c in ("default", "training")}
    runs = [Run(name, prompt, scores, plan, texts=texts) for name, prompt in (("control", ""), ("a", "a"), ("b", "a"))]
    prompts = [PromptInfo("a", "Answer in German.", "g", "german", "positive")]
    return write_store(tmp_path_factory.mktemp("answers") / "s.zarr", prompts, runs=runs)


def test_every_run_and_condition_answers_every_question_shown(study: Path) -> None:
    view = answer_view(open_store(study), seed=0)
    cells = {(a.question, a.run, a.condition, a.sample) for a in view.answers}
    assert len(cells) == len(view.answers) == len(view.questions) * 3 * 2 * section.MOST_SAMPLES
    assert {a.step for a in view.answers} == {4}
    assert view.note == "900 of their 1260 answers. `inoc answers` reads all."


def test_what_is_too_much_is_drawn_and_said(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(section, "MOST_ANSWERS", 100)
    store = open_store(study)
    views = [answer_view(store, seed) for seed in (0, 0, 1)]
    assert views[0] == views[1]
    assert views[0].questions != views[2].questions
    assert [len(view.answers) for view in views] == [90] * 3
    assert views[0].note.startswith("3 of 30 questions, drawn at random. 90 of their 126 answers.")
    monkeypatch.setattr(section, "MOST_ANSWERS", 10)
    assert len(answer_view(store, 0).answers) == 10


def test_a_long_answer_is_cut_and_the_numbers_are_the_store_s(study: Path) -> None:
    store = open_store(study)
    view = answer_view(store, seed=0)
    long = next(a for a in view.answers if a.text.startswith("q3 #0"))
    assert (len(long.text), long.left_out) == (section.MOST_CHARACTERS, 5006 - section.MOST_CHARACTERS)
    one = next(a for a in view.answers if (a.run, a.condition, a.text) == ("b", "training", "q4 #2 " + "x" * 10))
    truth = store.read("runs/b/score")[1, 1, :, 4 * SAMPLES + 2]
    assert one.scores == pytest.approx(truth.tolist(), abs=0.0006)
    assert [(s.of, s.judge, s.high_is_good, s.directed) for s in view.scores] == [
        ("German", "", True, True), ("Flattering", "", False, True),
    ]  # fmt: skip


def test_a_store_without_answers_has_no_section(tiny_runs: Path) -> None:
    assert answer_view(open_store(tiny_runs), seed=0).questions == []


@pytest.fixture
def tiny_runs(tmp_path: Path) -> Path:
    runs = [Run("control", "", {(4, "default"): np.zeros((2, 3))})]
    return write_store(tmp_path / "s.zarr", runs=runs)
