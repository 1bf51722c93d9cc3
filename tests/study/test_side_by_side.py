"""Several checkpoints are asked at once where the backend is a pool; what they share is asked once."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

import inoc
from inoc.backends.local import LocalBackend
from inoc.backends.protocols import Completion, SampleRequest
from inoc.experiment import load_experiment
from inoc.plan import Study
from inoc.stages.evaluate import evaluate
from inoc.stages.train import train
from inoc.values import Sampling


class Crowd(LocalBackend):
    """A pool of four that works on one call at a time, and waits for the second before it does the first."""

    workers = 4
    dashboard = ""

    def begin(self) -> None:
        self.turn, self.second, self.asked = threading.Lock(), threading.Event(), list[list[SampleRequest]]()

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        self.asked.append(list(requests))
        self.second.set() if len(self.asked) > 1 else self.second.wait(60)
        with self.turn:
            yield from list(super().sample(requests, sampling))


@pytest.mark.torch
def test_the_base_model_is_asked_once_for_all_runs(study_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study_file.write_text(study_file.read_text().replace("checkpoints: [2]", "checkpoints: [0, 2]"))
    experiment = load_experiment(study_file)
    local, crowd = LocalBackend.from_spec(experiment.model_spec()), Crowd.from_spec(experiment.model_spec())
    crowd.begin()
    alone = Study(experiment, local, study_file.with_name("alone.zarr"))
    together = Study(experiment, crowd, study_file.with_name("together.zarr"))
    train(alone)
    evaluate(alone)
    train(Study(experiment, local, together.store))
    evaluate(together)
    asked = [request for requests in crowd.asked for request in requests if "/default/" in request.id]
    base = [request for request in asked if request.checkpoint is None or request.checkpoint.location is None]
    assert len(base) == 4, "four questions, three runs"
    found, wanted = (inoc.open_store(study.store).scores for study in (together, alone))
    assert found is not None
    assert wanted is not None
    np.testing.assert_array_equal(found["value"].values, wanted["value"].values)
