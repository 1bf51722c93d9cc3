"""A backend whose calls are jobs on another machine gets all the work at once, and the results are the same."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import xarray as xr

import inoc
from inoc.backends.local import LocalBackend
from inoc.backends.protocols import (
    Capabilities,
    Checkpoint,
    CheckpointAnswers,
    Completion,
    SampleRequest,
    ScoreRequest,
    TokenLogprobs,
    TrainingEvent,
    TrainingJob,
)
from inoc.experiment import load_experiment
from inoc.plan import Study
from inoc.stages.pipeline import run_study
from inoc.values import Sampling


class JobsBackend(LocalBackend):
    """The local backend as a service would be: counts its jobs, and answers questions where it trains."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        score=True, sample=True, train=True, adapters=True, jobs=True, samples_while_training=True
    )

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.jobs: list[str] = []
        self.submitted: list[str] = []

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        self.jobs.append("score")
        return super().score(requests)

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        self.jobs.append("sample")
        return super().sample(requests, sampling)

    def submit(self, jobs: Sequence[TrainingJob]) -> None:
        self.submitted += [job.id for job in jobs]

    def train(self, job: TrainingJob) -> Iterator[TrainingEvent]:
        from dataclasses import replace

        self.jobs.append("train")
        kept: dict[int, Checkpoint] = {}
        for event in super().train(replace(job, questions=())):
            if isinstance(event, Checkpoint):
                kept[event.step] = event
            yield event
        for asked in job.questions:
            requests = [replace(request, checkpoint=kept[asked.step]) for request in asked.requests]
            yield CheckpointAnswers(asked.step, tuple(super().sample(requests, asked.sampling)))


def run(path: Path, kind: type[LocalBackend], name: str) -> tuple[LocalBackend, xr.DataTree]:
    experiment = load_experiment(path)
    backend = kind(experiment.model_spec())
    study = Study(experiment, backend, path.parent / name / "run.zarr")
    run_study(study, ("score", "elicit", "train", "evaluate"))
    return backend, inoc.open_store(study.store).tree


def test_all_the_work_of_a_stage_is_one_job_with_the_same_results(study_file: Path) -> None:
    _, plain = run(study_file, LocalBackend, "plain")
    backend, jobs = run(study_file, JobsBackend, "jobs")
    assert isinstance(backend, JobsBackend)
    assert backend.jobs == [
        "score",  # five units
        "sample",  # elicitation: no prompt and two prompts
        "train",
        "train",
        "train",  # the answers of the checkpoints came with the training
    ]
    assert backend.submitted == ["no_inoculation-s0", "say_a-fixed-s0", "say_a-mix-s0"]
    compared = 0
    for node in plain.subtree:
        for key, array in node.data_vars.items():
            other = jobs[node.path][key].values
            if array.dtype.kind == "f":
                np.testing.assert_allclose(other, array.values, atol=2e-5, err_msg=f"{node.path}/{key}")
            else:
                np.testing.assert_array_equal(other, array.values, err_msg=f"{node.path}/{key}")
            compared += 1
    assert compared > 20
