"""Watchers: what they are told, in order; trackers get numbers and nothing else."""

import json
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from inoc.errors import BackendUnavailable, BadInput
from inoc.stages.watchers import Together

from ..command_line import run_inoc
from ..study.conftest import STUDY, write_study

pytestmark = pytest.mark.torch


def test_a_training_tells_its_losses_and_scores(tmp_path: Path) -> None:
    path, events = write_study(tmp_path), tmp_path / "events.jsonl"
    store = ["--store", tmp_path / "s.zarr", "--watch", f"jsonl={events}"]
    for command in ("train", "evaluate"):
        assert run_inoc(command, path, *store)[0] == 0
    told = [json.loads(line) for line in events.read_text().splitlines()]
    measured = [event for event in told if event["event"] == "measure"]
    losses = [(event["name"], event["step"]) for event in measured if "loss" in event["values"]]
    assert len(losses) == len(set(losses)) > 6
    scores = {key for event in measured for key in event["values"]} - {"loss", "learning_rate"}
    assert "Vowel/default" in scores
    assert [event["what"] for event in told if event["event"] == "begin"] == ["training", "evaluating"]


def test_trackers_get_names_and_numbers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    fake = SimpleNamespace(
        init=lambda **given: calls.append(given), log=calls.append, finish=lambda: calls.append("finish")
    )
    monkeypatch.setitem(sys.modules, "wandb", fake)
    with closing(Together(["wandb=my-project"])) as together:
        together.begin("training", 3)
        together.note("the key sk-secret of /home/me")
        together.step("run", "update 1 of /home/me")
        together.measure("run", 1, {"loss": 0.5})
    progress = {"progress/training/share": 1 / 3, "progress/training/step": 1}
    assert calls == [{"project": "my-project"}, progress, {"run/loss": 0.5, "run/step": 1}, "finish"]


def test_every_stage_tells_its_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scoring, probing and eliciting too: units done, and their share up to 1."""
    calls: list[dict[str, float]] = []
    fake = SimpleNamespace(init=lambda **given: None, log=calls.append, finish=lambda: None)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    inside = "\ninside: {examples: 3, dimension: 16, rank: 4}\ntraining:"
    path = write_study(tmp_path, STUDY.replace("\ntraining:", inside))
    for command in ("score", "probe", "elicit"):
        code, _, err = run_inoc(command, path, "--store", tmp_path / "s.zarr", "--watch", "wandb")
        assert code == 0, err
    shares: dict[str, list[float]] = {}
    for call in calls:
        for key, value in call.items():
            if key.startswith("progress/") and key.endswith("/share"):
                shares.setdefault(key.split("/")[1], []).append(value)
    assert set(shares) == {"scoring", "probing", "eliciting"}
    for name, values in shares.items():
        assert values == [(i + 1) / len(values) for i in range(len(values))], name
    assert {key for call in calls for key in call} >= {"elicitation/no prompt/Vowel", "elicitation/say_a/Digit"}


def test_tensorboard_reads_what_is_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not a dependency: pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with closing(Together([f"tensorboard={tmp_path / 'runs'}"])) as together:
        together.begin("training", 2)
        for step, loss in ((1, 0.5), (2, 0.25)):
            together.measure("run", step, {"loss": loss})
        together.step("run", "/home/me")
    events = EventAccumulator(str(tmp_path / "runs")).Reload()
    assert set(events.Tags()["scalars"]) == {"run/loss", "progress/training/share"}
    assert [(event.step, event.value) for event in events.Scalars("run/loss")] == [(1, 0.5), (2, 0.25)]
    assert [event.value for event in events.Scalars("progress/training/share")] == [0.5]


def test_what_cannot_be_used_is_said_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(BackendUnavailable, match=r"needs trackio\. Fix: pip install trackio"):
        Together(["trackio"])
    with pytest.raises(BadInput, match="unknown watcher 'jsonll'"):
        Together(["jsonll"])
    with pytest.raises(BadInput, match="cannot be written"):
        Together([f"jsonl={tmp_path}"])
