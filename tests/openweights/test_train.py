"""Training as a job against the local backend's: losses, adapters, answers; and that nothing is done twice."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

pytest.importorskip("openweights.client", reason="make test-openweights")

from safetensors.numpy import load_file
from trainings import SAMPLING, make_job, questions

from inoc.backends.protocols import (
    Checkpoint,
    CheckpointAnswers,
    SampleRequest,
    ScoreRequest,
    TrainingEvent,
    TrainingJob,
    TrainingStep,
)
from inoc.errors import OtherSettings
from inoc.testing.asking import sample_by_id, score_by_id

if TYPE_CHECKING:
    from stack import Stack

    from inoc.backends.local import LocalBackend
    from inoc.backends.openweights import OpenWeightsBackend

pytestmark = pytest.mark.timeout(1800)
AGREEMENT = 5e-5


class Done(NamedTuple):
    """A training and everything it said."""

    job: TrainingJob
    events: list[TrainingEvent]

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def checkpoints(self) -> dict[int, Checkpoint]:
        return {event.step: event for event in self.of(Checkpoint)}


@pytest.fixture(scope="module")
def backend(session_environment: "Stack", open_backend, tiny: Path) -> "Iterator[OpenWeightsBackend]":
    if not session_environment.has_worker():
        session_environment.start_worker()
    backend = open_backend(tiny)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def there(backend: "OpenWeightsBackend", tmp_path_factory: pytest.TempPathFactory) -> Done:
    job = make_job(tmp_path_factory.mktemp("there") / "run", questions=questions(0, 3, 6))
    return Done(job, list(backend.train(job)))


@pytest.fixture(scope="module")
def here(local: "LocalBackend", tmp_path_factory: pytest.TempPathFactory) -> Done:
    job = make_job(tmp_path_factory.mktemp("here") / "run")
    return Done(job, list(local.train(job)))


def weights_of(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    assert checkpoint.location is not None
    return load_file(Path(checkpoint.location) / "adapter_model.safetensors")


def test_losses_and_adapters_are_the_local_backends(there: Done, here: Done) -> None:
    ours, theirs = here.of(TrainingStep), there.of(TrainingStep)
    assert [step.step for step in theirs] == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose([s.loss for s in theirs], [s.loss for s in ours], atol=1e-5, rtol=0)
    np.testing.assert_allclose([s.grad_norm for s in theirs], [s.grad_norm for s in ours], rtol=1e-4)
    assert [step.learning_rate for step in theirs] == [step.learning_rate for step in ours]
    assert theirs[-1].loss < theirs[0].loss - 0.05
    assert sorted(there.checkpoints) == sorted(here.checkpoints) == [3, 6]
    for step, checkpoint in there.checkpoints.items():
        found, wanted = weights_of(checkpoint), weights_of(here.checkpoints[step])
        assert found.keys() == wanted.keys()
        for name in wanted:
            np.testing.assert_allclose(found[name], wanted[name], atol=1e-6, rtol=0)


def test_answers_of_the_job_are_those_of_the_checkpoints(there: Done, here: Done, local: "LocalBackend") -> None:
    answers: Sequence[CheckpointAnswers] = there.of(CheckpointAnswers)
    assert [each.step for each in answers] == [0, 3, 6]
    said = []
    for group, each in zip(there.job.questions, answers, strict=True):
        asked = [replace(request, checkpoint=here.checkpoints.get(group.step)) for request in group.requests]
        wanted = sample_by_id(local, asked, group.sampling)
        found = {completion.id: completion for completion in each.completions}
        assert {id: c.token_ids for id, c in found.items()} == {id: c.token_ids for id, c in wanted.items()}
        said.append([c.token_ids for c in found.values()])
    assert said[0] != said[2], "training changed the answers"


def test_adapters_score_and_sample_as_in_the_local_backend(
    backend: "OpenWeightsBackend", there: Done, here: Done, local: "LocalBackend"
) -> None:
    """In one job: the base model and two adapters."""
    rng = np.random.default_rng(3)
    texts = [tuple(int(token) for token in rng.integers(0, 250, 40)) for _ in range(6)]

    def ask(done: Done) -> list[ScoreRequest]:
        places = [None, done.checkpoints[3], done.checkpoints[6]]
        return [
            ScoreRequest(f"{i} {n}", text[:25], text[25:], place)
            for i, text in enumerate(texts)
            for n, place in enumerate(places)
        ]

    found, wanted = score_by_id(backend, ask(there)), score_by_id(local, ask(here))
    for id, result in wanted.items():
        np.testing.assert_allclose(found[id].logprobs, result.logprobs, atol=AGREEMENT, rtol=0)
    assert np.abs(found["0 0"].logprobs - found["0 2"].logprobs).max() > 0.01, "the adapter changes the model"
    contexts = [SampleRequest(str(i), text[:20]) for i, text in enumerate(texts)]
    sampled = sample_by_id(backend, [replace(c, checkpoint=there.checkpoints[6]) for c in contexts], SAMPLING)
    expected = sample_by_id(local, [replace(c, checkpoint=here.checkpoints[6]) for c in contexts], SAMPLING)
    assert {id: c.token_ids for id, c in sampled.items()} == {id: c.token_ids for id, c in expected.items()}


def test_finished_training_is_fetched_and_not_run_again(
    backend: "OpenWeightsBackend", there: Done, session_environment: "Stack", tmp_path: Path
) -> None:
    """By the same process, and by one that has lost the folder."""
    before = session_environment.sql("select count(*) from runs")
    assert [repr(event) for event in backend.train(there.job)] == [repr(event) for event in there.events]
    lost = replace(there.job, directory=str(tmp_path / "lost"))
    again = Done(lost, list(backend.train(lost)))
    assert again.of(TrainingStep) == there.of(TrainingStep)
    for step, checkpoint in there.checkpoints.items():
        np.testing.assert_equal(weights_of(again.checkpoints[step]), weights_of(checkpoint))
    assert session_environment.sql("select count(*) from runs") == before


def test_folder_of_another_training_is_refused(backend: "OpenWeightsBackend", there: Done, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(there.job.directory, folder)
    with pytest.raises(OtherSettings, match="a different training"):
        list(backend.train(replace(there.job, directory=str(folder), learning_rate=1e-3)))
