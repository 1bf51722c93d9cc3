"""A library that owns its loop, behind `CallbackTrainer`: the suite of trainers, errors, and a consumer that leaves."""

import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
import pytest

from inoc.backends.callback import CallbackTrainer, Recorder
from inoc.backends.protocols import Checkpoint, TrainingEvent, TrainingJob, TrainingStep
from inoc.errors import OtherSettings
from inoc.testing import TrainerConformance
from inoc.testing.training import small_job

from ..conformance.fake import FakeBackend


class Pushing(CallbackTrainer, FakeBackend):
    """The fake backend's updates in a loop of their own; checkpoints and states are folders."""

    fail_at: ClassVar[int] = 0

    def identity(self):
        return FakeBackend.identity(self)

    def run(self, job: TrainingJob, recorder: Recorder) -> None:
        state = self.initial(job) if recorder.state is None else dict(np.load(recorder.state / "state.npz"))
        for number in range(recorder.done + 1, len(job.batches) + 1):
            if number == self.fail_at:
                raise RuntimeError("the engine is out of ideas")
            loss, norm = self.update(job, state, number)
            recorder.update(
                TrainingStep(number, loss, self.rate(job, number), norm if number % 2 else float("nan")),
                lambda folder: np.savez(folder / "w.npz", **{name: state[name] for name in ("a", "b", "scale")}),
                lambda folder: np.savez(folder / "state.npz", **state),
            )

    def load(self, checkpoint: Checkpoint | None):
        if checkpoint is None or checkpoint.location is None:
            return None
        return super().load(replace(checkpoint, location=str(Path(checkpoint.location) / "w.npz")))


class TestTraining(TrainerConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> Pushing:
        return Pushing()

    @pytest.fixture(scope="class")
    @classmethod
    def reference(cls) -> Pushing:
        return Pushing()


def job(tmp_path: Path) -> TrainingJob:
    backend = Pushing()
    return small_job(backend.tokenizer, tmp_path / "run", TrainerConformance.adapter)


def events(stream: Iterator[TrainingEvent]) -> list[int]:
    return [event.step for event in stream if isinstance(event, TrainingStep)]


def test_an_error_of_the_library_reaches_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pushing, "fail_at", 4)
    stream = Pushing().train(job(tmp_path))
    assert [next(stream).step for _ in range(6)] == [1, 1, 2, 2, 3, 3]
    with pytest.raises(RuntimeError, match="out of ideas"):
        next(stream)
    monkeypatch.setattr(Pushing, "fail_at", 0)
    assert events(Pushing().train(job(tmp_path))) == [1, 2, 3, 4, 5, 6]


def test_the_loop_waits_for_its_consumer_and_ends_with_it(tmp_path: Path) -> None:
    before = threading.active_count()
    with closing(cast(Generator[TrainingEvent], Pushing().train(job(tmp_path)))) as stream:
        assert next(stream).step == 1
        assert threading.active_count() == before + 1
        assert not list((tmp_path / "run").glob("step-00002"))
    assert threading.active_count() == before


def test_another_job_in_the_folder_is_refused(tmp_path: Path) -> None:
    list(Pushing().train(job(tmp_path)))
    with pytest.raises(OtherSettings, match="learning_rate"):
        list(Pushing().train(replace(job(tmp_path), learning_rate=0.5)))
